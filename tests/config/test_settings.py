import re
from dataclasses import fields
from pathlib import Path

import pytest

from config.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
REQUIRED = {
    "DATABASE_URL": "postgres://user:pass@host/db",
    "REDIS_URL": "rediss://host:6379",
    "SHOPIFY_API_SECRET": "new, old",
}


@pytest.fixture
def environment(monkeypatch):
    """Sets the environment to just what is given."""

    def set_to(**variables):
        for name in documented():
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


def documented():
    """The variables of .env.example with their values there."""
    text = (ROOT / ".env.example").read_text()
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def complaint():
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_the_required_ones_are_enough(environment):
    environment(**REQUIRED)
    settings = load_settings()
    assert settings.shopify_api_secrets == (b"new", b"old")
    assert settings.app_proxy_path == "/apps/proxy_genlook-x"
    assert settings.intake == "auto"


def test_an_empty_variable_is_one_that_is_not_set(environment):
    environment(**REQUIRED, PORT="", INTAKE=" ", APP_PROXY_PATH="")
    assert load_settings().port == Settings.port


def test_every_fault_is_named_at_once(environment):
    environment(
        DATABASE_URL="mysql://u:hidden@h/x",
        SHOPIFY_API_SECRET="a,,b",
        PORT="eighty",
        INTAKE="magic",
        DEDUP_WINDOW_SECONDS="-1",
        APP_PROXY_PATH="no path",
    )
    message = complaint()
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "SHOPIFY_API_SECRET",
        "PORT",
        "INTAKE",
        "DEDUP_WINDOW_SECONDS",
        "APP_PROXY_PATH",
    ):
        assert f"  {name}: " in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://localhost:notaport/0"),
        ("REDIS_URL", "redis://localhost:99999/0"),
        ("REDIS_URL", "redis://localhost:6379/abc"),
        ("REDIS_URL", "redis://localhost?socket_timeout=abc"),
        ("DATABASE_URL", "postgres://localhost:notaport/x"),
        ("DATABASE_URL", "postgres://u:p@h/x?nosuchoption=1"),
        ("DATABASE_URL", "postgres://%zz@h/x"),
        ("PORT", "70000"),
        ("PORT", "0"),
        ("DEDUP_WINDOW_SECONDS", "99999999999999999999"),
        ("SPOOL_MAX_BYTES", "x"),
        ("SENTRY_DSN", "nonsense"),
        ("SENTRY_DSN", "https://sentry.io/1"),
        ("SENTRY_DSN", "https://key@sentry.io/project"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
    ],
)
def test_a_value_that_cannot_work_stops_the_start(environment, name, value):
    environment(**REQUIRED | {name: value})
    assert f"  {name}: " in complaint()


@pytest.mark.parametrize(
    "url", ["postgres://u:p%40@h/x?sslmode=require", "postgresql:///x?host=/tmp/a", "postgres://h"]
)
def test_addresses_as_platforms_give_them_are_taken(environment, url):
    environment(**REQUIRED | {"DATABASE_URL": url})
    assert load_settings().database_url == url


@pytest.mark.parametrize("secret", ["", " ", ",", "a,", ",a", "a, ,b"])
def test_a_missing_or_empty_secret_stops_the_start(environment, secret):
    environment(**REQUIRED | {"SHOPIFY_API_SECRET": secret})
    assert "SHOPIFY_API_SECRET" in complaint()


def test_what_a_setting_needs_besides_is_told(environment, monkeypatch):
    monkeypatch.setattr("config.settings.find_spec", lambda name: None)
    environment(
        **REQUIRED,
        HASH_EMAILS="yes",
        SENTRY_DSN="https://x@sentry.io/1",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318",
    )
    message = complaint()
    assert "EMAIL_HASH_KEY: is missing" in message
    assert "pip install '.[sentry]'" in message
    assert "pip install '.[otel]'" in message


def test_neither_secrets_nor_passwords_are_shown(environment):
    environment(**REQUIRED)
    shown = repr(load_settings())
    assert "pass" not in shown
    assert "old" not in shown


def test_the_example_lists_every_setting_with_its_default(environment):
    environment(**REQUIRED)
    defaults = load_settings()
    example = documented()
    environment(**{name: value for name, value in example.items() if value})
    named = load_settings()
    assert len(example) == len(fields(Settings))
    for field in fields(Settings):
        if field.name not in ("database_url", "redis_url", "shopify_api_secrets"):
            assert getattr(named, field.name) == getattr(defaults, field.name), field.name
