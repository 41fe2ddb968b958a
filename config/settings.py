"""The settings: environment variables, read here and nowhere else, once, at start.

`.env.example` lists each with its unit and default; a test holds the two together.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import cast
from urllib.parse import urlsplit

import psycopg
from environs import Env, EnvValidationError, validate
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

Parser = Callable[[str], object]


_LARGEST = 2**40  # of any number: further than that nobody means it
_MOST_DAYS = 36_500  # dates have an end


class SettingsError(Exception):
    """Names every fault of the environment in one message."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    redis_ssl_cert_reqs: str = "required"
    shopify_api_key: str = ""
    shopify_api_secrets: tuple[bytes, ...] = field(repr=False)
    app_proxy_path: str = "/apps/proxy_genlook-x"
    signature_max_age_seconds: int = 90
    dedup_window_seconds: int = 2 * 24 * 60 * 60
    intake: str = "auto"
    stream_partitions: int = 1
    stream_max_batches: int = 1_000_000
    spool_dir: str = ".spool"
    spool_max_bytes: int = 256 * 1024 * 1024
    rate_limit_shop_per_minute: int = 600_000
    rate_limit_visitor_per_minute: int = 60_000
    rejected_retention_days: int = 30
    event_retention_days: int = 395
    user_agent_retention_days: int = 30
    hash_emails: bool = False
    email_hash_key: bytes = field(default=b"", repr=False)
    metrics_token: str = field(default="", repr=False)
    sentry_dsn: str = field(default="", repr=False)
    port: int = 8000
    web_concurrency: int = 2
    web_threads: int = 8
    log_level: str = "INFO"
    log_format: str = "auto"


def load_settings() -> Settings:
    """Read the environment. SettingsError names all that is missing or wrong."""
    # An empty variable is one that is not set: that is how it looks in a dashboard.
    present = {name for name, value in os.environ.items() if value.strip()}
    env = Env(eager=False)

    def integer(name: str, default: int, *, least: int = 0, most: int = _LARGEST) -> int:
        if name not in present:
            return default
        return env.int(name, validate=validate.Range(min=least, max=most))

    def text(name: str, default: str) -> str:
        return os.environ[name].strip() if name in present else default

    def choice(name: str, default: str, *choices: str) -> str:
        if name not in present:
            return default
        return env.str(name, validate=validate.OneOf(choices))

    faults: list[str] = []
    settings = Settings(
        database_url=_url("DATABASE_URL", ("postgres", "postgresql"), conninfo_to_dict, faults),
        redis_url=_url("REDIS_URL", ("redis", "rediss"), _parse_redis, faults),
        redis_ssl_cert_reqs=choice(
            "REDIS_SSL_CERT_REQS", Settings.redis_ssl_cert_reqs, "required", "optional", "none"
        ),
        shopify_api_key=text("SHOPIFY_API_KEY", ""),
        shopify_api_secrets=_secrets("SHOPIFY_API_SECRET", faults),
        app_proxy_path=_path("APP_PROXY_PATH", Settings.app_proxy_path, faults),
        signature_max_age_seconds=integer(
            "SIGNATURE_MAX_AGE_SECONDS", Settings.signature_max_age_seconds, least=1
        ),
        dedup_window_seconds=integer(
            "DEDUP_WINDOW_SECONDS", Settings.dedup_window_seconds, least=1
        ),
        intake=choice("INTAKE", Settings.intake, "auto", "stream", "store"),
        stream_partitions=integer("STREAM_PARTITIONS", Settings.stream_partitions, least=1),
        stream_max_batches=integer("STREAM_MAX_BATCHES", Settings.stream_max_batches, least=1),
        spool_dir=text("SPOOL_DIR", Settings.spool_dir),
        spool_max_bytes=integer("SPOOL_MAX_BYTES", Settings.spool_max_bytes),
        rate_limit_shop_per_minute=integer(
            "RATE_LIMIT_SHOP_PER_MINUTE", Settings.rate_limit_shop_per_minute
        ),
        rate_limit_visitor_per_minute=integer(
            "RATE_LIMIT_VISITOR_PER_MINUTE", Settings.rate_limit_visitor_per_minute
        ),
        rejected_retention_days=integer(
            "REJECTED_RETENTION_DAYS", Settings.rejected_retention_days, least=1, most=_MOST_DAYS
        ),
        event_retention_days=integer(
            "EVENT_RETENTION_DAYS", Settings.event_retention_days, least=1, most=_MOST_DAYS
        ),
        user_agent_retention_days=integer(
            "USER_AGENT_RETENTION_DAYS", Settings.user_agent_retention_days, most=_MOST_DAYS
        ),
        hash_emails=choice("HASH_EMAILS", "no", "yes", "no") == "yes",
        email_hash_key=text("EMAIL_HASH_KEY", "").encode(),
        metrics_token=text("METRICS_TOKEN", ""),
        sentry_dsn=text("SENTRY_DSN", ""),
        port=integer("PORT", Settings.port, least=1, most=65535),
        web_concurrency=integer("WEB_CONCURRENCY", Settings.web_concurrency, least=1),
        web_threads=integer("WEB_THREADS", Settings.web_threads, least=1),
        log_level=choice(
            "LOG_LEVEL", Settings.log_level, "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"
        ),
        log_format=choice("LOG_FORMAT", Settings.log_format, "auto", "json", "text"),
    )
    try:
        env.seal()
    except EnvValidationError as error:
        messages = cast("dict[str, list[str]]", error.error_messages)
        faults += [f"{name}: {' '.join(texts)}" for name, texts in messages.items()]
    if settings.sentry_dsn:
        faults += _sentry_faults(settings.sentry_dsn)
    if settings.hash_emails and not settings.email_hash_key:
        faults.append("EMAIL_HASH_KEY: is missing, HASH_EMAILS needs it: a long random text.")
    if faults:
        raise SettingsError("The environment is not complete:\n  " + "\n  ".join(sorted(faults)))
    return settings


