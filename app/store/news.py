"""What is stored and not yet in the merchants' reports: written with it, in its transaction."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from psycopg import Connection, DataError

from app.batch.batch import Batch
from app.batch.news import DEFINITION, pack


def write_news(
    connection: Connection, stored: Iterable[tuple[int, Batch, Sequence[bytes]]]
) -> None:
    """Announce batches, each with its shop's id and those lines of its events that are stored.
    DataError where Postgres took a line that is none of ours."""
    by_shop = defaultdict(list)
    for shop_id, batch, lines in stored:
        if lines:
            by_shop[shop_id].append((batch, lines))
    try:
        rows = [
            f"{shop_id}\t{batches}\t{len(packed) + len(titles)}\t\\\\x{packed.hex()}"
            f"\t{{{','.join(map(str, by_session))}}}\t{DEFINITION}"
            f"\t{_bytea(titles)}\n"
            for shop_id, of_shop in by_shop.items()
            for batches, packed, by_session, titles in pack(of_shop)
        ]
    except ValueError as error:
        raise DataError(f"cannot be counted: {error}") from error
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY report_news (shop_id, batches, size, packed, by_session, definition, titles)"
            " FROM STDIN"
        ) as copy,
    ):
        copy.write("".join(rows))


def _bytea(titles: bytes) -> str:
    return rf"\\x{titles.hex()}" if titles else r"\N"
