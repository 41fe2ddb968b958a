"""What may be logged, stored or shown of an error.

A server's text quotes rows: Postgres puts a row's cells into the message, the detail and the
context of what it refuses, Redis a command's arguments. So none of it goes on, and of our own
errors only the type: their texts may quote what a caller sent.
"""

import traceback
from collections.abc import Iterator

import psycopg
from redis import RedisError, ResponseError

# Python's own words about the code.
_OF_THE_CODE = (AttributeError, ImportError, NameError, TypeError)
# What libpq, psycopg and its pool say by themselves, before anything was sent or about a lost
# connection. After "connection failed" follows whom it was to, and why not.
_BEFORE_ALL = ("connection failed: ", "connection timeout expired", "couldn't get a connection")
_LOST = (
    "the server did not answer in time",
    "server closed the connection unexpectedly",
    "terminating connection due to administrator command",
    "the connection is closed",
    "the connection is lost",
    "connection refused",
    "Connection reset by peer",
    "Broken pipe",
)


def cause(error: BaseException) -> str:
    """An error in a line: its type, and what is known to hold no value of a row or a request.

    Of Postgres: SQLSTATE, and the names of table, column and constraint. Of Redis: the code.
    """
    return " ".join([type(error).__name__ + (":" if (text := _text(error)) else ""), *text])


def trace(error: BaseException) -> str:
    """A traceback with causes in place of the errors' texts."""
    return "".join(_lines(error, set())).rstrip("\n")


def _text(error: BaseException) -> list[str]:
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    if isinstance(error, ResponseError):
        code = str(error).partition(" ")[0]
        return [code] if code.isupper() else []
    if isinstance(error, RedisError):
        return [_first_line(error)]
    if isinstance(error, OSError):
        return [error.strerror] if error.strerror else []
    return [_first_line(error)] if isinstance(error, _OF_THE_CODE) else []


def _of_postgres(error: psycopg.Error) -> list[str]:
    if error.sqlstate:
        names = {
            "table": error.diag.table_name,
            "column": error.diag.column_name,
            "constraint": error.diag.constraint_name,
        }
        return [error.sqlstate, *(f"{what} {name}" for what, name in names.items() if name)]
    text = str(error)
    if text.startswith(_BEFORE_ALL):
        return [_first_line(error)]
    return [lost for lost in _LOST if lost in text][:1]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        relation = "The direct cause of:" if error.__cause__ else "While that was handled:"
        yield f"\n{relation}\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{cause(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield "\nOne of several:\n\n"
            yield from _lines(one, seen)
