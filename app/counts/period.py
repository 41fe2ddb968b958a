"""Which shop and which days a report is about."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from psycopg import Connection

LONGEST = 400  # days
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Shop:
    id: int
    domain: str
    time_zone: str = "UTC"
    window_hours: int = 24
    today: date = field(default_factory=lambda: datetime.now(UTC).date())  # in its time zone


@dataclass(frozen=True)
class Period:
    """Days, both included."""

    first: date
    last: date

    @property
    def before(self) -> "Period":
        length = self.last - self.first + timedelta(days=1)
        return Period(self.first - length, self.last - length)

    @property
    def bounds(self) -> tuple[int, int]:
        """Numbers of the first day, and of the day after the last."""
        return (self.first - EPOCH).days, (self.last - EPOCH).days + 1


def find_shop(connection: Connection, domain: str) -> Shop | None:
    """None where it has never sent anything."""
    row = connection.execute(
        "SELECT shops.id, domain, coalesce(time_zone, 'UTC'), coalesce(window_hours, 24),"
        " (now() AT TIME ZONE coalesce(time_zone, 'UTC'))::date"
        " FROM shops LEFT JOIN report_shops ON shop_id = shops.id WHERE domain = %s",
        [domain],
    ).fetchone()
    return Shop(*row) if row else None
