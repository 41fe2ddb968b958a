"""The reports' numbers counted the plain way: SQL over what is stored, and nothing else.

Slow, and short enough to be believed. `flask report check` and the tests compare the page's numbers
with these. app.counts.visitor says what the numbers mean.
"""

from collections import defaultdict
from datetime import date, datetime
from itertools import pairwise
from operator import add
from typing import Any

from psycopg import Connection

from app.batch.arm import is_held_back
from app.counts import journeys
from app.counts.measures import CART_ADD, STEPS

_PAGE, _PHOTO, _GENERATION, _RESULT = 1, 3, 4, 5  # steps of the funnel, from 1
_CARTS = (STEPS[-1], CART_ADD)

# Not the engine's own (app.batch.visitor): whatever goes wrong there must be seen here.
_NOBODY = (
    '^[\\s\\u00a0\\ufeff]*"*[\\s\\u00a0\\ufeff]*(undefined|null|NaN|None|\\[object Object\\]'
    '|00000000-0000-0000-0000-000000000000)?[\\s\\u00a0\\ufeff]*"*[\\s\\u00a0\\ufeff]*$'
)
_STORED = """
    SELECT CASE WHEN b.client_id !~ %(nobody)s THEN b.client_id
            WHEN b.session_id !~ %(nobody)s THEN b.session_id END AS visitor,
        coalesce(b.device_class = 'bot', false)
            OR coalesce(b.context->'designMode', 'false') = 'true'
            OR coalesce(b.context->'webdriver', 'false') = 'true'
            OR coalesce(e.properties->'designMode', 'false') = 'true'
            OR coalesce(e.properties->'webdriver', 'false') = 'true'
            OR e.occurred_at < b.received_at - interval '1461 days' AS is_event_only,
        coalesce(b.context->'genlook_widget_enabled', 'true') = 'false' AS is_without_widget,
        b.client_id, e.event, e.occurred_at, e.occurred_at AS at, b.lib_version, b.product_id,
        regexp_replace(left(coalesce(nullif(b.product_id, ''), e.properties->>'product_id', ''),
            200), '^([0-9]{1,20})$', 'gid://shopify/Product/\\1') AS product
    FROM named_events e JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    JOIN shops s ON s.id = e.shop_id WHERE s.domain = %(shop)s"""
_TRACKED = """
    SELECT CASE WHEN visitor <> ALL(%(robots)s::text[]) AND NOT ({event_only}) THEN visitor END
            AS visitor,
        event, client_id, at, product, (at AT TIME ZONE %(zone)s)::date AS day,
        ((at - %(window)s) AT TIME ZONE %(zone)s)::date AS earliest
    FROM ({stored}) AS stored WHERE ({where})
    AND at >= %(first)s::timestamp AT TIME ZONE %(zone)s - {margin}
    AND at < (%(last)s + 1)::timestamp AT TIME ZONE %(zone)s + %(window)s + {margin}"""
_MARGIN = "interval '3 hours'"  # where clocks go back at midnight, it comes twice

# Of whole seconds, to three digits.
_MEDIAN = (
    "floor(percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN seconds < 1000 THEN seconds"
    " ELSE seconds - mod(seconds, (10 ^ (length(seconds::text) - 3))::bigint) END))::bigint"
)

