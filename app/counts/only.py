"""One filter over everything: with it, all numbers are counted from the events of one product,
version, device or language alone, as if a visitor had done nothing else."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from psycopg import Connection

from app.batch.news import language_of, product_of, version_of
from app.counts.measures import Dimension, Event

_NOBODY = -1  # the number of a value that was never sent


class Only(NamedTuple):
    """`text` as the breakdown has it, "" for events that were sent without."""

    dimension: Dimension
    number: int
    text: str

    def of(self, events: Sequence[Event]) -> list[Event]:
        value_of = attrgetter(self.dimension.name.lower())
        return [event for event in events if value_of(event) == self.number]


def text_of(dimension: Dimension, text: str) -> str:
    """A value as it is counted: a bare number is Shopify's own product, `en` is that of `en-US`."""
    match dimension:
        case Dimension.PRODUCT:
            return product_of(text)
        case Dimension.VERSION:
            return version_of(text)
        case Dimension.LANGUAGE:
            return language_of(text)
    return text


def find(connection: Connection, shop_id: int, dimension: Dimension, text: str) -> Only:
    row = connection.execute(
        "SELECT id FROM report_values WHERE shop_id = %s AND dimension = %s AND value = %s",
        [shop_id, dimension, text],
    ).fetchone()
    return Only(dimension, row[0] if row else _NOBODY, text)
