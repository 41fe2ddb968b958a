"""What Redis knows, asked before Postgres stores a batch itself: which ids were seen, and whether
the caller is over a limit.

Best effort: without Redis nothing is filtered, limited or marked; the key in Postgres decides.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from redis import RedisError
from redis.exceptions import AskError, MovedError, OutOfMemoryError, TryAgainError

from app.batch.batch import Batch
from app.intake import keys
from app.intake.breaker import log_return
from app.intake.limits import (
    KEY_LIFETIME,
    Charges,
    Limits,
    RateLimited,
    seconds_to_next_minute,
)
from app.intake.outcomes import Outcomes
from app.intake.script import read_lua
from app.intake.stream import Stream
from app.intake.streams import Streams
from app.intake.submission import Submission
from config.causes import cause

logger = logging.getLogger(__name__)

_CLAIM_LIFETIME = 3_000  # ms, longer than a request may take
_CLAIM_TIMEOUT = 0.4  # s to wait for another request that stores the same event
_CLAIM_POLL = 0.02  # s
_TOKEN_BYTES = 8
_SCRIPT = read_lua("filter.lua")

# As the intake script marks. KEYS  1 the current set of seen ids, 2 the one before.
# ARGV  1 lifetime of a set (s), 2 most ids in a set, then the ids.
_MARKING = """
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then
    redis.call('UNLINK', KEYS[2])
    redis.call('RENAME', KEYS[1], KEYS[2])
end
redis.call('SADD', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[1], 'NX')
"""

T = TypeVar("T")


class _Answer(NamedTuple):
    """The insert keys that were asked for, each in one of the sets; in none, over a limit."""

    seen: frozenset[bytes] = frozenset()
    claimed: frozenset[bytes] = frozenset()  # by this request, to be let go of
    busy: frozenset[bytes] = frozenset()  # claimed by another request, which stores them just now
    is_over_limit: bool = False
    keeps_rejected: bool = True


_REDIS_AWAY = _Answer()  # nothing is known: everything may be stored
_NO_CHARGES = Charges()


class Filter:
    def __init__(
        self,
        streams: Streams,
        outcomes: Outcomes,
        *,
        dedup_window: int,
        limits: Limits,
    ) -> None:
        self._streams = streams
        self._outcomes = outcomes
        self._dedup_window = dedup_window
        self._limits = limits

    @contextmanager
    def unseen(self, submission: Submission) -> Iterator[list[bytes]]:
        """The batch's events without those whose ids were marked before. RateLimited.

        To ask, to store and to mark is not one step, so within the block the ids are claimed: a
        request that comes with one of them meanwhile waits for the mark. (The key in Postgres
        tells a repeat only where it has the same time.)
        """
        batch, token = submission.batch, os.urandom(_TOKEN_BYTES)
        answer = self._admit(submission, token)
        seen, claimed, busy = answer.seen, answer.claimed, answer.busy
        try:
            deadline = time.monotonic() + _CLAIM_TIMEOUT
            while busy and time.monotonic() < deadline:
                time.sleep(_CLAIM_POLL)
                answer = self._ask(batch.shop, sorted(busy), token)
                seen, claimed, busy = seen | answer.seen, claimed | answer.claimed, answer.busy
            lines = zip(batch.keys, batch.events, strict=True)
            yield [line for key, line in lines if key not in seen]
        finally:
            if claimed:
                claims = self._claims(batch.shop, claimed)
                self._call(batch.shop, lambda stream: stream.client.delete(*claims))

    def mark(self, batch: Batch) -> None:
        """Mark all of the batch's ids. Only for what is committed: an earlier mark loses events."""
        if batch.events:
            self._call(batch.shop, lambda stream: self._mark(stream, batch))

    def _mark(self, stream: Stream, batch: Batch) -> None:
        current, previous, *_ = self._sets(batch.shop)
        stream.client.register_script(_MARKING)(
            keys=[current, previous],
            args=[
                keys.seen_lifetime(self._dedup_window),
                stream.bounds.seen_ids,
                *batch.keys,
            ],
        )

    def _admit(self, submission: Submission, token: bytes) -> _Answer:
        """Count the submission against its limits and ask for its ids. RateLimited."""
        now = time.time()
        batch = submission.batch
        charges = self._limits.of(submission, self._partition(batch.shop), now)
        answer = self._ask(batch.shop, batch.keys, token, charges)
        if answer.is_over_limit:
            self._outcomes.count({"rate_limited": submission.received_count})
            raise RateLimited(seconds_to_next_minute(now))
        if not answer.keeps_rejected:
            batch.rejected = b""
        return answer

    def _ask(
        self,
        shop: str,
        ids: Sequence[bytes],
        token: bytes,
        charges: Charges = _NO_CHARGES,
    ) -> _Answer:
        counters = charges.counters
        if not ids and not counters:
            return _Answer()
        names = [*counters, *self._claims(shop, ids), *self._sets(shop)]
        args: list[str | bytes | int] = [
            *(charges.valid, charges.rejected, len(ids)),
            *(KEY_LIFETIME, token, _CLAIM_LIFETIME),
            *charges.args,
            *ids,
        ]
        letters: bytes | None = self._call(
            shop, lambda stream: stream.client.register_script(_SCRIPT)(keys=names, args=args)
        )
        if letters is None:
            return _REDIS_AWAY
        if letters == b"LIMITED":
            return _Answer(is_over_limit=True)
        return _read(ids, letters.decode())

    def _claims(self, shop: str, ids: Iterable[bytes]) -> list[str]:
        return [keys.claim(self._partition(shop), shop, key) for key in ids]

    def _sets(self, shop: str) -> list[str]:
        return keys.seen(self._partition(shop), shop, time.time(), self._dedup_window)

    def _partition(self, shop: str) -> int:
        return self._streams.partition(shop)

    def _call(self, shop: str, call: Callable[[Stream], T]) -> T | None:
        """What the call returns; None where Redis is away, or the shop's slot on its way."""
        stream = self._streams.of(shop)
        if not stream.breaker.allow():
            return None
        try:
            result = call(stream)
        except MovedError as error:  # the next call goes where it is
            self._streams.follow(stream, error)
            stream.breaker.record_success()
            return None
        except (OutOfMemoryError, TryAgainError, AskError):  # the key in Postgres decides
            stream.breaker.record_success()
            return None
        except RedisError as error:
            if stream.breaker.record_failure():
                logger.warning(
                    "Redis failed; filtering and limiting nothing for now",
                    extra={"action": "filter_paused", "cause": cause(error)},
                )
            return None
        if stream.breaker.record_success():
            log_return(stream.name)
        return result


def _read(ids: Sequence[bytes], letters: str) -> _Answer:
    found: dict[str, set[bytes]] = {"s": set(), "c": set(), "b": set()}
    for key, letter in zip(ids, letters[1:], strict=True):
        found[letter].add(key)
    return _Answer(
        frozenset(found["s"]),
        frozenset(found["c"]),
        frozenset(found["b"]),
        keeps_rejected=letters[0] == "+",
    )
