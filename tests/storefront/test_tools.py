"""What needs npm: the minified tracker is its source, the embed passes theme-check, types hold."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.storefront.test_files import EXTENSION, MINIFIED, ROOT

HERE = Path(__file__).parent
TYPES = ROOT / "app" / "tracker" / "tracker.d.ts"
# Of Debian's package of uBlock Origin: EasyList, EasyPrivacy and uBlock's own.
LISTS = ROOT / ".dev" / "blockers"
NO_TOOLS = "npm's tools are missing: npm install --no-package-lock --prefix tests/storefront"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("node") is None or not (HERE / "node_modules").is_dir(), reason=NO_TOOLS
    ),
]


def run(*command):
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=100)


def offenses(folder):
    done = run("node", "theme_check.mjs", str(folder))
    assert done.returncode == 0, done.stderr
    return [(one["check"], one["file"]) for one in json.loads(done.stdout)]


def test_the_committed_tracker_is_what_the_source_minifies_to():
    done = run("node", "build.mjs", "--print")
    assert done.stdout == MINIFIED.read_text(), "npm run build --prefix tests/storefront"


def blocked(*urls):
    """Those that one of the blockers' lists stops on a shop's page."""
    lists = [str(path) for path in LISTS.rglob("*.txt")]
    done = run("node", "blocked.mjs", "https://shop.example/", *urls, "--", *lists)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not LISTS.is_dir(), reason=f"no lists of blockers in {LISTS}: see .ci/run")
def test_blockers_lists_stop_nothing_that_a_shops_page_asks_for():
    proxy = "https://shop.example/apps/proxy_genlook-x/public/"
    cdn = "https://cdn.shopify.com/extensions/0199/genlook-tracker-12/assets/tracker.js"
    ours = [proxy + "tracker.js", proxy + "experiment.js", cdn, proxy + "tracking/events"]
    stopped = [proxy + "tracking/events?a=1", proxy + "tracking/events/"]
    assert blocked(*ours, *stopped) == stopped


def test_the_extension_passes_theme_check():
    assert offenses(EXTENSION) == []


def test_theme_check_sees_what_it_should(tmp_path):
    copy = shutil.copytree(EXTENSION, tmp_path / "extension")
    block = copy / "blocks" / "tracker.liquid"
    block.write_text(block.read_text().replace("  defer\n", "").replace("t:consent.info", "t:none"))
    assert {("ParserBlockingScript", block.name), ("ValidSchemaTranslations", block.name)} <= set(
        offenses(copy)
    )


@pytest.mark.parametrize(
    ("call", "fits"),
    [
        ("tracker.track('widget:result_view', {took: 12})", True),
        ("tracker.track('own:event_name')", True),
        ("tracker.track('no name')", False),
        ("tracker.track('widget:a', 7)", False),
        ("tracker.set({product_id: 'gid://shopify/Product/1', widget_enabled: false})", True),
        ("tracker.set({product: 1})", False),
        ("tracker.consent(true)", True),
        ("tracker.consent('yes')", False),
        ("const arm: 'widget' | 'holdout' | null = tracker.arm()", True),
        ("(window.genlook ??= []).push(['track', 'widget:button_click'])", True),
        ("(window.genlook ??= []).push(['trak', 'widget:button_click'])", False),
    ],
)
def test_the_types_take_what_the_tracker_takes(tmp_path, call, fits):
    file = tmp_path / "widget.ts"
    file.write_text(
        f'/// <reference path="{TYPES}" />\ndeclare const tracker: genlook.Tracker;\n{call};\n'
    )
    done = run(
        "node_modules/.bin/tsc", "--noEmit", "--strict", "--target", "es2022", str(file)
    )  # fmt: skip
    assert (done.returncode == 0) == fits, done.stdout
