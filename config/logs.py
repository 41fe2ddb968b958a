"""Log lines on standard output, one event with its fields each: JSON on a server, readable on a
terminal."""

import logging.config
import re
import sys
import threading
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from config import causes

# No query string reaches the output, whichever library logs it: its signature is good for 90 s.
_QUERY = re.compile(r"\?[^\s\"'\\?]*=[^\s\"'\\]*|signature=[^\s&\"'\\]*")
_OWN_FIELDS = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}


def safe(text: str) -> str:
    """A text without query strings."""
    return _QUERY.sub("?…", text)


# As sys.exc_info() has it, and as logging hands it to a formatter.
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeJsonFormatter(JsonFormatter):
    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802
        return _trace(ei)

    def format(self, record: logging.LogRecord) -> str:
        _shorten(record)
        return safe(super().format(record))


class SafeTextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = {name: value for name, value in record.__dict__.items() if name not in _OWN_FIELDS}
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())]
        )

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802
        return _trace(ei)

    def format(self, record: logging.LogRecord) -> str:
        _shorten(record)
        return safe(super().format(record))


def _trace(exc_info: _ExcInfo) -> str:
    return causes.trace(exc_info[1]) if exc_info[1] else ""


def _shorten(record: logging.LogRecord) -> None:
    """Leave out what quotes others, in lines that are not ours too."""
    record.exc_text = None  # another handler's traceback, with the errors' texts
    if isinstance(record.args, tuple):
        record.args = tuple(
            causes.cause(arg) if isinstance(arg, BaseException) else arg for arg in record.args
        )
    if record.name == "asyncio":  # its further lines show a task with its error
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
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
    """Also for what nobody catches: Python itself would print the errors' texts."""
    logging.config.dictConfig(config(level, form))
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def _log_uncaught(
    type_: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not isinstance(error, KeyboardInterrupt | SystemExit):
        logging.getLogger("uncaught").critical(
            "an error that nobody caught",
            exc_info=(type_, error, trace),
            extra={"action": "uncaught", "cause": causes.cause(error)},
        )
