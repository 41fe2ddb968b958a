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
    return removed
end
for i, field in ipairs({'bytes', 'large'}) do
    local number = math.floor(ARGV[i + 1] * removed / #ids)
    if number > 0 and redis.call('HINCRBY', KEYS[2], field, -number) < 0 then
        redis.call('HSET', KEYS[2], field, 0)  -- a previous release has added without counting
    end
end
return removed
"""


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Of an entry, in bytes, as the intake script counts it."""
    return sum(map(len, fields.values()))


def entries_at_once(client: Redis, streams: Sequence[str]) -> int:
    """How many entries may be read with one command. redis.RedisError."""
    waiting: Any = [client.hget(keys.sizes(stream), "large") for stream in streams]
    return _FEW if any(int(number or 0) > 0 for number in waiting) else _MANY


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
                keys=[stream, keys.sizes(stream)],
                args=[keys.GROUP, sum(some.values()), large, *some],
            )
        )
    return removed
