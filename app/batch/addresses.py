"""E-mail addresses in what callers send: found, compared, hashed."""

import hmac
import re
from collections.abc import Iterator
from typing import Any

import orjson

_ADDRESS = re.compile(r"[^\s\"'<>()\[\],;:\\@]+@[^\s\"'<>()\[\],;:\\@]+")
_HASHED = re.compile(r"email-hmac:[0-9a-f]{64}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# A string of JSON that is an address and nothing else.
_JSON_ADDRESS = re.compile(rb'"\s*([^"\\\s<>(),;:@/]+@[^"\\\s<>(),;:@/]+\.[^"\\\s<>(),;:@/.]+)\s*"')


def normalize(address: str) -> str:
    return address.strip().casefold()


def hashed(address: str, key: bytes) -> str:
    """What is stored in the place of an address where HASH_EMAILS is on."""
    return f"email-hmac:{hmac.digest(key, normalize(address).encode(), 'sha256').hex()}"


def hash_in_json(text: bytes, key: bytes) -> bytes:
    """JSON whose strings that are addresses are hashed; the rest is as it was."""
    if b"@" not in text:
        return text
    return _JSON_ADDRESS.sub(
        lambda match: b'"%b"' % hashed(match[1].decode(errors="replace"), key).encode(), text
    )


def in_value(value: Any) -> Iterator[str]:
    """The addresses and hashes in a decoded JSON value at any depth, normalized."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield normalize(item)
            yield from _in_plain_text(item)
        elif isinstance(item, dict):
            todo += [*item, *item.values()]
        elif isinstance(item, list):
            todo += item


def in_text(text: str) -> Iterator[str]:
    """The same for text that should be JSON and perhaps is not."""
    try:
        yield from in_value(orjson.loads(text))
    except orjson.JSONDecodeError:
        yield from _in_plain_text(unescaped(text))


def unescaped(text: str) -> str:
    """Without JSON's escapes by number."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _in_plain_text(text: str) -> Iterator[str]:
    yield from _HASHED.findall(text)
    for address in _ADDRESS.findall(text):
        yield normalize(address).rstrip(".")
