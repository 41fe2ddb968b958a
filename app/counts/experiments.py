"""What each visitor counts for in an experiment, and the sums of it, kept up to date as the other
counts are (app.counts.rollups): within the same transactions, from the same journeys.

A visitor's part is stored (`experiment_visitors`), so that a change is the difference to it,
whatever has changed: new events, erased ones, the end of the experiment, the shop's window.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg import Connection

from app.batch.arm import is_held_back
from app.counts import journeys
from app.counts.arrays import uuids
from app.counts.dimensions import visitor_key
from app.counts.experiment_sums import Part, add_up
from app.counts.journeys import Journey, Visitor
from app.counts.measures import (
    CART_KINDS,
    KINDS,
    STEPS,
    WIDGET_KINDS,
    Event,
    in_experiment,
)
from app.counts.period import Preferences, read_preferences

_PAGE = KINDS[STEPS[0]]
_AT_ONCE = 2_000  # visitors
_EPOCH = "timestamptz 'epoch'"

_COLUMNS = """
    experiments.id, shop_id, share, salt, (extract(epoch FROM starts_at) * 1000000)::bigint,
    (extract(epoch FROM ends_at) * 1000000)::bigint"""
_READ = f"""
    SELECT {_COLUMNS}, counted_end IS NULL,
        counted_end IS DISTINCT FROM coalesce(ends_at, 'infinity')
    FROM experiments WHERE shop_id = ANY(%s) ORDER BY id"""

_STORED = """
    SELECT replace(visitor::text, '-', ''), is_held_back,
        (extract(epoch FROM first_at) * 1000000)::bigint, day, has_added, saw_widget,
        product, device, language
    FROM experiment_visitors
    WHERE shop_id = %s AND experiment_id = %s AND visitor = ANY(%s::uuid[])"""

_PARTS = """
    unnest(%s::uuid[], %s::boolean[], %s::timestamptz[], %s::integer[], %s::boolean[],
        %s::boolean[], %s::integer[], %s::integer[], %s::integer[])
        AS part (visitor, is_held_back, first_at, day, has_added, saw_widget, product, device,
            language)"""
_ADD = f"""
    INSERT INTO experiment_visitors
        (shop_id, experiment_id, visitor, is_held_back, first_at, day, has_added, saw_widget,
        product, device, language)
    SELECT %s, %s, part.* FROM {_PARTS}"""
_CHANGE = f"""
    UPDATE experiment_visitors AS kept SET first_at = part.first_at, day = part.day,
        has_added = part.has_added, saw_widget = part.saw_widget, product = part.product,
        device = part.device, language = part.language
    FROM {_PARTS}
    WHERE kept.shop_id = %s AND kept.experiment_id = %s AND kept.visitor = part.visitor"""

_CLIENTS = f"""
    SELECT DISTINCT b.client_id FROM events e
    JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    WHERE e.shop_id = %s AND e.occurred_at >= {_EPOCH} + %s * interval '1 microsecond'
    AND b.client_id <> ''"""


class Experiment(NamedTuple):
    """`share` in percent; times in microseconds of Unix time, no `end` until it is known."""

    id: int
    shop_id: int
    share: int
    salt: str
    start: int
    end: int | None


class Experiments:
    """Those of some shops, in a transaction that has the shops' locks."""

    def __init__(self, connection: Connection, shop_ids: Collection[int]) -> None:
        """What was started or stopped since the last time is counted with it."""
        self._connection = connection
        self._shop_ids = list(shop_ids)
        self._clients: dict[Visitor, str] = {}
        self._by_shop: defaultdict[int, list[Experiment]] = defaultdict(list)
        changed = []
        for *columns, is_new, has_changed in connection.execute(_READ.encode(), [self._shop_ids]):
            experiment = Experiment(*columns)
            self._by_shop[experiment.shop_id].append(experiment)
            if has_changed:
                changed.append((experiment, is_new))
        self._preferences: Mapping[int, Preferences] = {}
        if self._by_shop:
            self._preferences = read_preferences(connection, self._by_shop)
        for experiment, is_new in changed:
            self._catch_up(experiment, is_new=is_new)

    def has_any(self, shop_id: int) -> bool:
        return shop_id in self._by_shop

    def name(self, visitor: Visitor, client_id: str) -> None:
        """Tell a visitor's genlook_client_id, without which nobody new has an arm."""
        self._clients[visitor] = client_id

    def count(self, changed: Mapping[Visitor, Journey], *, only_grown: bool = False) -> None:
        """Visitors of any shops whose journeys are now these."""
        by_shop: defaultdict[int, dict[str, Journey]] = defaultdict(dict)
        for (shop_id, visitor), events in changed.items() if self._by_shop else ():
            if shop_id in self._by_shop:
                by_shop[shop_id][visitor] = events
        for shop_id, of_shop in by_shop.items():
            for experiment in self._by_shop[shop_id]:
                self._count(experiment, of_shop, only_grown)

    def recount(self) -> None:
        """All that is stored of these shops, whose journeys have just been made anew."""
        for shop_id in self._shop_ids:
            for table in ("experiment_visitors", "experiment_days", "experiment_groups"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE shop_id = %s".encode(), [shop_id]
                )
        for experiments in self._by_shop.values():
            for experiment in experiments:
                self._catch_up(experiment, is_new=True)

    def _catch_up(self, experiment: Experiment, *, is_new: bool) -> None:
        """With whoever did something since it began, or since the end that it has now."""
        since = experiment.start if is_new or experiment.end is None else experiment.end
        with self._connection.cursor(name="clients", binary=True) as cursor:
            cursor.execute(_CLIENTS.encode(), [experiment.shop_id, since])
            while rows := cursor.fetchmany(_AT_ONCE):
                some = {
                    (experiment.shop_id, visitor_key(client_id)): client_id for (client_id,) in rows
                }
                self._clients |= some
                for known in journeys.read(self._connection, some):
                    self._count(experiment, {visitor: kept for (_, visitor), kept in known})
                for visitor in some:
                    del self._clients[visitor]
        self._connection.execute(
            "UPDATE experiments SET counted_end = %s::timestamptz WHERE shop_id = %s AND id = %s",
            [
                "infinity" if experiment.end is None else _moment(experiment.end),
                experiment.shop_id,
                experiment.id,
            ],
        )

    def _count(
        self, experiment: Experiment, changed: Mapping[str, Journey], only_grown: bool = False
    ) -> None:
        if only_grown:
            changed = {v: events for v, events in changed.items() if _may_be_in(experiment, events)}
        if not changed:
            return
        before: dict[str, Part] = {
            visitor: Part(*columns)
            for visitor, *columns in self._connection.execute(
                _STORED, [experiment.shop_id, experiment.id, uuids(changed)], binary=True
            )
        }
        window = self._preferences[experiment.shop_id].window
        now: dict[str, Part] = {}
        for visitor, events in changed.items():
            arm = before[visitor].is_held_back if visitor in before else None
            if arm is None:
                client_id = self._clients.get((experiment.shop_id, visitor))
                arm = is_held_back(experiment.salt, experiment.share, client_id)
            if arm is not None:
                unpacked = journeys.unpack(events or b"")
                if part := part_of(unpacked, experiment, window, arm):
                    now[visitor] = part
        self._write(experiment, before, now)

    def _write(
        self, experiment: Experiment, before: Mapping[str, Part], now: Mapping[str, Part]
    ) -> None:
        changed = {visitor: part for visitor, part in now.items() if part != before.get(visitor)}
        gone = before.keys() - now.keys()
        key = [experiment.shop_id, experiment.id]
        if new := {visitor: part for visitor, part in changed.items() if visitor not in before}:
            self._connection.execute(_ADD.encode(), [*key, *_columns(new)])
        if known := {visitor: part for visitor, part in changed.items() if visitor in before}:
            self._connection.execute(_CHANGE.encode(), [*_columns(known), *key])
        if gone:
            self._connection.execute(
                "DELETE FROM experiment_visitors WHERE shop_id = %s AND experiment_id = %s"
                " AND visitor = ANY(%s::uuid[])",
                [*key, uuids(gone)],
            )
        taken = [before[visitor] for visitor in changed if visitor in before]
        taken += [before[visitor] for visitor in gone]
        add_up(self._connection, experiment.shop_id, experiment.id, changed.values(), taken)


