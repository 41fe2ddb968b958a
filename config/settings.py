"""The settings: environment variables, read here and nowhere else, once, at start.

A setting is one line of `Settings`: its field's name, which in capitals is the variable's, its kind
(`config/kinds.py`), default and bounds. `.env.example` lists each with its unit; a test holds the
two together.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from importlib.util import find_spec
from typing import Any

from config.kinds import (
    Kind,
    choice,
    key,
    number,
    optional_postgres,
    path,
    postgres,
    redis,
    secret,
    secrets,
    text,
    yes_or_no,
)

_MOST_EVENTS, _MOST_BYTES = 4_000_000, 2**36  # of a limit: what a counter holds
_MOST_DAYS = 36_500  # dates have an end
_DSN = re.compile(r"https?://[^@/\s]+@[^@/\s]+(/\S*)?/[0-9]+/?")


class SettingsError(Exception):
    """Names every fault of the environment in one message."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = postgres()
    reports_database_url: str = optional_postgres()
    redis_url: str = redis()
    redis_ssl_cert_reqs: str = choice("required", "optional", "none")  # the first is the default
    shopify_api_key: str = text()
    shopify_api_secrets: tuple[bytes, ...] = secrets("SHOPIFY_API_SECRET")
    app_proxy_path: str = path("/apps/proxy_genlook-x")
    signature_max_age_seconds: int = number(90, least=1)
    dedup_window_seconds: int = number(2 * 24 * 60 * 60, least=1)
    intake: str = choice("auto", "stream", "store")
    stream_partitions: int = number(1, least=1, most=1_024)
    stream_max_batches: int = number(1_000_000, least=1)
    stream_max_bytes: int = number(512 * 1024 * 1024, least=1)
    spool_dir: str = text(".spool")
    spool_max_bytes: int = number(256 * 1024 * 1024)
    # Events, and bytes unpacked; 0: no limit.
    rate_limit_shop_per_minute: int = number(600_000, most=_MOST_EVENTS)
    rate_limit_visitor_per_minute: int = number(1_200, most=_MOST_EVENTS)
    rate_limit_shop_bytes_per_minute: int = number(256 * 1024 * 1024, most=_MOST_BYTES)
    rate_limit_visitor_bytes_per_minute: int = number(4 * 1024 * 1024, most=_MOST_BYTES)
    rate_limit_rejected_per_minute: int = number(6_000, most=_MOST_EVENTS)  # events of a shop
    rejected_retention_days: int = number(30, least=1, most=_MOST_DAYS)
    event_retention_days: int = number(395, least=1, most=_MOST_DAYS)
    user_agent_retention_days: int = number(30, most=_MOST_DAYS)  # 0: never stored
    hash_emails: bool = yes_or_no(default=False)
    email_hash_key: bytes = key()
    metrics_token: str = secret()
    sentry_dsn: str = secret()
    otel_exporter_otlp_endpoint: str = text()
    revision: str = text(variable="HEROKU_SLUG_COMMIT")
    port: int = number(8000, least=1, most=65535)
    web_concurrency: int = number(2, least=1)  # processes
    web_threads: int = number(8, least=1)  # of each process
    log_level: str = choice("INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL")
    log_format: str = choice("auto", "json", "text")


def load_settings() -> Settings:
    """Read the environment. SettingsError names all that is missing or wrong."""
    faults: list[str] = []
    values = {setting.name: _read(setting, faults) for setting in fields(Settings)}
    faults += _lacking(values)
    if faults:
        raise SettingsError("The environment is not complete:\n  " + "\n  ".join(sorted(faults)))
    return Settings(**values)


def _read(setting: Field[Any], faults: list[str]) -> Any:
    kind: Kind = setting.metadata["kind"]
    variable = kind.variable or setting.name.upper()
    # An empty variable is one that is not set: that is how it looks in a dashboard.
    given = os.environ.get(variable, "").strip()
    try:
        if given:
            return kind.read(given)
        if setting.default is MISSING:
            raise ValueError(f"is missing, set it to {kind.wanted}.")
    except ValueError as fault:
        faults.append(f"{variable}: {fault}")
    return setting.default


def _lacking(values: Mapping[str, Any]) -> Iterator[str]:
    """What one setting needs besides itself."""
    if values["sentry_dsn"] and not find_spec("sentry_sdk"):
        yield "SENTRY_DSN: needs a package that is not installed: pip install '.[sentry]'."
    collector = values["otel_exporter_otlp_endpoint"]
    if collector and not find_spec("opentelemetry"):
        yield (
            "OTEL_EXPORTER_OTLP_ENDPOINT: needs packages that are not installed:"
            " pip install '.[otel]'."
        )
    if collector and not re.match("https?://.", collector):
        yield "OTEL_EXPORTER_OTLP_ENDPOINT: is not an address such as http://localhost:4318."
    if values["sentry_dsn"] and not _DSN.fullmatch(values["sentry_dsn"]):
        yield "SENTRY_DSN: is not a DSN such as https://key@host/1."
    if values["hash_emails"] and not values["email_hash_key"]:
        yield "EMAIL_HASH_KEY: is missing, HASH_EMAILS needs it: a long random text."
