"""A believable year of a shop: visitors, products, seasons. The same seed makes the same year."""

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import cos, pi, prod
from typing import NamedTuple

import orjson
from psycopg import Connection

from app.batch.arm import is_held_back
from app.batch.batch import Batch, Context, Event
from app.counts.rollups import count_new
from app.store.writer import Writer
from app.tracking.user_agent import device

DAYS = 365
EVENTS_PER_VISIT = 2.7  # on average, as `_visit` draws them
BATCHES_AT_ONCE = 2_000
_RETURN_AFTER = 4  # days, on average

PRODUCTS = (
    "Linen shirt", "Denim jacket", "Wool coat", "Summer dress", "Chinos", "Silk scarf",
    "Knitted vest", "Trench coat", "Polo shirt", "Pleated skirt", "Rain jacket", "Blazer",
)  # fmt: skip
_FIRST_PRODUCT = 1001
_AGENTS = {
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1": 46,
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/138.0.0.0 Mobile Safari/537.36": 24,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/138.0.0.0 Safari/537.36": 18,
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Safari/605.1.15": 8,
    "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.7 Safari/604.1": 4,
}
_LANGUAGES = {"en-US": 52, "en-GB": 14, "de-DE": 11, "fr-FR": 9, "es-ES": 6, "it-IT": 4, "ja-JP": 4}
_VERSIONS = ((0, "2.0.4"), (90, "2.1.0"), (200, "2.2.1"), (310, "2.3.0"))  # from which day on
# What follows in the widget: with which probability, and after how many seconds in the middle.
_WIDGET = (
    ("widget:image_upload", 0.72, 25),
    ("widget:generation_start", 0.96, 4),
    ("widget:result_view", 0.97, 14),
    ("widget:add_to_cart_clicked", 0.31, 35),
    ("widget:add_to_cart_success", 0.94, 2),
)
_AFTER_RESULT = (
    ("widget:share_clicked", 0.07), ("widget:download_clicked", 0.11),
    ("widget:email_collected", 0.05),
)  # fmt: skip
_OPENED = 0.24  # with which probability the widget is opened
_CART_ADD = 0.055  # with which a page without it is left for the cart


