"""The counts in Postgres: written as differences, read as sums."""

from psycopg import Connection

from app.counts.measures import Cells


def add_cells(connection: Connection, shop_id: int, cells: Cells) -> None:
    """Add the differences to what is counted; a cell that comes to 0 is deleted."""
    lines = [
        b"%d\t%d\t%d\t%d\t%d\t%d\t%d\n" % (shop_id, *cell, number)
        for cell, number in sorted(cells.items())
        if number
    ]
    if not lines:
        return
    connection.execute("CREATE TEMP TABLE changes (LIKE report_cells) ON COMMIT DROP")
    with connection.cursor() as cursor, cursor.copy("COPY changes FROM STDIN") as copy:
        copy.write(b"".join(lines))
    connection.execute(
        "INSERT INTO report_cells AS cell SELECT * FROM changes"
        " ON CONFLICT (shop_id, dimension, measure, value_id, previous, day)"
        " DO UPDATE SET number = cell.number + excluded.number"
    )
    connection.execute(
        "DELETE FROM report_cells AS cell USING changes"
        " WHERE cell.number = 0 AND (cell.shop_id, cell.dimension, cell.measure, cell.value_id,"
        " cell.previous, cell.day) = (changes.shop_id, changes.dimension, changes.measure,"
        " changes.value_id, changes.previous, changes.day)"
    )
    connection.execute("DROP TABLE changes")
