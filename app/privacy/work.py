"""Carrying out what was asked for, step by step, until it is done.

A request begins with a search of all that is stored and waiting. Some of what was received before
it may still be on its way: in the hands of a worker, or in the spool of a machine that could reach
nobody. So the request is looked at again for a moment before it counts as done, and afterwards,
ever more seldom, by digests alone. Each such look is cheap: it begins where the last one ended.
"""

import logging
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import Connection
from redis import RedisError

from app.privacy import erasure, rejected, requests, search, writers
from app.privacy.erasure import Recount
from app.privacy.export import export
from app.privacy.requests import Request
from app.privacy.returned import is_back
from app.privacy.search import Found
from app.privacy.senders import addresses, is_his_of, sender, was_received_before
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.store.walks import Progress

logger = logging.getLogger(__name__)

SETTLE = timedelta(seconds=8)  # a journal that failed is tried again after 5 s at most
_LOOK_AGAIN = timedelta(seconds=1)
# How long ago a request's first search was, and how soon it is looked at again after it is done.
_WATCH = (
    (timedelta(minutes=10), timedelta(seconds=15)),
    (timedelta(hours=6), timedelta(minutes=5)),
    (timedelta(days=30), timedelta(hours=6)),
)
_MOST_PATIENCE = timedelta(hours=1)  # of an export, with what does not arrive
_RENEW_EVERY = 5.0  # s


