"""Log lines: JSON on standard output, one event with its fields each."""

import logging.config
import re
from typing import Any

from pythonjsonlogger.json import JsonFormatter

# Whoever logs it, a query string never reaches the output: the signature in it is good for 90 s.
_QUERY = re.compile(r"\?[^\s\"'\\?]*=[^\s\"'\\]*|signature=[^\s&\"'\\]*")


class SafeJsonFormatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        if record.name == "gunicorn.error" and not record.exc_info:
            # It quotes what it could not read, and any part of that may be a query.
            record.msg, record.args = record.getMessage().partition("'")[0], ()
        return _QUERY.sub("?…", super().format(record))


def config(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig, and for gunicorn's `logconfig_dict`."""
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
            }
        },
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
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


def configure(level: str) -> None:
    logging.config.dictConfig(config(level))
