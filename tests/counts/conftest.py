import pytest

from app.store.connections import connect


@pytest.fixture(scope="module")
def module_database(module_database_url):
    """For tests that make shops of their own instead of an empty database."""
    with connect(module_database_url, "tests") as connection:
        yield connection
