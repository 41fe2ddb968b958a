"""The reports' numbers counted the plain way: SQL over `tracked_events`, and nothing else.

Slow, and short enough to be believed. `flask report check` and the tests compare the page's numbers
with these.
"""

from collections import defaultdict
from datetime import date, datetime
from operator import add
from typing import Any

from psycopg import Connection

from app.batch.arm import is_held_back
from app.counts import journeys
from app.counts.measures import CART_ADD, STEPS

_CARTS = (STEPS[-1], CART_ADD)

_TRACKED = """
    SELECT CASE WHEN {visitor} <> ALL(%(robots)s::text[])
            AND occurred_at >= received_at - interval '1461 days' THEN {visitor} END AS visitor,
        event, client_id,
        occurred_at AS at, (occurred_at AT TIME ZONE %(zone)s)::date AS day,
        ((occurred_at - %(window)s) AT TIME ZONE %(zone)s)::date AS earliest
    FROM tracked_events WHERE shop_domain = %(shop)s AND ({where})
    AND occurred_at >= %(first)s::timestamp AT TIME ZONE %(zone)s - {margin}
    AND occurred_at < (%(last)s + 1)::timestamp AT TIME ZONE %(zone)s + %(window)s + {margin}"""
# Not the engine's own (dimensions.VISITOR): whatever goes wrong there must be seen here.
_VISITOR = "coalesce(nullif(client_id, ''), nullif(session_id, ''))"
_MARGIN = "interval '3 hours'"  # where clocks go back at midnight, it comes twice