def _url(name: str, schemes: tuple[str, ...], parse: Parser, faults: list[str]) -> str:
    """A server's address. A fault does not repeat the value: it holds a password."""
    value = os.environ.get(name, "").strip()
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if not value:
        faults.append(f"{name}: is missing, set it to the server's {wanted} address.")
    elif not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        faults.append(f"{name}: must begin with {wanted}.")
    else:
        try:
            parse(value)
            port = urlsplit(value).port
            fits = port is None or port > 0
        except (ValueError, psycopg.Error):
            fits = False
        if not fits:
            faults.append(
                f"{name}: is not an address such as {schemes[0]}://user:pass@host:1234/0."
            )
    return value


def _parse_redis(url: str) -> None:
    parse_url(url)  # type: ignore[no-untyped-call]
    if not re.fullmatch(r"(/[0-9]*)?", urlsplit(url).path):
        raise ValueError("a Redis database is a number")


def _sentry_faults(dsn: str) -> list[str]:
    if not find_spec("sentry_sdk"):
        return ["SENTRY_DSN: needs a package that is not installed: pip install '.[sentry]'."]
    from sentry_sdk.utils import BadDsn, Dsn  # of the optional extra

    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        return ["SENTRY_DSN: is not a DSN such as https://key@host/1."]
    return []


def _secrets(name: str, faults: list[str]) -> tuple[bytes, ...]:
    secrets = [secret.strip() for secret in os.environ.get(name, "").split(",")]
    if secrets == [""]:
        faults.append(f"{name}: is missing, set it to the app's client secret.")
    elif "" in secrets:
        faults.append(f"{name}: holds an empty secret, remove the stray comma.")
    return tuple(secret.encode() for secret in secrets)


def _path(name: str, default: str, faults: list[str]) -> str:
    value = os.environ.get(name, "").strip() or default
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", value):
        faults.append(f"{name}: must be a path such as {default}.")
    return value.rstrip("/")
