"""What Postgres's planner is told before visitors are looked for."""

from psycopg import Connection


def prefer_indexes(connection: Connection) -> None:
    """Until the end of the transaction. Postgres's own costs are those of a turning disk: it reads
    all the visitors that a shop ever had to find two thousand of them."""
    connection.execute("SET LOCAL random_page_cost = 1.1")