# What a day shows of each visitor: whether they saw something before they added, the first result,
# and the first add that follows the product page and no result.
_DAYS = """
    WITH tracked AS MATERIALIZED ({tracked}),
    shown AS (
        SELECT *, event IN (%(page)s, %(result)s) AS is_seen, event = ANY(%(carts)s) AS is_add,
            at <= coalesce(%(began_by)s, 'infinity') AS is_in_time
        FROM tracked WHERE visitor IS NOT NULL
    ),
    days AS (
        SELECT visitor, day, min(at) FILTER (WHERE is_seen AND event = %(result)s AND is_in_time)
            AS tried_at
        FROM shown WHERE day BETWEEN %(first)s AND %(last)s GROUP BY visitor, day
        HAVING min(at) FILTER (WHERE is_seen AND is_in_time)
            <= coalesce(min(at) FILTER (WHERE is_add), 'infinity')
    ),
    decided AS (
        SELECT *, (
            SELECT min(added.at) FROM shown AS added, shown AS page
            WHERE added.visitor = days.visitor AND page.visitor = days.visitor AND added.is_add
            AND page.event = %(page)s AND page.day = days.day AND page.is_in_time
            AND added.at BETWEEN page.at AND page.at + %(window)s
            AND NOT EXISTS (
                SELECT FROM shown AS result WHERE result.visitor = days.visitor
                AND result.event = %(result)s AND result.at BETWEEN page.at AND added.at
            )
        ) AS untried_at FROM days
    ),
    classes AS (
        SELECT visitor, day, CASE WHEN tried_at <= coalesce(untried_at, 'infinity') THEN 'tried'
            WHEN untried_at IS NOT NULL THEN 'untried' END AS class
        FROM decided
    ),
    adds AS (
        SELECT classes.visitor, bool_or(result.product = added.product) AS is_same
        FROM classes JOIN shown AS result USING (visitor, day)
        JOIN shown AS added ON added.visitor = result.visitor AND added.is_add
            AND added.at BETWEEN result.at AND result.at + %(window)s
        WHERE class = 'tried' AND result.event = %(result)s AND result.is_in_time
        GROUP BY classes.visitor
    ),
    firsts AS (
        SELECT DISTINCT ON (visitor) visitor, class FROM classes
        ORDER BY visitor, class IS NULL, day
    )
    SELECT count(*) FILTER (WHERE class = 'tried'),
        count(*) FILTER (WHERE class = 'tried' AND is_same IS NOT NULL),
        count(*) FILTER (WHERE class = 'tried' AND is_same),
        count(*) FILTER (WHERE class IS DISTINCT FROM 'tried'),
        count(*) FILTER (WHERE class = 'untried')
    FROM firsts LEFT JOIN adds USING (visitor)"""


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
        began_by: datetime | None = None,
    ) -> None:
        """From `first` to `last`, both included; `where` is a condition on what is stored. What
        began after `began_by` is left out of the funnel and the comparison."""
        self._connection = connection
        parts = {"stored": _STORED, "where": where, "margin": _MARGIN}
        self._tracked = _TRACKED.format(event_only="is_event_only OR is_without_widget", **parts)
        self._with_held_back = _TRACKED.format(event_only="is_event_only", **parts)
        self._values = {
            "shop": shop,
            "zone": time_zone,
            "window": f"{window_hours} hours",
            "first": first,
            "last": last,
            "most": journeys.MOST_EVENTS,
            "nobody": _NOBODY,
            "began_by": began_by,
        }
        robots = self._all(
            f"SELECT visitor FROM ({_STORED}) AS stored WHERE visitor IS NOT NULL"
            " GROUP BY visitor HAVING count(*) > %(most)s"
        )
        self._values["robots"] = [visitor for (visitor,) in robots]

    def funnel(self) -> list[tuple[int, int | None]]:
        """For each step how many visitors, and the median of seconds from the step before."""
        return self.funnel_and_spans()[0]

    def funnel_and_spans(
        self,
    ) -> tuple[list[tuple[int, int | None]], list[tuple[list[int], int | None]]]:
        """Also from the product page to the cart, and from the button to the result: how many
        visitors took less than 10 s, 10 s to half a minute and so on, and the median of seconds."""

        def of_firsts(what: str, seconds: str) -> str:
            # The first day of each visitor with such a time.
            return (
                f"(SELECT {what} FROM (SELECT DISTINCT ON (visitor) {seconds} AS seconds"
                f" FROM attempts WHERE {seconds} IS NOT NULL ORDER BY visitor, began) AS firsts)"
            )

        columns = ["count(DISTINCT visitor) FILTER (WHERE f1 IS NOT NULL)", "NULL"]
        for step in range(2, len(STEPS) + 1):
            columns += [
                f"count(DISTINCT visitor) FILTER (WHERE f{step} IS NOT NULL)",
                of_firsts(_MEDIAN, f"nullif(f{step}[3], -1) / 1000000"),
            ]
        bounds = [-1, 10, 30, 60, 120, 300, 900, 3_600, 21_600, 2**31]
        classes = ", ".join(
            f"count(*) FILTER (WHERE seconds >= {low} AND seconds < {high})"
            for low, high in pairwise(bounds)
        )
        for step in (len(STEPS), _RESULT):
            seconds = f"f{step}[4] / 1000000"
            columns += [of_firsts(f"ARRAY[{classes}]", seconds), of_firsts(_MEDIAN, seconds)]
        row = self._one(
            f"WITH attempts AS MATERIALIZED ({self._attempts()})"
            f" SELECT {', '.join(columns)} FROM attempts"
        )
        found = list(zip(row[::2], row[1::2], strict=True))
        return found[: len(STEPS)], found[len(STEPS) :]

    def uplift(self) -> tuple[int, ...]:
        """Who tried, of them who added, and who added what they had tried; who did not try, and of
        them who added."""
        query = _DAYS.format(tracked=self._tracked)
        return self._one(query, page=STEPS[0], result=STEPS[4], carts=list(_CARTS))

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
            f"WITH tracked AS MATERIALIZED ({self._with_held_back}), seen AS (SELECT visitor,"
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

    def _attempts(self) -> str:
        """A visitor's attempts of one day: for each step f1, f2 … when it was first reached (µs),
        whether by a photo that was kept, the time since the step before (-1: none), and of the last
        step that since the attempt began, of others that since its first click.

        Each event takes part in the attempts that may have begun on its day or, within the window,
        on a day before. b1, b2 … is the latest beginning of an attempt that has come so far, and
        when it did, negative, so that the first counts; -1 if by a photo that was kept; and when it
        first came to the button.
        """
        cases = " ".join(f"WHEN {name!r} THEN {step}" for step, name in enumerate(STEPS, 1))
        window = "(extract(epoch FROM %(window)s) * 1000000)::bigint"
        query = (
            "SELECT visitor, us, step, is_kept, began FROM (SELECT *,"
            f" (extract(epoch FROM at) * 1000000)::bigint AS us, CASE event {cases} END AS own"
            f" FROM ({self._tracked}) AS tracked) AS tracked,"
            # A generation stands for a photo that was kept, too.
            f" LATERAL (SELECT own AS step, 0 AS is_kept UNION ALL SELECT {_PHOTO}, 1"
            f" WHERE own = {_GENERATION}) AS steps,"
            " LATERAL (SELECT day - back AS began"
            f" FROM generate_series(0, CASE step WHEN {_PAGE} THEN 0 ELSE day - earliest END)"
            " AS back) AS days WHERE step IS NOT NULL AND visitor IS NOT NULL"
            f" AND (step > {_PAGE} OR at <= coalesce(%(began_by)s, 'infinity'))"
            " AND began BETWEEN %(first)s AND %(last)s"
        )
        for number in range(1, len(STEPS) + 1):
            reached = f"step = {number}"
            beginning, since, click = "us", "-1", "us"
            if number > 1:
                reached += f" AND us - b{number - 1}[1] <= {window}"
                beginning = f"b{number - 1}[1]"
                since = (
                    f"CASE WHEN is_kept = 0 AND b{number - 1}[3] = 0"
                    f" THEN us + b{number - 1}[2] ELSE -1 END"
                )
            if number > 2:
                click = f"b{number - 1}[4]"
            start = beginning if number == len(STEPS) else click
            query = (
                f"SELECT *, max(CASE WHEN {reached}"
                f" THEN ARRAY[{beginning}, -us, -is_kept, {click}] END)"
                " OVER (PARTITION BY visitor, began ORDER BY us, step, is_kept"
                f" ROWS UNBOUNDED PRECEDING) AS b{number},"
                f" CASE WHEN {reached}"
                f" THEN ARRAY[us, is_kept, {since}, us - {start}] END AS a{number}"
                f" FROM ({query}) AS level{number}"
            )
        firsts = ", ".join(f"min(a{number}) AS f{number}" for number in range(1, len(STEPS) + 1))
        return (
            f"SELECT visitor, began, {firsts} FROM ({query}) AS events"
            " GROUP BY visitor, began HAVING min(a1) IS NOT NULL"
        )

    def _one(self, query: str, **values: object) -> tuple[Any, ...]:
        return self._all(query, **values)[0]

    def _all(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        casts = {"%(window)s": "%(window)s::interval", "%(began_by)s": "%(began_by)s::timestamptz"}
        for name, cast in casts.items():
            query = query.replace(name, cast)
        return self._connection.execute(query.encode(), self._values | values).fetchall()
