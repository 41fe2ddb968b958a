"""The names of our keys in Redis.

All keys of a stream partition share its hash tag, so that one script can use them on a cluster.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zlib import crc32

from app.batch.form import Form

MOST_PARTITIONS = 1_024
GROUP = "store"  # the consumer group of every stream
_SET_ASIDE = "newer:"  # no name of a worker has a colon

JOURNALS = ("stream", "store", "spool")

# Seen ids are kept in a set for each shop and time bucket. A set has one lifetime for all its
# members. With two buckets to a window, the current one and the two before hold at least a window.
BUCKETS_PER_WINDOW = 2

_DAY = 24 * 60 * 60  # s


@lru_cache(maxsize=4_096)
def partition(shop: str, partitions: int) -> int:
    return crc32(shop.encode()) % partitions


def stream(partition: int) -> str:
    return f"{{t{partition}}}:stream"


def set_aside(form: Form) -> str:
    """The consumer that no process is: it holds the entries of a form that is newer than the worker
    that read them, for a worker that can."""
    return f"{_SET_ASIDE}{form}"


def form_set_aside(consumer: str) -> Form | None:
    """The form of what a consumer holds; None where it is a worker."""
    text = consumer.removeprefix(_SET_ASIDE)
    return None if text == consumer else Form.parse(text)


def size(stream: str) -> str:
    """How much waits in a stream: bytes + 2**40 * large entries."""
    return f"{stream}:size"


def total(partition: int) -> str:
    """The all-time outcomes."""
    return f"{{t{partition}}}:counts:total"


def rate(partition: int, shop: str, now: float, visitor: str = "") -> str:
    """The events and bytes of a shop, or of a visitor in it, in a minute. (The previous release
    counts events alone, under `rate`.)"""
    return f"{{t{partition}}}:rates:{int(now // 60)}:{shop}:{visitor}"


def counts(partition: int, now: float) -> str:
    """The outcomes of a day (UTC)."""
    return f"{{t{partition}}}:counts:{_date(now // _DAY)}"


@lru_cache(maxsize=2)
def _date(days: float) -> str:
    """Of a number of days since 1970."""
    return f"{datetime.fromtimestamp(days * _DAY, UTC):%Y-%m-%d}"


def seen(partition: int, shop: str, now: float, window: int) -> list[str]:
    """The live sets of seen ids, the current bucket first; `window` in seconds."""
    bucket = int(now * BUCKETS_PER_WINDOW // window)
    return [f"{{t{partition}}}:seen:{shop}:{bucket - age}" for age in range(BUCKETS_PER_WINDOW + 1)]


def claim(partition: int, shop: str, insert_key: bytes) -> str:
    """Held by the request that is storing an event."""
    return f"{{t{partition}}}:claim:{shop}:{insert_key.hex()}"


def seen_lifetime(window: int) -> int:
    """Seconds: an id that is marked at the end of its bucket still lives for a whole window."""
    return window + -(-window // BUCKETS_PER_WINDOW)


def probe(partition: int) -> str:
    """Written to see whether Redis takes writes."""
    return f"{{t{partition}}}:probe"


def spooled(host: str) -> str:
    """Since when something waits in the spool of a machine (Unix seconds)."""
    return f"{{t0}}:spool:{host}"


def skipped(journal: str) -> str:
    """Since when web processes skip a journal (Unix seconds); gone soon after they stop."""
    return f"{{t0}}:paused:{journal}"


def observations() -> str:
    """What all processes have observed (app/metrics), all-time: a field for each bucket."""
    return "{t0}:observations"


def observed(metric: str, *parts: str | int) -> str:
    """A field of `observations`: the labels' values, then the bucket's bound or "sum"."""
    return "|".join(map(str, (metric, *parts)))


def processes() -> str:
    """What each process has told about itself last."""
    return "{t0}:processes"
