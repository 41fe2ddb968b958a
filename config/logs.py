"""Log lines on standard output, one event with its fields each: JSON on a server, readable on a
terminal."""

import logging.config
import re
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

# No query string reaches the output, whichever library logs it: its signature is good for 90 s.
_QUERY = re.compile(r"\?[^\s\"'\\?]*=[^\s\"'\\]*|signature=[^\s&\"'\\]*")
_OWN_FIELDS = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}


def safe(text: str) -> str:
    """A text without query strings."""
    return _QUERY.sub("?…", text)


class SafeJsonFormatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        _shorten(record)
        return safe(super().format(record))


class SafeTextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = {name: value for name, value in record.__dict__.items() if name not in _OWN_FIELDS}
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())]
        )

    def format(self, record: logging.LogRecord) -> str:
        _shorten(record)
        return safe(super().format(record))


def _shorten(record: logging.LogRecord) -> None:
    if record.name == "gunicorn.error" and not record.exc_info:
        # It quotes what it could not read, and any part of that may be a query.
        record.msg, record.args = record.getMessage().partition("'")[0], ()


def config(level: str, form: str) -> dict[str, Any]:
    """For logging.config.dictConfig, and for gunicorn's `logconfig_dict`. `form` is json, text, or
    auto: text where standard output is a terminal."""
    if form == "auto":
        form = "text" if sys.stdout.isatty() else "json"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": SafeJsonFormatter,
                "fmt": "{levelname}{name}{message}",
                "style": "{",
                "timestamp": "time",
                "rename_fields": {"levelname": "level", "name": "logger"},
            },
            "text": {
                "()": SafeTextFormatter,
                "fmt": "{asctime} {levelname:<7} {message}",
                "style": "{",
                "datefmt": "%H:%M:%S",
            },
        },
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": form,
            }
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            # The router logs every request already; gunicorn's line would hold the query string.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            # Says for every failed attempt what our own lines say once.
            "psycopg.pool": {"level": "ERROR"},
        },
    }


def configure(level: str, form: str) -> None:
    logging.config.dictConfig(config(level, form))
