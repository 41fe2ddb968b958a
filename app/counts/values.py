"""Numbers for products, versions and the like, given when each is first seen."""

from psycopg import Connection

from app.counts.measures import Dimension

# In the order of Values.of and of the statements in app.counts.stored.
_DIMENSIONS = (Dimension.PRODUCT, Dimension.VERSION, Dimension.DEVICE, Dimension.LANGUAGE)


class Values:
    """Of one transaction, with which the ids that it has made may be taken back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ids: dict[tuple[int, int, str], int] = {}
        self._rows: dict[tuple[int, tuple[str | None, ...]], tuple[int, ...]] = {}

    def of(self, shop_id: int, *texts: str | None) -> tuple[int, ...]:
        """Product, version, device, language; the id of '' where nothing was sent."""
        ids = self._rows.get((shop_id, texts))
        if ids is None:
            ids = tuple(
                self._id(shop_id, dimension, text or "")
                for dimension, text in zip(_DIMENSIONS, texts, strict=True)
            )
            self._rows[shop_id, texts] = ids
        return ids

    def of_event(self, shop_id: int, name: str) -> int:
        """The kind of an event that is not in the catalogue."""
        return self._id(shop_id, Dimension.EVENT, name)

    def _id(self, shop_id: int, dimension: int, text: str) -> int:
        key = (shop_id, dimension, text)
        if key not in self._ids:
            self._ids[key] = self._find(*key) or self._make(*key)
        return self._ids[key]

    def _find(self, *key: int | str) -> int | None:
        row = self._connection.execute(
            "SELECT id FROM report_values WHERE shop_id = %s AND dimension = %s AND value = %s",
            key,
        ).fetchone()
        return row[0] if row else None

    def _make(self, *key: int | str) -> int:
        row = self._connection.execute(
            "INSERT INTO report_values (shop_id, dimension, value) VALUES (%s, %s, %s)"
            " RETURNING id",
            key,
        ).fetchone()
        assert row  # noqa: S101 - RETURNING always does
        return int(row[0])
