"""The alert rules, as Prometheus's own tool evaluates them."""

import subprocess
from pathlib import Path
from shutil import which

import pytest
import yaml

ALERTS = Path(__file__).parents[2] / "config" / "alerts.yml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
ENDPOINT = 'route="tracking.receive_events"'
BUCKET = f"genlook_request_duration_seconds_bucket{{{ENDPOINT},le="
COUNT = f"genlook_request_duration_seconds_count{{{ENDPOINT},status="

# Two hours of a system that is well, a value a minute.
WELL = {
    'genlook_up{server="postgres"}': "1x120",
    'genlook_up{server="redis"}': "1x120",
    'genlook_events_total{outcome="not_stored"}': "5x120",
    'genlook_incidents_total{kind="fault"}': "3x120",
    "genlook_worker_seen_seconds": "1x120",
    "genlook_backlog_oldest_seconds": "0.2x120",
    "genlook_spool_batches": "0x120",
    "genlook_redis_full": "0x120",
    "genlook_redis_memory_bytes": "10x120",
    "genlook_redis_memory_limit_bytes": "100x120",
    'genlook_postgres_connections{use="web"}': "5x120",
    'genlook_postgres_connections{use="worker"}': "3x120",
    "genlook_postgres_connections_limit": "20x120",
    f'{BUCKET}"0.5"}}': "0+100x120",
    f'{BUCKET}"1"}}': "0+100x120",
    f'{BUCKET}"+Inf"}}': "0+100x120",
    f'{COUNT}"200"}}': "0+100x120",
    f'{COUNT}"401"}}': "0+1x120",
    'genlook_process_cpu_seconds_total{kind="web"}': "0+6x120",
    "genlook_reports_behind_seconds": "2x120",
    'genlook_privacy_requests{state="failed"}': "0x120",
    'genlook_build_info{kind="web",version="1",revision="a"}': "1x120",
    'genlook_build_info{kind="worker",version="1",revision="a"}': "1x120",
}
# What changes, and the alert that tells it. None: the series is not there.
CAUSES = [
    ("GenlookNoMetrics", dict.fromkeys(WELL)),
    ("GenlookEventsNotStored", {'genlook_events_total{outcome="not_stored"}': "5+1x120"}),
    ("GenlookFaults", {'genlook_incidents_total{kind="fault"}': "3+1x120"}),
    ("GenlookPostgresAway", {'genlook_up{server="postgres"}': "0x120"}),
    ("GenlookRedisAway", {'genlook_up{server="redis"}': "0x120"}),
    ("GenlookNoWorker", {"genlook_worker_seen_seconds": "0+60x120"}),
    ("GenlookNoWorker", {"genlook_worker_seen_seconds": None}),
    ("GenlookBacklogOld", {"genlook_backlog_oldest_seconds": "0+60x120"}),
    ("GenlookSpoolWaits", {"genlook_spool_batches": "7x120"}),
    ("GenlookRedisFull", {"genlook_redis_full": "1x120"}),
    ("GenlookRedisAlmostFull", {"genlook_redis_memory_bytes": "90x120"}),
    ("GenlookConnectionsAlmostUsedUp", {'genlook_postgres_connections{use="web"}': "16x120"}),
    ("GenlookSlow", {f'{BUCKET}"0.5"}}': "0+50x120"}),
    ("GenlookWebBusy", {'genlook_process_cpu_seconds_total{kind="web"}': "0+58x120"}),
    ("GenlookSignaturesRefused", {f'{COUNT}"401"}}': "0+500x120"}),
    ("GenlookReportsBehind", {"genlook_reports_behind_seconds": "0+60x120"}),
    ("GenlookPrivacyRequestFailed", {'genlook_privacy_requests{state="failed"}': "1x120"}),
    (
        "GenlookMixedReleases",
        {'genlook_build_info{kind="worker",version="1",revision="b"}': "1x120"},
    ),
]
needs_promtool = pytest.mark.skipif(
    not which("promtool"), reason="promtool is not installed: apt-get install prometheus"
)


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(folder, changes, expected):
    """Fails where other alerts than `expected` are firing after two hours."""
    series = {name: values for name, values in {**WELL, **changes}.items() if values}
    document = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values} for name, values in series.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "119m",
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected
                        ],
                    }
                ],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", str(folder / "test.yml"))


@needs_promtool
def test_a_system_that_is_well_raises_no_alert(tmp_path):
    promtool("check", "rules", str(ALERTS))
    firing(tmp_path, {}, [])


@needs_promtool
@pytest.mark.parametrize(("alert", "changes"), CAUSES)
def test_a_cause_raises_its_alert_and_no_other(tmp_path, alert, changes):
    firing(tmp_path, changes, [alert])


def test_every_alert_has_a_cause_here_and_says_what_to_do():
    assert {alert for alert, _ in CAUSES} == RULES.keys()
    for rule in RULES.values():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description"}