class Plain:
    def __init__(
        self,
        connection: Connection,
        *,
        shop: str,
        time_zone: str,
        window_hours: int,
        first: date,
        last: date,
        where: str = "true",
    ) -> None:
        """From `first` to `last`, both included; `where` is a condition on tracked_events."""
        self._connection = connection
        self._tracked = _TRACKED.format(where=where, visitor=_VISITOR, margin=_MARGIN)
        self._values = {
            "shop": shop,
            "zone": time_zone,
            "window": f"{window_hours} hours",
            "first": first,
            "last": last,
            "most": journeys.MOST_EVENTS,
        }
        robots = self._all(
            f"SELECT {_VISITOR} AS visitor FROM tracked_events WHERE shop_domain = %(shop)s"
            f" AND {_VISITOR} IS NOT NULL GROUP BY visitor HAVING count(*) > %(most)s"
        )
        self._values["robots"] = [visitor for (visitor,) in robots]

    def funnel(self) -> list[tuple[int, int | None]]:
        """For each step how many visitors, and the median of seconds from the step before."""
        chain = self._attempts([(step,) for step in STEPS])
        columns = ["count(DISTINCT visitor) FILTER (WHERE t1 IS NOT NULL)", "NULL"]
        for step in range(2, len(STEPS) + 1):
            seconds = f"floor(extract(epoch FROM t{step} - t{step - 1}))::bigint"
            columns += [
                f"count(DISTINCT visitor) FILTER (WHERE t{step} IS NOT NULL)",
                # The first day of each visitor on which they got so far, to three digits.
                "(SELECT floor(percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN seconds < 1000"
                " THEN seconds ELSE seconds - mod(seconds,"
                " (10 ^ (length(seconds::text) - 3))::bigint)"
                " END))::bigint"
                f" FROM (SELECT DISTINCT ON (visitor) {seconds} AS seconds FROM attempts"
                f" WHERE t{step} IS NOT NULL ORDER BY visitor, began) AS firsts)",
            ]
        row = self._one(
            f"WITH attempts AS MATERIALIZED ({chain}) SELECT {', '.join(columns)} FROM attempts"
        )
        return list(zip(row[::2], row[1::2], strict=True))

    def uplift(self) -> tuple[int, int, int, int]:
        """Who saw a result, and added to the cart; who saw the page and no result, and added."""
        row = self._one(
            f"WITH saw AS MATERIALIZED ({self._attempts([(STEPS[4],), _CARTS])}),"
            f" page AS MATERIALIZED ({self._attempts([(STEPS[0],), _CARTS])}),"
            " others AS (SELECT * FROM page WHERE visitor NOT IN (SELECT visitor FROM saw))"
            " SELECT (SELECT count(DISTINCT visitor) FROM saw),"
            " (SELECT count(DISTINCT visitor) FROM saw WHERE t2 IS NOT NULL),"
            " (SELECT count(DISTINCT visitor) FROM others),"
            " (SELECT count(DISTINCT visitor) FROM others WHERE t2 IS NOT NULL)"
        )
        return row[0], row[1], row[2], row[3]

    def visitors(self, *names: str) -> int:
        """How many different visitors did one of the events, or any event."""
        condition = "event = ANY(%(names)s)" if names else "true"
        row = self._one(
            f"SELECT count(DISTINCT visitor) FROM ({self._tracked}) AS tracked"
            f" WHERE day BETWEEN %(first)s AND %(last)s AND {condition}",
            names=list(names),
        )
        return int(row[0])

    def days(self) -> list[tuple[date, int, int]]:
        """Each day's events and visitors, days without any left out."""
        return self._all(
            "SELECT day, count(*), count(DISTINCT visitor) FROM"
            f" ({self._tracked}) AS tracked WHERE day BETWEEN %(first)s AND %(last)s"
            " GROUP BY day ORDER BY day"
        )

    def experiment(
        self, salt: str, share: int, start: datetime, end: datetime | None, now: datetime
    ) -> list[tuple[int, bool, int, int, int, int]]:
        """By day and arm: visitors, those who are still within their window, of the others those
        who added, and of all those with events of the widget during the experiment."""
        during = "at >= %(start)s AND at < coalesce(%(end)s, 'infinity'::timestamptz)"
        visitors = self._all(
            f"WITH tracked AS MATERIALIZED ({self._tracked}), seen AS (SELECT visitor,"
            f" min(at) AS first FROM tracked WHERE event = '{STEPS[0]}' AND {during}"
            " AND visitor IN (SELECT visitor FROM tracked WHERE visitor = client_id)"
            " GROUP BY visitor)"
            " SELECT visitor, (first AT TIME ZONE %(zone)s)::date - date '1970-01-01',"
            " first + %(window)s > %(now)s, EXISTS (SELECT FROM tracked AS t WHERE event = ANY"
            "  (%(carts)s) AND t.visitor = seen.visitor"
            "  AND at BETWEEN first AND first + %(window)s),"
            " EXISTS (SELECT FROM tracked AS t WHERE event LIKE 'widget:%%'"
            f"  AND t.visitor = seen.visitor AND at >= first AND {during})"
            " FROM seen WHERE visitor IS NOT NULL",
            start=start, end=end, now=now, carts=list(_CARTS),
        )  # fmt: skip
        sums: defaultdict[tuple[int, bool], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for visitor, day, waits, added, saw in visitors:
            arm = is_held_back(salt, share, visitor)
            if arm is not None:
                parts = (1, waits, added and not waits, saw)
                sums[day, arm] = list(map(add, sums[day, arm], parts))
        return [(*key, *numbers) for key, numbers in sorted(sums.items())]  # type: ignore[misc]

    def _attempts(self, steps: list[tuple[str, ...]]) -> str:
        """A visitor's attempts of one day, with the times t1, t2 … at which each step was reached.

        Each event takes part in the attempts that may have begun on its day or, within the window,
        on a day before. b1, b2 … is the latest beginning of an attempt that has come so far.
        """
        cases = " ".join(
            f"WHEN event IN ({', '.join(map(repr, names))}) THEN {number}"
            for number, names in enumerate(steps, 1)
        )
        query = (
            "SELECT visitor, at, step, began FROM"
            f" (SELECT *, CASE {cases} END AS step FROM ({self._tracked}) AS tracked) AS tracked,"
            " LATERAL (SELECT day - back AS began"
            " FROM generate_series(0, CASE step WHEN 1 THEN 0 ELSE day - earliest END) AS back)"
            " AS days WHERE step IS NOT NULL AND visitor IS NOT NULL"
            " AND began BETWEEN %(first)s AND %(last)s"
        )
        for number in range(1, len(steps) + 1):
            beginning = f"CASE WHEN step = {number} THEN at END"
            if number > 1:
                beginning = (
                    f"CASE WHEN step = {number} AND at - b{number - 1} <= %(window)s"
                    f" THEN b{number - 1} END"
                )
            query = (
                f"SELECT *, max({beginning}) OVER (PARTITION BY visitor, began ORDER BY at, step"
                f" ROWS UNBOUNDED PRECEDING) AS b{number},"
                f" CASE WHEN {beginning} IS NOT NULL THEN at END AS a{number}"
                f" FROM ({query}) AS level{number}"
            )
        times = ", ".join(f"min(a{number}) AS t{number}" for number in range(1, len(steps) + 1))
        return (
            f"SELECT visitor, began, {times} FROM ({query}) AS events"
            " GROUP BY visitor, began HAVING min(a1) IS NOT NULL"
        )

    def _one(self, query: str, **values: object) -> tuple[Any, ...]:
        return self._all(query, **values)[0]

    def _all(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        statement = query.replace("%(window)s", "%(window)s::interval").encode()
        return self._connection.execute(statement, self._values | values).fetchall()
