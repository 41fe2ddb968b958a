"""Which faults are a server's, and how batches are halved until one is left to blame."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import errors

from app.batch.batch import Batch, Context, Event, Rejected
from app.store.salvage import _halve, _is_transient
from tests.calls import SHOP

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (psycopg.OperationalError(), True),
        (errors.AdminShutdown(), True),
        (errors.DiskFull(), True),
        (errors.ProgramLimitExceeded(), False),
        (errors.StatementTooComplex(), False),
        (errors.ReadOnlySqlTransaction(), True),
        (errors.InternalError_("connection to the remote node failed"), True),
        (errors.InternalError_("cache lookup failed"), False),
        (psycopg.InterfaceError(), True),
        (errors.UndefinedColumn(), True),
        (OSError(), True),
        (errors.UniqueViolation(), False),
        (errors.InvalidTextRepresentation(), False),
        (ValueError(), False),
        (KeyError(), False),
    ],
)
def test_a_fault_of_the_server_is_told_from_one_of_the_rows(error, is_transient):
    assert _is_transient(error) is is_transient


def batch(events, rejected=0):
    return Batch.build(
        shop=SHOP, customer_id=None, received_at=NOW, context=Context(),
        events=[Event("a:b", f"{n}", NOW, b"{}", b"{}") for n in range(events)],
        rejected=[Rejected(None, "X", [], "{}")] * rejected,
    )  # fmt: skip


@pytest.mark.parametrize("number", [2, 3, 4, 7])
def test_batches_are_halved_without_a_loss(number):
    batches = [batch(1) for _ in range(number)]
    first, second = _halve(batches)
    assert first + second == batches
    assert abs(len(first) - len(second)) <= 1


@pytest.mark.parametrize("number", [2, 3, 5])
def test_one_batch_is_halved_by_its_events(number):
    one = batch(number)
    [first], [second] = _halve([one])
    assert first.events + second.events == one.events
    assert abs(len(first.events) - len(second.events)) <= 1
    assert first.line == second.line == one.line


def test_what_was_rejected_is_parted_from_the_events_first():
    one = batch(3, rejected=2)
    [rejected], [events] = _halve([one])
    assert (rejected.events, rejected.rejected) == ([], one.rejected)
    assert (events.events, events.rejected) == (one.events, b"")


def test_one_thing_is_not_halved():
    assert _halve([batch(1)]) is None
    assert _halve([batch(0, rejected=2)]) is None
