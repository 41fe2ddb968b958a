"""The description of the API says what the app does."""

from pathlib import Path

import pytest
import yaml

from app import create_app
from app.tracking import schemas
from config.settings import Settings

DESCRIPTION = yaml.safe_load(
    (Path(__file__).parents[2] / "config" / "openapi.yaml").read_text(encoding="utf-8")
)
SCHEMAS = DESCRIPTION["components"]["schemas"]


@pytest.fixture
def routes():
    settings = Settings(database_url="", redis_url="redis://", shopify_api_secrets=(b"x",))
    app = create_app(settings)
    return {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_nothing_else(routes):
    described = {
        (path, method)
        for path, operations in DESCRIPTION["paths"].items()
        for method in operations
        if method != "parameters"  # of all methods
    }
    assert described == routes


def test_the_limits_are_those_of_the_schemas():
    event = SCHEMAS["Event"]["properties"]
    assert SCHEMAS["Batch"]["properties"]["events"]["maxItems"] == schemas.MAX_EVENTS
    assert event["event"]["maxLength"] == schemas.MAX_NAME
    assert event["$insert_id"]["maxLength"] == schemas.MAX_INSERT_ID
    assert set(event["event"]["examples"]) == schemas.CATALOGUE
    assert set(schemas.CONTEXT_COLUMNS) <= set(SCHEMAS["Context"]["properties"])
