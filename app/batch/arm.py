"""Which arm of an experiment a visitor is in: a hash of its salt and their genlook_client_id alone.
app/tracker/arm.js says the same in a browser; app/merchant/EXPERIMENT.md says it in words."""

from array import array
from sys import byteorder

from app.batch.visitor import named

_OFFSET, _PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a
_MASK = 0xFFFFFFFF
_UTF_16 = "utf-16-le" if byteorder == "little" else "utf-16-be"


def is_held_back(salt: str, share: int, client_id: str | None) -> bool | None:
    """`share` in percent. None: an id that names nobody is in no arm."""
    if named(client_id) is None:
        return None
    return 100 * hash32(f"{salt}:{client_id}") < share << 32


def hash32(text: str) -> int:
    """FNV-1a over UTF-16 code units, as JavaScript has them, mixed by MurmurHash3's finalizer:
    without it, the ends of ids would hardly reach the upper bits.

    Sources: http://www.isthe.com/chongo/tech/comp/fnv/, https://github.com/aappleby/smhasher
    """
    value = _OFFSET
    for unit in array("H", text.encode(_UTF_16, "surrogatepass")):
        value = (value ^ unit) * _PRIME & _MASK
    value = (value ^ value >> 16) * 0x85EBCA6B & _MASK
    value = (value ^ value >> 13) * 0xC2B2AE35 & _MASK
    return value ^ value >> 16
