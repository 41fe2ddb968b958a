"""New events into the counts (step 4 of app.counts.rollups)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from psycopg import Connection

from app.batch.news import News, unpack
from app.counts import calendar, journeys
from app.counts.cells import add_cells
from app.counts.dimensions import visitor_key
from app.counts.journeys import Journey, Visitor, pack_events
from app.counts.measures import KINDS, LATE, OTHER_KIND
from app.counts.period import Preferences, read_preferences
from app.counts.stored import Numbering, Texts
from app.counts.tally import Tally

MOST = 4 * 1024 * 1024  # bytes of announcements at once
_LEAST = 64 * 1024  # bytes of each shop
_EVENTS, _VISITORS = 10_000, 2_000  # that are merged at once

# The oldest of each shop, up to so many bytes and the rest of the last announcement.
_TAKE = """
    WITH taken AS (
        SELECT shop_id, id FROM (
            SELECT shop_id, id, size, sum(size) OVER (PARTITION BY shop_id ORDER BY id) AS total
            FROM report_news WHERE shop_id = ANY(%s)
        ) AS summed
        WHERE total - size < %s
    )
    DELETE FROM report_news USING taken
    WHERE report_news.shop_id = taken.shop_id AND report_news.id = taken.id
    RETURNING report_news.shop_id, packed"""

_KINDS: dict[str | None, int] = {None: LATE}
_KINDS.update(KINDS)

# Events with the same values, which have no numbers yet: the values, times and kinds.
_Raw = tuple[Texts, list[int], list[int]]
_RawEvents = dict[Visitor, list[_Raw]]


def count_announced(connection: Connection, shop_ids: Collection[int]) -> bool:
    """Take some announcements of these shops away and count what they announce; whether there was
    any. The caller's transaction holds the locks of the shops."""
    most = max(_LEAST, MOST // max(1, len(shop_ids)))
    rows = connection.execute(_TAKE.encode(), [list(shop_ids), most], binary=True).fetchall()
    if not rows:
        return False
    preferences = read_preferences(connection, {shop_id for shop_id, _ in rows})
    raw: _RawEvents = defaultdict(list)
    times: defaultdict[int, list[int]] = defaultdict(list)
    for shop_id, packed in rows:
        for news in unpack(packed):
            times[shop_id] += news.times
            if news.visitor:
                raw[shop_id, visitor_key(news.visitor)] += _raw(news)
    tally = Tally()
    days = {}
    for shop_id, of_shop in times.items():
        days[shop_id] = calendar.days(connection, preferences[shop_id].time_zone, set(of_shop))
        tally.add_events(shop_id, Counter(map(days[shop_id].__getitem__, of_shop)))
    numbering = Numbering(connection)
    for visitors in _parts(raw):
        for known in journeys.read(connection, visitors):
            _merge(connection, numbering, tally, known, raw, days, preferences)
            if tally.is_large():
                add_cells(connection, tally.cells())
    add_cells(connection, tally.cells())
    return True


def _parts(raw: _RawEvents) -> Iterator[list[Visitor]]:
    """Visitors with as many new events as are merged at once."""
    some: list[Visitor] = []
    events = 0
    for visitor, of_visitor in raw.items():
        some.append(visitor)
        events += sum([len(times) for _, times, _ in of_visitor])
        if events > _EVENTS or len(some) == _VISITORS:
            yield some
            some, events = [], 0
    if some:
        yield some


def _raw(news: News) -> Iterable[_Raw]:
    kinds = [_KINDS.get(name, OTHER_KIND) for name in news.names]
    rest = news.version, news.device, news.language
    if isinstance(news.product, str):
        return (((news.product, *rest), news.times, kinds),)
    return [
        ((product, *rest), [at], [kind])
        for product, at, kind in zip(news.product, news.times, kinds, strict=True)
    ]


def _merge(
    connection: Connection,
    numbering: Numbering,
    tally: Tally,
    known: Sequence[tuple[Visitor, Journey]],
    raw: _RawEvents,
    days: Mapping[int, Mapping[int, int]],
    preferences: Mapping[int, Preferences],
) -> None:
    """Put the new events into their visitors' journeys, and the difference into the tally."""
    merged: dict[Visitor, Journey] = {}
    growing: list[tuple[Visitor, bytes]] = []
    for visitor, old in known:
        if old is None:  # a robot's further events need nothing
            continue
        new_events = sum([len(times) for _, times, _ in raw[visitor]])
        if len(old) // journeys.SIZE + new_events > journeys.MOST_EVENTS:
            merged[visitor] = None
            tally.add(visitor[0], old, preferences[visitor[0]].window, by=-1)
        else:
            growing.append((visitor, old))
    numbering.learn({(visitor[0], texts) for visitor, _ in growing for texts, _, _ in raw[visitor]})
    for visitor, old in growing:
        shop_id = visitor[0]
        day_of = days[shop_id]
        new: list[bytes] = []
        for texts, times, kinds in raw[visitor]:
            new += pack_events(times, kinds, day_of, numbering.of(shop_id, texts))
        merged[visitor] = everything = journeys.with_new(old, new)
        tally.change(shop_id, old, everything, new, preferences[shop_id].window)
    journeys.write(connection, merged, {visitor for visitor, old in known if old != b""})
