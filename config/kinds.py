"""The kinds of settings: how the text of a variable becomes a value, and what is wrong with it.

Each function stands for a default in the dataclass `Settings`. A fault never repeats the text where
it may hold a password.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from config.redis_url import SCHEMES, read_redis_url

_POSTGRES = ("postgres", "postgresql")
_LARGEST = 2**40  # of any number: further than that nobody means it
_T = TypeVar("_T")


@dataclass(frozen=True)
class Kind:
    read: Callable[[str], object]  # ValueError says what is wrong with the text
    wanted: str = ""  # what a required setting is to be set to
    variable: str = ""  # its name in the environment, where that is not the field's


def _setting(kind: Kind, default: _T, *, hidden: bool = False) -> _T:
    """`hidden` ones are left out of the settings' repr."""
    return field(default=default, repr=not hidden, metadata={"kind": kind})


def text(default: str = "", *, variable: str = "") -> str:
    return _setting(Kind(str, variable=variable), default)


def secret() -> str:
    """Optional; empty where it is not set."""
    return _setting(Kind(str), "", hidden=True)


def key() -> bytes:
    """Optional; empty where it is not set."""
    return _setting(Kind(str.encode), b"", hidden=True)


def number(default: int, *, least: int = 0, most: int = _LARGEST) -> int:
    def read(given: str) -> int:
        try:
            value = int(given)
        except ValueError:
            raise ValueError("Not a valid integer.") from None
        if not least <= value <= most:
            raise ValueError(
                f"Must be greater than or equal to {least} and less than or equal to {most}."
            )
        return value

    return _setting(Kind(read), default)


def choice(default: str, *others: str) -> str:
    return _setting(Kind(lambda given: _one_of(given, (default, *others))), default)


def yes_or_no(*, default: bool) -> bool:
    return _setting(Kind(lambda given: _one_of(given, ("yes", "no")) == "yes"), default)


def path(default: str) -> str:
    """Of a URL, without a slash at its end."""

    def read(given: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", given):
            raise ValueError(f"must be a path such as {default}.")
        return given.rstrip("/")

    return _setting(Kind(read), default)


def postgres() -> str:
    required: str = field(repr=False, metadata={"kind": _address(_POSTGRES, _parse_postgres)})
    return required


def optional_postgres() -> str:
    """Empty where it is not set."""
    return _setting(_address(_POSTGRES, _parse_postgres), "", hidden=True)


def redis() -> str:
    required: str = field(repr=False, metadata={"kind": _address(SCHEMES, read_redis_url)})
    return required


def secrets(variable: str) -> tuple[bytes, ...]:
    """Comma-separated, at least one, none of them empty."""

    def read(given: str) -> tuple[bytes, ...]:
        found = [one.strip() for one in given.split(",")]
        if "" in found:
            raise ValueError("holds an empty secret, remove the stray comma.")
        return tuple(one.encode() for one in found)

    kind = Kind(read, wanted="the app's client secret", variable=variable)
    required: tuple[bytes, ...] = field(repr=False, metadata={"kind": kind})
    return required


def _address(schemes: tuple[str, ...], parse: Callable[[str], object]) -> Kind:
    """Of a server. `parse` raises where its client could not read the address."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)

    def read(given: str) -> str:
        if not given.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with {wanted}.")
        try:
            parse(given)
        except (ValueError, psycopg.Error):
            raise ValueError(
                f"is not an address such as {schemes[0]}://user:pass@host:1234/0."
            ) from None
        return given

    return Kind(read, wanted=f"the server's {wanted} address")


def _parse_postgres(url: str) -> None:
    """One host or several, as libpq reads them."""
    ports = str(conninfo_to_dict(url).get("port", "")).split(",")
    if not all(port == "" or 0 < int(port) < 2**16 for port in ports):
        raise ValueError("not a port")


def _one_of(given: str, choices: tuple[str, ...]) -> str:
    if given not in choices:
        raise ValueError(f"Must be one of: {', '.join(choices)}.")
    return given
