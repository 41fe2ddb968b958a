import pytest

from app.counts import counting
from app.store.connections import connect


@pytest.fixture(scope="module")
def module_database(module_database_url):
    """For tests that make shops of their own instead of an empty database."""
    with connect(module_database_url, "tests") as connection:
        yield connection


@pytest.fixture
def one_at_a_time(monkeypatch):
    """One announcement of one shop is counted at a time."""
    monkeypatch.setattr(counting, "MOST", 1)
    monkeypatch.setattr(counting, "_LEAST", 1)
