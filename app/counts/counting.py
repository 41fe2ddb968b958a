"""New events into the counts (step 4 of app.counts.rollups)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from psycopg import Connection

from app.batch.news import News, unpack
from app.counts import calendar, journeys
from app.counts.cells import add_cells
from app.counts.dimensions import is_late, visitor_key
from app.counts.journeys import Journey, Visitor
from app.counts.measures import KINDS, LATE, OTHER_KIND, Event
from app.counts.period import Preferences, read_preferences
from app.counts.stored import Numbering, Texts
from app.counts.tally import Tally

MOST = 4 * 1024 * 1024  # bytes of announcements at once
_LEAST = 64 * 1024  # bytes of each shop

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

# An event before its values have numbers: time, kind, and the texts of its values.
_Raw = tuple[int, int, Texts]
_RawEvents = dict[Visitor, list[_Raw]]


def count_announced(connection: Connection, shop_ids: Collection[int]) -> bool:
    """Take some announcements of these shops away and count what they announce; whether there was
    any. The caller's transaction holds the locks of the shops."""
    most = max(_LEAST, MOST // max(1, len(shop_ids)))
    rows = connection.execute(_TAKE.encode(), [list(shop_ids), most], binary=True).fetchall()
    if not rows:
        return False
    preferences = read_preferences(connection, {shop_id for shop_id, _ in rows})
    tally = Tally()
    raw: _RawEvents = defaultdict(list)
    moments: defaultdict[int, list[int]] = defaultdict(list)
    for shop_id, packed in rows:
        for news in unpack(packed):
            _sort_in(shop_id, news, raw, moments[shop_id])
    days = {}
    for shop_id, of_shop in moments.items():
        days[shop_id] = calendar.days(connection, preferences[shop_id].time_zone, set(of_shop))
        tally.add_events(shop_id, map(days[shop_id].__getitem__, of_shop))
    numbering = Numbering(connection)
    for known in journeys.read(connection, raw):
        _merge(connection, numbering, tally, known, raw, days, preferences)
    add_cells(connection, tally.cells())
    return True


def _sort_in(shop_id: int, news: News, raw: _RawEvents, moments: list[int]) -> None:
    of_visitor = raw[shop_id, visitor_key(news.visitor)] if news.visitor else None
    for at, name, product in news.events:
        moments.append(at)
        if of_visitor is not None:
            kind = LATE if is_late(at, news.received) else KINDS.get(name, OTHER_KIND)
            of_visitor.append((at, kind, (product, news.version, news.device, news.language)))


def _merge(
    connection: Connection,
    numbering: Numbering,
    tally: Tally,
    known: Iterable[tuple[Visitor, Journey]],
    raw: _RawEvents,
    days: Mapping[int, Mapping[int, int]],
    preferences: Mapping[int, Preferences],
) -> None:
    """Put the new events into their visitors' journeys, and the difference into the tally."""
    # A robot's values need no numbers, and its further events nothing at all.
    merged: dict[Visitor, Journey] = {}
    growing = []
    for visitor, old in known:
        if old is None or not raw[visitor]:
            continue
        if len(old) + len(raw[visitor]) > journeys.MOST_EVENTS:
            merged[visitor] = None
            tally.add(visitor[0], old, preferences[visitor[0]].window, by=-1)
        growing.append((visitor, old))
    numbering.learn(
        {(v[0], texts) for v, _ in growing if v not in merged for _, _, texts in raw[v]}
    )
    for visitor, old in growing:
        if visitor in merged:
            continue
        shop_id, window = visitor[0], preferences[visitor[0]].window
        new = [
            Event(at, kind, days[shop_id][at], *numbering.of(shop_id, texts))
            for at, kind, texts in raw[visitor]
        ]
        everything = sorted([*old, *new])
        if old:
            tally.change(shop_id, old, everything, new, window)
        else:
            tally.add(shop_id, everything, window)
        merged[visitor] = everything
    journeys.write(connection, merged, {visitor for visitor, old in growing if old})
