"""New events into the counts (step 4 of app.counts.rollups)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from psycopg import Connection

from app.batch.news import DEFINITION, News, unpack
from app.counts import calendar, journeys, titles
from app.counts.cells import add_cells
from app.counts.dimensions import visitor_key
from app.counts.experiments import Experiments
from app.counts.journeys import Journey, Visitor, pack_heads
from app.counts.measures import COUNTED, KIND_OF
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
    RETURNING report_news.shop_id, packed, by_session, titles, definition"""
# Announced by a release with another definition: counted for now, and again from what is stored.
_OUTDATE = """
    INSERT INTO report_recounts (shop_id, definition) SELECT unnest(%s::integer[]), %s
    ON CONFLICT DO NOTHING"""

# Events with the same values, which have no numbers yet; each packed up to its day.
_Raw = tuple[Texts, list[bytes]]
_RawEvents = dict[Visitor, list[_Raw]]


def count_announced(connection: Connection, shop_ids: Collection[int]) -> bool:
    """Take some announcements of these shops away and count what they announce; whether there was
    any. The caller's transaction holds the locks of the shops."""
    most = max(_LEAST, MOST // max(1, len(shop_ids)))
    rows = connection.execute(_TAKE.encode(), [list(shop_ids), most], binary=True).fetchall()
    if not rows:
        return False
    shops = {shop_id for shop_id, *_ in rows}
    if outdated := {shop_id for shop_id, *_, definition in rows if definition != DEFINITION}:
        connection.execute(_OUTDATE.encode(), [sorted(outdated), COUNTED])
    preferences = read_preferences(connection, shops)
    experiments = Experiments(connection, shops)
    announced: defaultdict[int, list[News]] = defaultdict(list)
    for shop_id, packed, by_session, *_ in rows:
        some = unpack(packed)
        announced[shop_id] += some
        if experiments.has_any(shop_id):
            for place, (name, *_) in enumerate(some):
                if name and place not in by_session:
                    experiments.name((shop_id, visitor_key(name)), name)
    tally = Tally()
    raw: _RawEvents = {}
    for shop_id, of_shop in announced.items():
        times = [at for *_, of_batch, _ in of_shop for at in of_batch]
        day_of = calendar.days(connection, preferences[shop_id].time_zone, set(times))
        tally.add_events(shop_id, Counter(map(day_of.__getitem__, times)))
        raw |= _by_visitor(shop_id, of_shop, day_of)
    numbering = Numbering(connection)
    for visitors in _parts(raw):
        for known in journeys.read(connection, visitors):
            merged = _merge(connection, numbering, tally, known, raw, preferences)
            experiments.count(merged, only_grown=True)
            if tally.is_large():
                add_cells(connection, tally.cells())
    titles.remember(connection, [(row[0], row[3]) for row in rows if row[3]])
    add_cells(connection, tally.cells())
    return True


def _parts(raw: _RawEvents) -> Iterator[list[Visitor]]:
    """Visitors with as many new events as are merged at once."""
    some: list[Visitor] = []
    events = 0
    for visitor, of_visitor in raw.items():
        some.append(visitor)
        events += sum([len(heads) for _, heads in of_visitor])
        if events > _EVENTS or len(some) == _VISITORS:
            yield some
            some, events = [], 0
    if some:
        yield some


def _by_visitor(shop_id: int, announced: Iterable[News], days: Mapping[int, int]) -> _RawEvents:
    by_name: defaultdict[str, list[_Raw]] = defaultdict(list)
    for visitor, version, device, language, product, times, names in announced:
        if not visitor:
            continue
        heads = pack_heads(times, map(KIND_OF.__getitem__, names), map(days.__getitem__, times))
        if isinstance(product, str):
            by_name[visitor].append(((product, version, device, language), heads))
        else:
            by_name[visitor] += [
                ((of_event, version, device, language), [head])
                for of_event, head in zip(product, heads, strict=True)
            ]
    return {(shop_id, visitor_key(name)): events for name, events in by_name.items()}


def _merge(
    connection: Connection,
    numbering: Numbering,
    tally: Tally,
    known: Sequence[tuple[Visitor, Journey]],
    raw: _RawEvents,
    preferences: Mapping[int, Preferences],
) -> dict[Visitor, Journey]:
    """Put the new events into their visitors' journeys, and the difference into the tally; returns
    the journeys."""
    merged: dict[Visitor, Journey] = {}
    growing: list[tuple[Visitor, bytes]] = []
    for visitor, old in known:
        if old is None:  # a robot's further events need nothing
            continue
        new_events = sum([len(heads) for _, heads in raw[visitor]])
        if len(old) // journeys.SIZE + new_events > journeys.MOST_EVENTS:
            merged[visitor] = None
            tally.add(visitor[0], old, preferences[visitor[0]].window, by=-1)
        else:
            growing.append((visitor, old))
    wanted: defaultdict[int, set[Texts]] = defaultdict(set)
    for visitor, _ in growing:
        wanted[visitor[0]].update([texts for texts, _ in raw[visitor]])
    values = numbering.of(wanted)
    for visitor, old in growing:
        shop_id = visitor[0]
        of_shop = values[shop_id]
        new = [head + of_shop[texts] for texts, heads in raw[visitor] for head in heads]
        merged[visitor] = everything = journeys.with_new(old, new)
        tally.change(shop_id, old, everything, new, preferences[shop_id].window)
    journeys.write(connection, merged, {visitor for visitor, old in known if old != b""})
    return merged