def _columns(parts: Mapping[str, Part]) -> list[object]:
    arms, firsts, *rest = map(list, zip(*parts.values(), strict=True))
    return [uuids(parts), arms, [_moment(first) for first in firsts], *rest]


def _moment(microseconds: int) -> datetime:
    """Since 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def part_of(events: Sequence[Event], experiment: Experiment, window: int, arm: bool) -> Part | None:
    """Of a visitor with these events in the order of time; None where they are not in it. `window`
    in microseconds."""
    first: Event | None = None
    has_added = saw_widget = False
    for event in events:
        is_during = experiment.start <= event.at and (
            experiment.end is None or event.at < experiment.end
        )
        kind = in_experiment(event.kind)
        if first is None:
            if not is_during or kind != _PAGE:
                continue
            first = event
        has_added = has_added or (kind in CART_KINDS and event.at - first.at <= window)
        saw_widget = saw_widget or (kind in WIDGET_KINDS and is_during)
    if first is None:
        return None
    of_first = first.product, first.device, first.language
    return Part(arm, first.at, first.day, has_added, saw_widget, *of_first)


def forget(connection: Connection, visitors: Collection[Visitor]) -> None:
    """What is kept of single visitors; the days' sums stay."""
    for shop_id in {shop_id for shop_id, _ in visitors}:
        connection.execute(
            "DELETE FROM experiment_visitors WHERE shop_id = %s AND visitor = ANY(%s::uuid[])",
            [shop_id, uuids(visitor for shop, visitor in visitors if shop == shop_id)],
        )


def _may_be_in(experiment: Experiment, events: Journey) -> bool:
    """Or may have been in it: of a robot nothing is known."""
    if not events:
        return events is None
    latest = journeys.time_at(events, len(events) // journeys.SIZE - 1)
    return latest >= experiment.start and (
        experiment.end is None or journeys.time_at(events, 0) < experiment.end
    )


def find_running(connection: Connection, domain: str) -> Experiment | None:
    """The latest of a shop that has not ended; it may be yet to begin."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM experiments JOIN shops ON shops.id = shop_id WHERE domain = %s"
        " AND coalesce(ends_at, 'infinity') > now() ORDER BY experiments.id DESC LIMIT 1".encode(),
        [domain],
    ).fetchone()
    return Experiment(*row) if row else None