class Trial(NamedTuple):
    """An experiment in the year: of those held back, who adds to a cart does so on the page."""

    salt: str
    share: int  # percent held back
    start: datetime
    end: datetime | None
    cart_add: float  # with which probability, of those held back

    def is_during(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


def trials(until: datetime) -> tuple[Trial, Trial]:
    """One without an effect, as many add without the widget; and one with, which still runs."""
    in_widget = prod(probability for _, probability, _ in _WIDGET)
    as_many = _OPENED * in_widget + (1 - _OPENED) * _CART_ADD
    return (
        Trial(
            "demo-without", 40, until - timedelta(days=200), until - timedelta(days=110), as_many
        ),
        Trial("demo-with", 40, until - timedelta(days=100), None, 0.035),
    )


class Seed:
    """`number` makes another year."""

    def __init__(
        self,
        shop: str,
        *,
        until: datetime,
        products: int = len(PRODUCTS),
        number: int = 20,
        trials: Sequence[Trial] = (),
    ) -> None:
        self._trials = trials
        self._shop = shop
        self._first = (until - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0)
        self._until = until
        self._products = [
            f"gid://shopify/Product/{_FIRST_PRODUCT + number}" for number in range(products)
        ]
        self._weights = [1 / (number + 2) for number in range(products)]
        self._seed = number
        self._random = random.Random(number)  # noqa: S311 - the same year each time
        self._visitors: list[tuple[str, str, str]] = []
        self._visits_per_day = 1.0
        self._number = 0

    def batches(self, events: int, *, days: int = DAYS) -> Iterator[Batch]:
        """About so many events, over the last `days` of the year, in the order of their visits."""
        self._visits_per_day = events / EVENTS_PER_VISIT / days
        weights = [self._weight(day) for day in range(DAYS - days, DAYS)]
        for day, weight in enumerate(weights, DAYS - days):
            visits = events / EVENTS_PER_VISIT * weight / sum(weights)
            whole = int(visits) + (self._random.random() < visits % 1)
            for begun in sorted(self._moment(day) for _ in range(whole)):
                yield from self._visit(day, begun)

    def _weight(self, day: int) -> float:
        date = self._first + timedelta(days=day)
        season = 1 + 0.5 * (date.month in (11, 12)) - 0.2 * cos(2 * pi * day / DAYS)
        growth = 0.6 + 0.8 * day / DAYS
        chance = self._random.lognormvariate(0, 0.12)
        return season * growth * (1.25 if date.weekday() > 4 else 1) * chance

    def _moment(self, day: int) -> datetime:
        hour = self._random.triangular(0, 24, 20)
        return self._first + timedelta(days=day, seconds=int(hour * 3600))

    def _visitor(self) -> tuple[str, str, str]:
        draw = self._random
        if self._visitors and draw.random() < 0.3:
            back = int(draw.expovariate(1 / _RETURN_AFTER) * self._visits_per_day)
            return self._visitors[-1 - back % len(self._visitors)]
        client = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        agent = draw.choices(list(_AGENTS), list(_AGENTS.values()))[0]
        language = draw.choices(list(_LANGUAGES), list(_LANGUAGES.values()))[0]
        self._visitors.append((client, agent, language))
        if len(self._visitors) > 60 * self._visits_per_day + 1000:
            del self._visitors[: len(self._visitors) // 2]
        return self._visitors[-1]

    def _visit(self, day: int, at: datetime) -> Iterator[Batch]:
        draw = self._random
        client, agent, language = self._visitor()
        session = f"s{draw.getrandbits(64):016x}"
        version = next(name for since, name in reversed(_VERSIONS) if day >= since)
        for product in draw.choices(self._products, self._weights, k=1 + (draw.random() < 0.4)):
            events = self._on_product_page(at, self._without_widget(client, at))
            at = events[-1][1] + timedelta(seconds=draw.uniform(5, 60))
            if at > self._until:
                return
            context = {"$raw_user_agent": agent, "$browser_language": language}
            number = product.rpartition("/")[2]
            yield Batch.build(
                shop=self._shop,
                customer_id=None,
                received_at=at,
                context=Context(
                    {
                        "client_id": client,
                        "session_id": session,
                        "product_id": product,
                        "lib_version": version,
                        "current_url": f"https://{self._shop}/products/{number}",
                        **device(agent),
                    },
                    orjson.dumps(context),
                ),
                events=[self._event(name, moment, int(number)) for name, moment in events],
                rejected=[],
            )

    def _without_widget(self, client: str, at: datetime) -> float | None:
        """The probability with which who is held back adds to the cart. None: they are not."""
        for trial in self._trials:
            if trial.is_during(at) and is_held_back(trial.salt, trial.share, client):
                return trial.cart_add
        return None

    def _on_product_page(
        self, at: datetime, without_widget: float | None
    ) -> list[tuple[str, datetime]]:
        draw = self._random
        events = [("product_page:page_view", at)]

        def then(name: str, seconds: float) -> None:
            pause = timedelta(seconds=draw.lognormvariate(0, 0.8) * seconds)
            events.append((name, events[-1][1] + pause))

        if without_widget is not None:
            if draw.random() < without_widget:
                then("product_page:cart_add", 50)
        elif draw.random() < _OPENED:
            then("widget:button_click", 18)
            for name, probability, seconds in _WIDGET:
                if draw.random() > probability:
                    break
                then(name, seconds)
                if name == "widget:result_view":
                    for side, chance in _AFTER_RESULT:
                        if draw.random() < chance:
                            then(side, 12)
        elif draw.random() < _CART_ADD:
            then("product_page:cart_add", 50)
        return events

    def _event(self, name: str, at: datetime, product: int) -> Event:
        self._number += 1
        number = product - _FIRST_PRODUCT
        properties = b"{}"
        if name == "product_page:page_view" and number < len(PRODUCTS):
            properties = orjson.dumps({"product_title": PRODUCTS[number]})
        return Event(name, f"seed-{self._seed}-{self._number}", at, properties, b"{}")


def seed(connection: Connection, shop: str, events: int, progress: Callable[[int], object]) -> int:
    """Store about so many events of the last year and its experiments, all or none; returns how
    many, 0 where the shop has its year already. `progress` is called with the number of events that
    have come along."""
    if connection.execute(
        "SELECT 1 FROM events JOIN shops ON shops.id = shop_id"
        " WHERE domain = %s AND insert_id LIKE 'seed-%%' LIMIT 1",
        [shop],
    ).fetchone():
        return 0
    writer = Writer(statement_timeout=60_000)
    now = datetime.now(UTC)
    both = trials(now)
    year = Seed(shop, until=now, trials=both).batches(events)
    stored = 0
    with connection.transaction():
        connection.execute("INSERT INTO shops (domain) VALUES (%s) ON CONFLICT DO NOTHING", [shop])
        for trial in both:
            connection.execute(
                "INSERT INTO experiments (shop_id, share, salt, starts_at, ends_at)"
                " SELECT id, %s, %s, %s, %s FROM shops WHERE domain = %s",
                [trial.share, trial.salt, trial.start, trial.end, shop],
            )
        while together := list(islice(year, BATCHES_AT_ONCE)):
            new = writer.write(connection, together)
            progress(new)
            stored += new
    return stored


def count(connection: Connection, progress: Callable[[int], object]) -> None:
    """Have the merchant's page show it at once; what is left out here the worker would count."""
    before = uncounted(connection)
    while count_new(connection):
        after = uncounted(connection)
        progress(before - after)
        before = after


def uncounted(connection: Connection) -> int:
    """How many batches are stored and not counted."""
    [(batches,)] = connection.execute("SELECT coalesce(sum(batches), 0) FROM report_news")
    return int(batches)