class Work:
    def __init__(
        self, journals: Journals, *, recount: Recount = lambda connection, shop_id, visitors: None
    ) -> None:
        self._journals = journals
        self._recount = recount

    def close(self) -> None:
        self._journals.close()

    def run_due(
        self, connection: Connection, *, id_: int | None = None, progress: Progress | None = None
    ) -> Request | None:
        """Take one request that is due a step further; None where none is. psycopg.Error."""
        request = requests.take_due(connection, id_)
        if request is None:
            return None
        step = _renewing(connection, request, progress)
        try:
            self._run(connection, request, step)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # Postgres is away: the request is due again when its lease is over
        except Exception as error:
            logger.log(
                logging.WARNING
                if isinstance(error, RedisError | writers.WritersBusy)
                else logging.ERROR,
                "a privacy request is not done yet, will try again",
                exc_info=not isinstance(error, RedisError | writers.WritersBusy),
                extra={
                    "action": "privacy_waits",
                    "request": request.id,
                    "cause": type(error).__name__,
                },
            )
            requests.failed(connection, request)
        return request

    def find(
        self, connection: Connection, shop: str, subject: Subject, before: datetime, step: Progress
    ) -> tuple[Subject, Found]:
        """All that is stored of a shopper, and who he turned out to be. redis.RedisError."""
        shop_id = _shop_id(connection, shop)
        known = self._with_waiting_browsers(shop, subject, before)
        if known.customer_id:
            known = known.with_found(
                rejected.browsers_in_rejected(connection, shop, known.customer_id, before), []
            )
        found = Found()
        if shop_id is not None:
            found = search.find(connection, shop_id, known, before, step)
            known = known.with_found(found.browsers, found.batch_ids)
        found.rejected_ids = rejected.find_rejected(
            connection, shop, known.traces(), before, after=0, progress=step
        )
        return known, found

    def count(
        self, connection: Connection, shop: str, subject: Subject, before: datetime, step: Progress
    ) -> Counter[str]:
        """What an erasure of a shopper would delete. redis.RedisError."""
        known, found = self.find(connection, shop, subject, before, step)
        number = erasure.count(connection, _shop_id(connection, shop) or 0, found, step)
        is_his = is_his_of(known.traces(), before)
        number["waiting_batches"] = sum(map(is_his, self._journals.batches(shop)))
        return number

    def count_shop(self, connection: Connection, shop: str, before: datetime) -> Counter[str]:
        """The same for a shop."""
        number = erasure.count_shop(connection, shop, _shop_id(connection, shop) or 0)
        number["waiting_batches"] = sum(
            map(was_received_before(before), self._journals.batches(shop))
        )
        return number

    def _run(self, connection: Connection, request: Request, step: Progress) -> None:
        if request.kind == requests.EXPORT_CUSTOMER:
            self._export(connection, request, step)
            return
        is_first = request.batches_to is None
        if (
            is_first
            and request.kind == requests.ERASE_SHOP
            and is_back(connection, self._journals, request)
        ):
            requests.complete(connection, request, requests.INSTALLED_AGAIN)
            requests.go_on_after(connection, request, None)
            _log(request)
            return
        # A writer that has begun holds numbers of batches that are not to be seen yet.
        ends = writers.ends(connection)
        writers.wait_for_writers(connection)
        if is_first:
            self._erase_all(connection, request, step)
        else:
            self._erase_late(connection, request, step)
        requests.count(connection, request, self._remove_waiting(request))
        requests.searched(connection, request, *ends)
        self._settle(connection, request)

    def _erase_all(self, connection: Connection, request: Request, step: Progress) -> None:
        shop, before = request.shop_domain, request.requested_at
        shop_id = _shop_id(connection, shop)
        if request.kind == requests.ERASE_SHOP:
            requests.delete_exports(connection, shop, None)
            self._journals.forget_shop(shop)
            if shop_id is not None:
                self._erase_shop(connection, request, shop_id, step)
            return
        subject, found = self.find(connection, shop, request.who, before, step)
        traces = subject.traces()
        requests.remember(connection, request, subject, traces)
        exports = requests.delete_exports(connection, shop, traces)
        requests.count(connection, request, Counter(exports=exports))
        deleted = _counting(connection, request, step)
        erasure.erase(connection, shop_id or 0, found, deleted, self._recount)

    def _erase_shop(
        self, connection: Connection, request: Request, shop_id: int, step: Progress
    ) -> None:
        shop, before = request.shop_domain, request.requested_at
        deleted = _counting(connection, request, step)
        erasure.erase_shop(connection, shop, shop_id, before, deleted, self._recount)
        # A batch may have been stored after one that was received later.
        left = search.find_late_of_shop(connection, shop, shop_id, before, 0)
        erasure.erase(connection, shop_id, left, deleted, self._recount)

    def _erase_late(self, connection: Connection, request: Request, step: Progress) -> None:
        shop, before = request.shop_domain, request.requested_at
        shop_id = _shop_id(connection, shop)
        if shop_id is None:
            return
        if request.kind == requests.ERASE_SHOP:
            late = search.find_late_of_shop(
                connection, shop, shop_id, before, request.batches_to or 0
            )
            if late.batch_ids or late.rejected_ids:
                self._erase_shop(connection, request, shop_id, step)
            return
        traces = request.late
        found = search.find_late(connection, shop_id, traces, before, request.batches_to or 0)
        if found.browsers:  # one that nobody knew of yet
            more = search.find(
                connection, shop_id, Subject(browsers=tuple(found.browsers)), before, step
            )
            found.batch_ids |= more.batch_ids
            request.traces = traces.with_browsers(found.browsers).as_json()
        found.rejected_ids = rejected.find_rejected(
            connection, shop, request.late, before,
            after=request.rejected_to or 0, progress=step,
        )  # fmt: skip
        deleted = _counting(connection, request, step)
        erasure.erase(connection, shop_id, found, deleted, self._recount)

    def _export(self, connection: Connection, request: Request, step: Progress) -> None:
        subject = request.who
        before = request.requested_at
        is_his = is_his_of(subject.traces(), before)
        waits = self._journals.any_spooled(before) or any(
            map(is_his, self._journals.batches(request.shop_domain))
        )
        age = _since(request.started_at)
        if age < SETTLE or (waits and age < _MOST_PATIENCE):
            requests.go_on_after(connection, request, _LOOK_AGAIN)
            return
        subject, found = self.find(connection, request.shop_domain, subject, before, step)
        shop_id = _shop_id(connection, request.shop_domain)
        rows = export(connection, shop_id or 0, found)
        document = {
            "shop": request.shop_domain,
            "customer_id": subject.customer_id,
            "emails": [email for email in subject.emails if "@" in email],
            "client_ids": sorted({*subject.client_ids, *subject.browsers}),
            "requested_at": before,
            "made_at": datetime.now(UTC),
            **rows,
        }
        request.subject = subject.as_json()
        is_wanted = requests.complete(connection, request, requests.DONE, document)
        requests.go_on_after(connection, request, None)
        if is_wanted:
            _log(request)

    def _settle(self, connection: Connection, request: Request) -> None:
        # Not since it began: the first search alone may take long, and so may a lease.
        age = _since(request.searched_at)
        if not request.completed_at:
            if age < SETTLE or self._still_waits(request):
                requests.go_on_after(connection, request, _LOOK_AGAIN)
                return
            requests.complete(connection, request, requests.DONE)
            _log(request)
        pause = next((pause for until, pause in _WATCH if age < until), None)
        requests.go_on_after(connection, request, pause)

    def _with_waiting_browsers(self, shop: str, subject: Subject, before: datetime) -> Subject:
        if not subject.customer_id:
            return subject
        senders = map(sender, self._journals.batches(shop))
        browsers = {
            client_id
            for one in senders
            if one.customer_id == subject.customer_id
            and (one.received_at is None or one.received_at < before)
            for client_id in one.client_ids
        }
        return subject.with_found(browsers, [])

    def _remove_waiting(self, request: Request) -> Counter[str]:
        is_meant = (
            was_received_before(request.requested_at)
            if request.kind == requests.ERASE_SHOP
            else is_his_of(request.late, request.requested_at)
        )
        return Counter({"waiting_batches": self._journals.remove(request.shop_domain, is_meant)})

    def _still_waits(self, request: Request) -> bool:
        """Whether something may wait in the spool of another machine, or his address in a batch of
        another customer, of which the rest counts."""
        if self._journals.any_spooled(request.requested_at):
            return True
        if request.kind == requests.ERASE_SHOP or not request.late.emails:
            return False
        was_received = was_received_before(request.requested_at)
        return any(
            was_received(batch) and request.late.mentioned(addresses(batch))
            for batch in self._journals.batches(request.shop_domain)
        )


def _since(time_: datetime | None) -> timedelta:
    now = datetime.now(UTC)
    return now - (time_ or now)


def _shop_id(connection: Connection, shop: str) -> int | None:
    row = connection.execute("SELECT id FROM shops WHERE domain = %s", [shop]).fetchone()
    return row[0] if row else None


def _renewing(connection: Connection, request: Request, progress: Progress | None) -> Progress:
    """Between the steps the lease is renewed."""
    renewed_at = time.monotonic()

    def step(table: str, rows: int) -> None:
        nonlocal renewed_at
        if progress:
            progress(table, rows)
        if time.monotonic() - renewed_at > _RENEW_EVERY:
            renewed_at = time.monotonic()
            requests.renew(connection, request)

    return step


def _counting(connection: Connection, request: Request, step: Progress) -> Progress:
    """What is deleted is a part of the proof at once, should the next step be interrupted."""

    def deleted(table: str, rows: int) -> None:
        requests.count(connection, request, Counter({table: rows}))
        step(table, rows)

    return deleted


def _log(request: Request) -> None:
    logger.info(
        "a privacy request is done",
        extra={
            "action": "privacy_done",
            "request": request.id,
            "kind": request.kind,
            "shop": request.shop_domain,
            "outcome": request.outcome,
            "rows": request.erased,
        },
    )
