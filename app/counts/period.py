"""Which shop and which days a report is about."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from psycopg import Connection

LONGEST = 400  # days
DEFAULT_WINDOW = 24  # hours; and the column's default
EPOCH = date(1970, 1, 1)
_HOUR = 60 * 60 * 1_000_000  # µs


@dataclass(frozen=True)
class Shop:
    id: int
    domain: str
    time_zone: str = "UTC"
    window_hours: int = DEFAULT_WINDOW
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    today: date = field(default_factory=lambda: datetime.now(UTC).date())  # in its time zone

    @property
    def began_by(self) -> datetime:
        """Whatever began by then has had its window."""
        return self.now - timedelta(hours=self.window_hours)


@dataclass(frozen=True)
class Period:
    """Days, both included."""

    first: date
    last: date

    @property
    def length(self) -> timedelta:
        return self.last - self.first + timedelta(days=1)

    def before(self, today: date) -> "Period":
        """As many days before; of a range with today in it, those up to today."""
        last = today if self.has(today) else self.last
        return Period(self.first - self.length, last - self.length)

    def has(self, day: date) -> bool:
        return self.first <= day <= self.last

    @property
    def bounds(self) -> tuple[int, int]:
        """Numbers of the first day, and of the day after the last."""
        return (self.first - EPOCH).days, (self.last - EPOCH).days + 1


def find_shop(connection: Connection, domain: str) -> Shop | None:
    """None where it has never sent anything."""
    row = connection.execute(
        "SELECT shops.id, domain, coalesce(time_zone, 'UTC'), coalesce(window_hours, %s), now(),"
        " (now() AT TIME ZONE coalesce(time_zone, 'UTC'))::date"
        " FROM shops LEFT JOIN report_shops ON shop_id = shops.id WHERE domain = %s",
        [DEFAULT_WINDOW, domain],
    ).fetchone()
    return Shop(*row) if row else None


@dataclass(frozen=True)
class Preferences:
    """What a shop has chosen for its reports."""

    time_zone: str = "UTC"
    window: int = DEFAULT_WINDOW * _HOUR  # how long an attempt may take, in microseconds


def read_preferences(
    connection: Connection, shop_ids: Collection[int]
) -> defaultdict[int, Preferences]:
    """By shop."""
    found: defaultdict[int, Preferences] = defaultdict(Preferences)
    for shop_id, time_zone, hours in connection.execute(
        "SELECT shop_id, time_zone, window_hours FROM report_shops WHERE shop_id = ANY(%s)",
        [list(shop_ids)],
    ):
        found[shop_id] = Preferences(time_zone, hours * _HOUR)
    return found
