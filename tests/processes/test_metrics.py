"""/metrics of a running web and worker, and what is made of it: the alerts and the dashboard."""

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from shutil import which

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.intake import keys
from tests.calls import body, event
from tests.processes.running import wait_until
from tests.processes.test_processes import post, stored

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "config"
DASHBOARD = json.loads((CONFIG / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_DASHBOARD = [target["expr"] for panel in PANELS for target in panel["targets"]]
OF_ALERTS = [
    rule["expr"]
    for group in yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def scrape(web):
    call = urllib.request.Request(f"{web.url}/metrics", headers={"Authorization": "Bearer right"})
    with urllib.request.urlopen(call, timeout=10) as reply:
        text = reply.read().decode()
    families = text_string_to_metric_families(text)
    return text, [sample for family in families for sample in family.samples]


def families(names):
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def processes(web):
    """Kind and pid of those that have told of themselves."""
    _, samples = scrape(web)
    name = "genlook_process_resident_memory_bytes"
    return {(one.labels["kind"], int(one.labels["pid"])) for one in samples if one.name == name}


@pytest.fixture
def running(start_web, start_worker, database):
    """A web of two processes and a worker that have stored something and told of it."""
    web = start_web(METRICS_TOKEN="right", HEROKU_SLUG_COMMIT="abc123")
    worker = start_worker()
    assert post(web, body(event(), event()))[0] == 200
    wait_until(lambda: len(stored(database)) == 2)
    wait_until(lambda: "genlook_worker_transaction_events_count" in scrape(web)[0])
    wait_until(lambda: 'route="tracking.receive_events",status="200"' in scrape(web)[0])
    return web, worker


def test_alerts_and_dashboard_name_only_what_a_scrape_has(running, redis_client):
    web, _ = running
    redis_client.config_set("maxmemory", 2**30)
    redis_client.set(keys.skipped("store"), time.time(), ex=60)
    try:
        _, samples = scrape(web)
    finally:
        redis_client.config_set("maxmemory", 0)
    there = {sample.name for sample in samples}
    named = {name for expr in OF_DASHBOARD + OF_ALERTS for name in re.findall(r"genlook_\w+", expr)}
    assert named <= there
    assert families(there) == families(named)  # and nothing is shown that nobody looks at
    labels = {(sample.name, label) for sample in samples for label in sample.labels}
    for expr in OF_DASHBOARD + OF_ALERTS:
        for name, matchers in re.findall(r"(genlook_\w+)\{([^}]*)\}", expr):
            for label in re.findall(r"(\w+)(?:=|!=)", matchers):
                assert (name, label) in labels


def test_every_process_tells_of_itself_until_it_ends(running):
    web, worker = running
    wait_until(lambda: len(processes(web)) == 3)
    assert ("worker", worker.process.pid) in processes(web)
    assert 'genlook_build_info{kind="web",version="0.1.0",revision="abc123"' in scrape(web)[0]
    worker.terminate()
    assert {kind for kind, _ in processes(web)} == {"web"}


def test_the_dashboard_s_panels_can_be_told_apart():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_prometheus_can_read_the_dashboard_s_expressions(tmp_path):
    if not which("promtool"):
        pytest.skip("promtool is not installed: apt-get install prometheus")
    rules = [
        {"record": f"a:{number}", "expr": expr.replace("$__rate_interval", "5m")}
        for number, expr in enumerate(OF_DASHBOARD)
    ]
    document = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
