"""The report's tables and the raw events, as streams of CSV or NDJSON."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from psycopg import Connection

from app.batch.json import dump_json
from app.counts.period import Period, Shop

Row = Sequence[object]
COLUMNS = (
    "shop_domain", "event", "occurred_at", "received_at", "sent_timestamp", "insert_id",
    "client_id", "session_id", "pageview_id", "product_id", "variant_id", "customer_id",
    "lib_version", "current_url", "properties", "extra", "context",
)  # fmt: skip
_AT_ONCE = 2_000  # rows

_BOM = "\ufeff"  # by it Excel knows UTF-8
# Where a cell begins, also for a spreadsheet that separates at ; or tabs and so does not see our
# quotes: what it would run as a formula.
_FORMULA = re.compile(r"(^|[;\t\r\n])([\s\"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
# What it would change by reading it as a number or a date: long ids, leading zeros, 1e5, 2.10, 3/4.
_NUMBER = re.compile(r"\d{12,}|0\d+|\d+[.,/:eE+-][\d.,/:eE+-]*", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")  # in the name of a file
_MOST_OF_NAME = 60  # characters
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _funnel(report: dict[str, Any]) -> Iterator[Row]:
    columns = ("step", "event", "name", "visitors", "before", "over", "of_first", "of_previous",
               "dropped", "median_seconds_to_next")  # fmt: skip
    yield columns
    for step in report["funnel"]:
        yield [step[column] for column in columns]


def _times(report: dict[str, Any]) -> Iterator[Row]:
    yield "span", "name", "from_seconds", "to_seconds", "visitors", "share", "median_seconds"
    for time in report["times"]:
        for one in time["classes"]:
            yield time["span"], time["name"], *one.values(), time["median_seconds"]


def _uplift(report: dict[str, Any]) -> Iterator[Row]:
    uplift = report["uplift"]
    yield "group", "visitors", "added", "added_same", "rate"
    for group in ("tried", "others"):
        columns = ("visitors", "added", "added_same", "rate")
        yield group, *(uplift[group].get(column) for column in columns)
    yield "waiting", uplift["waiting"], None, None, None
    for name in ("difference", "low", "high"):
        yield name, None, None, None, uplift[name]
    yield uplift["caveat"], None, None, None, None


def _side_steps(report: dict[str, Any]) -> Iterator[Row]:
    yield "event", "name", "visitors", "before"
    for step in report["side_steps"]:
        yield step["event"], step["name"], step["visitors"], step["before"]


def _days(report: dict[str, Any]) -> Iterator[Row]:
    columns = ("day", "events", "visitors", "rate")
    yield *columns, *(f"{column}_before" for column in columns)
    for day in report["days"]:
        yield (
            *(day[column] for column in columns),
            *(day["before"][column] for column in columns),
        )


def _hours(report: dict[str, Any]) -> Iterator[Row]:
    columns = ("hour", "events", "before")
    yield columns
    for hour in report["hours"]:
        yield [hour[column] for column in columns]


def _breakdown(report: dict[str, Any]) -> Iterator[Row]:
    breakdown = report["breakdown"]
    steps = (step["name"] for step in report["funnel"])
    yield breakdown["by"], "visitors", *steps, "rate", "title"
    for group in breakdown["groups"]:
        yield group["value"], group["visitors"], *group["steps"], group["rate"], group["title"]
    if folded := breakdown["folded"]:
        yield f"{folded['groups']} more", folded["visitors"], *folded["steps"], None, None


def _comparison(report: dict[str, Any]) -> Iterator[Row]:
    return _compared(report["breakdown"], "comparison", ("tried", "others"))


def _experiment(report: dict[str, Any]) -> Iterator[Row]:
    return _compared(report["breakdown"], "experiment", ("widget", "holdout"))


def _compared(breakdown: dict[str, Any], shown: str, sides: tuple[str, str]) -> Iterator[Row]:
    columns = ("visitors", "added", "rate")
    named = (f"{column}_{side}" for side in sides for column in columns)
    yield breakdown["by"], *named, "difference", "low", "high", "title"
    for group in breakdown[shown]["groups"]:
        numbers = (group[side][column] for side in sides for column in columns)
        yield (
            group["value"],
            *numbers,
            *(group[one] for one in ("difference", "low", "high", "title")),
        )


TABLES: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "funnel": _funnel,
    "times": _times,
    "uplift": _uplift,
    "side_steps": _side_steps,
    "days": _days,
    "hours": _hours,
    "breakdown": _breakdown,
    "comparison": _comparison,
    "experiment": _experiment,
}
OF_ALL_GROUPS = ("breakdown", "comparison", "experiment")


def name_of(only: dict[str, Any] | None) -> str:
    """What a file's name says of a report's filter."""
    if only is None:
        return ""
    value = only["value"].removeprefix("gid://shopify/Product/")
    return f"-{only['by']}-{_UNSAFE.sub('-', value)[:_MOST_OF_NAME].strip('-') or 'none'}"


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """For spreadsheets: each text in quotes, and safe wherever it is opened."""
    buffer = io.StringIO()
    buffer.write(_BOM)
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC)
    for row in rows:
        writer.writerow([_harmless(value) for value in row])
        if buffer.tell() > 32_000:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def as_ndjson(rows: Iterable[Row]) -> Iterator[bytes]:
    lines: list[bytes] = []
    columns: Row | None = None
    for row in rows:
        if columns is None:
            columns = row
            continue
        fields = {str(name): value for name, value in zip(columns, row, strict=True)}
        lines.append(dump_json(fields) + b"\n")
        if len(lines) == 100:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def raw_events(connection: Connection, shop: Shop, period: Period) -> Iterator[Row]:
    """The columns' names, then every event of the days in the shop's time zone, oldest first."""
    yield COLUMNS
    # Each event's batch by its key: reading all batches first would keep the caller waiting.
    connection.execute("SET LOCAL enable_hashjoin = off")
    connection.execute("SET LOCAL enable_mergejoin = off")
    for number in range((period.last - period.first).days + 1):
        with connection.cursor(name="events") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(
                f"SELECT {', '.join(COLUMNS)} FROM tracked_events WHERE shop_domain = %(shop)s"
                # The bounds are for the index: a midnight may come twice where clocks go back.
                " AND occurred_at >= %(day)s::timestamp AT TIME ZONE %(zone)s - interval '3 hours'"
                " AND occurred_at < (%(day)s + 1)::timestamp AT TIME ZONE %(zone)s"
                " AND (occurred_at AT TIME ZONE %(zone)s)::date = %(day)s"
                " ORDER BY occurred_at".encode(),
                {
                    "shop": shop.domain,
                    "zone": shop.time_zone,
                    "day": period.first + timedelta(days=number),
                },
            )
            yield from cursor


def _harmless(value: object) -> object:
    """A spreadsheet must not run what a shopper sent as a formula, nor change it.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    if isinstance(value, dict):
        value = dump_json(value).decode()
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value) and not _DAY.fullmatch(value):
        return f"'{value}"
    return _FORMULA.sub(r"\1'\2", value)
