"""What is deployed to Shopify leads to where the app listens."""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app import create_app
from app.webhooks import inbox
from config.settings import Settings
from tests.calls import PATH

CONFIG = tomllib.loads(
    (Path(__file__).parents[2] / "config" / "shopify.app.toml").read_text(encoding="utf-8")
)


@pytest.fixture
def paths():
    settings = Settings(database_url="", redis_url="redis://", shopify_api_secrets=(b"x",))
    rules = create_app(settings).url_map.iter_rules()
    return {rule.rule for rule in rules if "POST" in rule.methods}


def test_the_app_proxy_gives_exactly_the_path_of_the_endpoint(paths):
    proxy = CONFIG["app_proxy"]
    in_the_shop = f"/{proxy['prefix']}/{proxy['subpath']}"
    at_the_app = urlsplit(proxy["url"]).path
    assert in_the_shop == at_the_app == Settings.app_proxy_path
    assert f"{at_the_app}/public/tracking/events" == PATH
    assert PATH in paths


def test_each_topic_that_the_app_takes_is_subscribed_to(paths):
    subscriptions = CONFIG["webhooks"]["subscriptions"]
    topics = [topic for one in subscriptions for topic in one.get("topics", [])]
    compliance = [topic for one in subscriptions for topic in one.get("compliance_topics", [])]
    assert topics == [inbox._UNINSTALLED]
    assert sorted(compliance) == sorted(inbox._REQUESTS)
    assert {urlsplit(one["uri"]).path for one in subscriptions} <= paths


def test_everything_is_at_one_host_and_nothing_more_is_asked_for():
    urls = [
        CONFIG["application_url"],
        CONFIG["app_proxy"]["url"],
        *CONFIG["auth"]["redirect_urls"],
        *(one["uri"] for one in CONFIG["webhooks"]["subscriptions"]),
    ]
    assert len({urlsplit(url).netloc for url in urls}) == 1
    assert all(url.startswith("https://") for url in urls)
    assert CONFIG["access_scopes"] == {"scopes": "write_app_proxy"}
