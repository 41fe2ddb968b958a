"""Arrays as Postgres reads them in text: psycopg would look at each item."""

from collections.abc import Iterable


def integers(items: Iterable[int]) -> str:
    return f"{{{','.join(map(str, items))}}}"


def uuids(items: Iterable[str]) -> str:
    """Of 32 hexadecimal digits each."""
    return f"{{{','.join(items)}}}"
