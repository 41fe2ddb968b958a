"""The files that the shop gets: the theme app extension, its script, the app's configuration."""

import gzip
import hashlib
import json
import re
import tomllib
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.dev.theme import app_embed

ROOT = Path(__file__).parents[2]
PROXY_PATH = "/apps/proxy_genlook-x"
EXTENSION = ROOT / "config" / "extensions" / "genlook-tracker"
MINIFIED = EXTENSION / "assets" / "tracker.js"
BLOCK = (EXTENSION / "blocks" / "tracker.liquid").read_text()
SCHEMA = json.loads(re.search(r"{% schema %}(.*){% endschema %}", BLOCK, re.DOTALL)[1])


def test_the_minified_tracker_was_built_from_the_committed_source():
    lines = (ROOT / "app" / "tracker" / "tracker.sha256").read_text().splitlines()
    for line in lines:
        noted, _, path = line.partition("  ")
        found = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        assert found == noted, f"{path} changed: npm run build --prefix tests/storefront"
    assert len(lines) == 2


def test_the_tracker_is_under_3_kb():
    assert len(gzip.compress(MINIFIED.read_bytes(), 9)) < 3_000


def test_a_theme_app_extension_holds_only_what_shopify_takes():
    allowed = {"assets", "blocks", "locales", "snippets", "shopify.extension.toml"}
    assert {path.name for path in EXTENSION.iterdir()} <= allowed
    assert tomllib.loads((EXTENSION / "shopify.extension.toml").read_text())["type"] == "theme"
    assert SCHEMA["target"] == "body"
    assert len(MINIFIED.read_bytes()) < 10_000  # what theme-check allows an embed's script


def test_every_locale_has_every_text():
    def paths(texts, above=()):
        for key, text in texts.items():
            yield from paths(text, (*above, key)) if isinstance(text, dict) else [(*above, key)]

    files = list((EXTENSION / "locales").glob("*.schema.json"))
    found = {file.name: set(paths(json.loads(file.read_text()))) for file in files}
    used = {tuple(key.split(".")) for key in re.findall(r'"t:([\w.]+)"', BLOCK)}
    assert len(found) == 3
    assert all(keys == used for keys in found.values()), found


def test_the_embed_sends_where_the_shops_proxy_is_and_markup_comes_with_nothing_else():
    html = app_embed("/apps/other/", "1001", "A<b>")
    assert html.split() == [
        "<script", 'src="/apps/other/public/experiment.js"', "defer></script>",
        "<script", 'src="/cdn/extensions/genlook-tracker/assets/tracker.js"',
        'data-endpoint="/apps/other/public/tracking/events"',
        'data-product-id="gid://shopify/Product/1001"', 'data-product-title="A&lt;b&gt;"',
        'data-variant-id="gid://shopify/ProductVariant/10011"', "data-page-view",
        "defer", "></script>",
    ]  # fmt: skip
    assert "data-product-id" not in app_embed("/apps/other")
    assert "data-page-view" not in app_embed("/apps/other", "1001", page_views=False)
    assert 'data-consent="granted"' in app_embed("/apps/other", consent="elsewhere")
    assert "data-keep-url" in app_embed("/apps/other", keep_url=True)
    assert 'x="' not in app_embed('/apps/" x="')


def test_the_script_itself_knows_no_proxy_path():
    assert PROXY_PATH not in MINIFIED.read_text()
    assert SCHEMA["settings"][0]["default"] == PROXY_PATH


CONFIGURATION = tomllib.loads((ROOT / "config" / "shopify.app.toml").read_text())
API_VERSION = CONFIGURATION["webhooks"]["api_version"]


def test_the_api_version_is_supported_for_sixty_days_more():
    year, month = map(int, API_VERSION.split("-"))
    ends = date(year + 1, month, 1)  # Shopify supports each release for at least 12 months
    assert month in (1, 4, 7, 10)
    assert date.today() + timedelta(days=60) < ends, "set a newer api_version"  # noqa: DTZ011


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("config/*.md")], ids=str)
def test_the_documentation_names_the_same_api_version(path):
    assert set(re.findall(r"--api-version (\S+)", path.read_text())) <= {API_VERSION}
