"""Requests that Shopify's app proxy has signed.

Source: https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies
The rules beyond it (what is refused although the HMAC fits) are there because the signed
message has no separators: the same text can be cut into other parameters.
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urlencode

from app.shopify.domain import is_shop

_ONCE = ("shop", "timestamp", "path_prefix", "signature")
_AT_MOST_ONCE = ("logged_in_customer_id",)
_MARKERS = ("shop=", "timestamp=", "path_prefix=", "logged_in_customer_id=")
_IN_MESSAGE = tuple((marker[:-1], marker.encode()) for marker in _MARKERS)

_TIMESTAMP = re.compile(r"[0-9]{1,20}")
_PATH = re.compile(r"/[^\x00-\x20\x7f?#]*")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a signed query says. `shop` and `customer_id` count only where `valid` is true.

    `cause` names the first rule that failed, for the log and the counters, never for the caller:
    missing:NAME, duplicate:NAME, bad_signature, ambiguous_param, bad_timestamp, stale, bad_shop,
    bad_path_prefix.
    """

    cause: str | None
    shop: str = ""
    customer_id: str | None = None

    @property
    def valid(self) -> bool:
        return self.cause is None


def verify(query: bytes, secrets: Sequence[bytes], *, now: float, max_age: int) -> Verdict:
    """Judge a raw query string; every secret in the list is good. Never raises.

    `now` is Unix seconds, `max_age` seconds either way.
    """
    values = _parse(query)
    for name in _ONCE:
        if name not in values:
            return Verdict(f"missing:{name}")
    for name in _ONCE + _AT_MOST_ONCE:
        if len(values.get(name, ())) > 1:
            return Verdict(f"duplicate:{name}")

    signature = values.pop("signature")[0].encode("latin-1")
    texts = {key: f"{key}={','.join(parts)}" for key, parts in values.items()}
    message = "".join(sorted(texts.values())).encode("latin-1")
    if not any(hmac.compare_digest(_hexdigest(secret, message), signature) for secret in secrets):
        return Verdict("bad_signature")
    # Where each marker stands no more often than its parameter, no text holds another one.
    if any(message.count(marker) > (key in texts) for key, marker in _IN_MESSAGE) and any(
        _is_ambiguous(key, text) for key, text in texts.items()
    ):
        return Verdict("ambiguous_param")

    timestamp, shop = values["timestamp"][0], values["shop"][0]
    if not _TIMESTAMP.fullmatch(timestamp):
        return Verdict("bad_timestamp")
    if abs(now - int(timestamp)) > max_age:
        return Verdict("stale")
    if not is_shop(shop):
        return Verdict("bad_shop")
    if not _PATH.fullmatch(values["path_prefix"][0]):
        return Verdict("bad_path_prefix")
    customer_id = values.get("logged_in_customer_id", [""])[0] or None
    return Verdict(None, shop, customer_id)


def _parse(query: bytes) -> dict[str, list[str]]:
    """urllib's parse_qsl with blank values kept, in latin-1, at a third of its cost."""
    values: dict[str, list[str]] = {}
    for part in query.decode("latin-1").split("&"):
        if part:
            key, value = _unquoted(part) if "%" in part or "+" in part else part.partition("=")[::2]
            values.setdefault(key, []).append(value)
    return values


@lru_cache
def _unquoted(part: str) -> tuple[str, str]:
    """Key and value; the one that is quoted in all requests, `path_prefix`, is the same in all."""
    pieces = part.replace("+", " ").encode("latin-1").partition(b"=")
    key, _, value = (unquote_to_bytes(piece).decode("latin-1") for piece in pieces)
    return key, value


def sign(parameters: Iterable[tuple[str, str]], secret: str) -> str:
    """The whole query string, URL-encoded, signed as Shopify does it."""
    pairs = [(key.encode(), value.encode()) for key, value in parameters]
    values: dict[bytes, list[bytes]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    message = b"".join(sorted(key + b"=" + b",".join(parts) for key, parts in values.items()))
    signature = _hexdigest(secret.encode(), message)
    return urlencode([*pairs, (b"signature", signature)])


def _hexdigest(secret: bytes, message: bytes) -> bytes:
    digest = _keyed(secret).copy()
    digest.update(message)
    return digest.hexdigest().encode()


@lru_cache
def _keyed(secret: bytes) -> hmac.HMAC:
    """Whatever depends on the secret alone is computed once."""
    return hmac.new(secret, digestmod="sha256")


def _is_ambiguous(key: str, text: str) -> bool:
    """Whether a parameter's text could be cut so that it yields one of those the app reads."""
    own = f"{key}="
    rest = text[len(own) :] if own in _MARKERS else text
    return any(marker in rest for marker in _MARKERS)
