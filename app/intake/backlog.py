"""How much waits in a stream, in bytes: for its cap, and for whoever reads it, so that what is read
at once fits into memory whatever waits.

The intake script adds each entry's size (intake.lua), and entries are taken out by `remove` alone.
A previous release does neither, so where the stream is empty its size is zero again.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1
from itertools import islice
from typing import Any

from redis import Redis, ResponseError
from redis.exceptions import NoScriptError

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
_REMOVE_SHA = sha1(_REMOVE.encode(), usedforsecurity=False).hexdigest()

_Part = tuple[str, dict[bytes, int]]  # a stream and the sizes of its entries


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Of an entry, in bytes, as the intake script counts it."""
    return sum(map(len, fields.values()))


def bytes_waiting(client: Redis, streams: Sequence[str]) -> int:
    """In all of them. redis.RedisError."""
    return sum(size % 2**40 for size in _sizes(client, streams))


def entries_at_once(client: Redis, streams: Sequence[str]) -> int:
    """How many entries may be read with one command. redis.RedisError."""
    return _FEW if any(size >= 2**40 for size in _sizes(client, streams)) else _MANY


def _sizes(client: Redis, streams: Sequence[str]) -> list[int]:
    """One GET a stream: on a cluster each has a slot of its own."""
    if len(streams) == 1:
        return [int(client.get(keys.size(streams[0])) or 0)]
    with client.pipeline(transaction=False) as pipeline:
        for stream in streams:
            pipeline.get(keys.size(stream))
        return [int(size or 0) for size in pipeline.execute()]


def remove(
    client: Redis, sizes: Mapping[str, Mapping[bytes, int]]
) -> list[tuple[str, int | ResponseError]]:
    """Acknowledge and delete entries, given by stream and id with their sizes; returns how many
    there were, or why a stream does not let go of them. redis.RedisError: the server is away."""
    told: list[tuple[str, int | ResponseError]] = []
    for parts in _parts(sizes):
        answers = _remove(client, parts)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            client.script_load(_REMOVE)
            answers = _remove(client, parts)
        told += zip([stream for stream, _ in parts], answers, strict=True)
    return told


def _remove(client: Redis, parts: Sequence[_Part]) -> list[int | ResponseError]:
    with client.pipeline(transaction=False) as pipeline:
        for stream, some in parts:
            large = sum(size >= LARGE for size in some.values())
            args: list[Any] = [keys.GROUP, sum(some.values()), large, *some]
            pipeline.evalsha(_REMOVE_SHA, 2, stream, keys.size(stream), *args)
        return pipeline.execute(raise_on_error=False)


def _parts(sizes: Mapping[str, Mapping[bytes, int]]) -> Iterator[list[_Part]]:
    """What is sent together: of several streams, but not more than is good for one command."""
    together: list[_Part] = []
    room = _MANY
    for stream, of_stream in sizes.items():
        entries = iter(of_stream.items())
        while some := dict(islice(entries, room)):
            together.append((stream, some))
            room -= len(some)
            if not room:
                yield together
                together, room = [], _MANY
    if together:
        yield together
