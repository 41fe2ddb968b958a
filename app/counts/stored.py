"""Stored events, as they are read to be counted again."""

from collections.abc import Collection, Iterator

from psycopg import Connection, Cursor, ServerCursor

from app.batch.news import language_of, product_of, version_of
from app.counts import dimensions
from app.counts.measures import KIND_OF, Dimension, Event
from app.counts.values import Key, numbers

STORED = f"""
    SELECT {dimensions.VISITOR_KEY}, (extract(epoch FROM e.occurred_at) * 1000000)::bigint,
        {dimensions.NAME},
        (e.occurred_at AT TIME ZONE coalesce(r.time_zone, 'UTC'))::date - date '1970-01-01',
        b.product_id,
        CASE WHEN nullif(b.product_id, '') IS NULL THEN e.properties->'product_id' END,
        b.lib_version, b.device_class, b.context->'$browser_language'
    FROM events e
    JOIN batches b ON b.shop_id = e.shop_id AND b.id = e.batch_id
    LEFT JOIN report_shops r ON r.shop_id = e.shop_id
    WHERE e.shop_id = %s"""

_ROWS = 5_000  # at once
_MOST_KNOWN = 50_000  # values

Texts = tuple[str, str, str, str]  # product, version, device, language
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)


class Numbering:
    """The numbers of a transaction's values, asked for once each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[Key, int] = {}
        self._together: dict[tuple[int, Texts], tuple[int, ...]] = {}

    def learn(self, wanted: Collection[tuple[int, Texts]]) -> None:
        """Of shops' values, before `of` is asked; those of before may be forgotten."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._together.clear()
        keys = {
            (shop_id, int(dimension), text)
            for shop_id, texts in wanted
            for dimension, text in zip(_DIMENSIONS, texts, strict=True)
        }
        self._known |= numbers(self._connection, keys - self._known.keys())
        for shop_id, texts in wanted:
            self._together[shop_id, texts] = tuple(
                self._known[shop_id, dimension, text]
                for dimension, text in zip(_DIMENSIONS, texts, strict=True)
            )

    def of(self, shop_id: int, texts: Texts) -> tuple[int, ...]:
        return self._together[shop_id, texts]


def read_events(
    numbering: Numbering, shop_id: int, cursor: Cursor | ServerCursor
) -> Iterator[tuple[str | None, Event]]:
    """Visitor (None: an event only), event; from the rows of STORED."""
    while some := cursor.fetchmany(_ROWS):
        texts = [_texts(*row[4:]) for row in some]
        numbering.learn({(shop_id, one) for one in texts})
        for (visitor, at, name, day, *_), of_event in zip(some, texts, strict=True):
            event = Event(at, KIND_OF[name], day, *numbering.of(shop_id, of_event))
            yield visitor and visitor.hex, event


def _texts(product: str | None, own: object, version: str | None, device: str | None,
           language: object) -> Texts:  # fmt: skip
    return (
        product_of(product) or product_of(own),
        version_of(version or ""),
        device or "",
        language_of(language) if isinstance(language, str) else "",
    )
