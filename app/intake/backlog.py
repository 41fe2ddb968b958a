"""How much waits in a stream, in bytes: for its cap, and for whoever reads it, so that what is read
at once fits into memory whatever waits.

The intake script adds each entry's size (intake.lua), and entries are taken out by `remove` alone.
A previous release does neither, so where the stream is empty its size is zero again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis

from app.intake import keys

LARGE = 64 * 1024  # bytes of an entry; how many larger ones wait is counted apart
_MANY = 100  # entries to one command: while it works at them, Redis answers nobody else
_FEW = 4  # while a large one waits: an entry may be of several MiB

# KEYS  1 the stream, 2 its size
# ARGV  1 the consumer group, 2 bytes and 3 number of large ones of the entries, then their ids
_REMOVE = """
local ids = {unpack(ARGV, 4)}
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
local removed = redis.call('XDEL', KEYS[1], unpack(ids))  -- XACK alone does not free the memory
if redis.call('XLEN', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
elseif removed > 0 then
    local size = tonumber(redis.call('GET', KEYS[2]) or 0)
    local bytes = size % 2 ^ 40
    local large = (size - bytes) / 2 ^ 40
    -- Not below zero: a previous release has added without counting.
    bytes = math.max(0, bytes - math.floor(ARGV[2] * removed / #ids))
    large = math.max(0, large - math.floor(ARGV[3] * removed / #ids))
    redis.call('SET', KEYS[2], string.format('%.0f', bytes + large * 2 ^ 40))
end
return removed
"""


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Of an entry, in bytes, as the intake script counts it."""
    return sum(map(len, fields.values()))


def entries_at_once(client: Redis, streams: Sequence[str]) -> int:
    """How many entries may be read with one command. redis.RedisError."""
    sizes: Any = [client.get(keys.size(stream)) for stream in streams]
    return _FEW if any(int(size or 0) >= 2**40 for size in sizes) else _MANY


def remove(client: Redis, stream: str, sizes: Mapping[bytes, int]) -> int:
    """Acknowledge and delete entries, given by id with their sizes; returns how many there were.
    redis.RedisError."""
    items, removed = list(sizes.items()), 0
    script = client.register_script(_REMOVE)
    for start in range(0, len(items), _MANY):
        some = dict(items[start : start + _MANY])
        large = sum(size >= LARGE for size in some.values())
        removed += int(
            script(
                keys=[stream, keys.size(stream)],
                args=[keys.GROUP, sum(some.values()), large, *some],
            )
        )
    return removed
