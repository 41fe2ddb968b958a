"""On which day of a shop's time zone something happened, as Postgres has it."""

from collections.abc import Collection

from psycopg import Connection

from app.counts.arrays import integers

DAY = 86_400_000_000  # µs
_QUARTER = 900  # s; most days begin on a quarter of an hour
_MOST_KNOWN = 50_000  # quarters that are remembered

_DAYS = """
    SELECT second, (to_timestamp(second) AT TIME ZONE %s)::date - date '1970-01-01'
    FROM unnest(%s::bigint[]) AS second"""

_known: dict[tuple[str, int], int | None] = {}  # a quarter's day; None where it has two


def days(connection: Connection, time_zone: str, moments: Collection[int]) -> dict[int, int]:
    """The day of each moment; both are counted from the beginning of 1970, in days and in
    microseconds."""
    if time_zone == "UTC":
        return {at: at // DAY for at in moments}
    quarter_of = {at: at // 1_000_000 // _QUARTER for at in moments}
    known = _learn(connection, time_zone, set(quarter_of.values()))
    exact = {at: at // 1_000_000 for at, quarter in quarter_of.items() if known[quarter] is None}
    of_seconds = _ask(connection, time_zone, set(exact.values()))
    return {
        at: of_seconds[exact[at]] if (day := known[quarter]) is None else day
        for at, quarter in quarter_of.items()
    }


def _learn(
    connection: Connection, time_zone: str, quarters: Collection[int]
) -> dict[int, int | None]:
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    unknown = [quarter for quarter in quarters if (time_zone, quarter) not in _known]
    ends = {quarter: (_QUARTER * quarter, _QUARTER * (quarter + 1) - 1) for quarter in unknown}
    day_of = _ask(connection, time_zone, [second for both in ends.values() for second in both])
    learnt = {
        quarter: day_of[first] if day_of[first] == day_of[last] else None
        for quarter, (first, last) in ends.items()
    }
    _known.update({(time_zone, quarter): day for quarter, day in learnt.items()})
    return {
        quarter: learnt[quarter] if quarter in learnt else _known[time_zone, quarter]
        for quarter in quarters
    }


def _ask(connection: Connection, time_zone: str, seconds: Collection[int]) -> dict[int, int]:
    if not seconds:
        return {}
    return dict(connection.execute(_DAYS.encode(), [time_zone, integers(seconds)]).fetchall())
