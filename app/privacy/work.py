"""Carrying out what was asked for, a step at a time, until it is done.

The state of a request says what its next step is (a column computes it from the others):

1. *Searching.* Erase all that is stored and waiting. Where a shop has installed the app again since
   it asked, nothing is erased and the request is closed.
2. *Settling.* Some of what was received before the request may still be on its way: in the hands of
   a worker, or in the spool of a machine that could reach nobody. So the request is looked at again
   for a moment before it counts as done.
3. *Watching.* Done; looked at ever more seldom for 30 days, by digests alone.
4. *Closed.* Nothing is left to do.

An export is *exporting* until nothing of the shopper waits any more, and then closed.

What fails is tried again after growing pauses. Where the error does not heal by itself, the request
is *failed* after a few tries, and waits for `flask privacy retry`; so it is where each try kills
its process.

Each look after the first is cheap: it begins where the last one ended. A step that is interrupted
is begun again, by whoever takes the request when its lease is over.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import Connection
from redis import RedisError

from app.batch.form import NewerEntry
from app.privacy import erasure, requests, scope, search, search_rejected
from app.privacy.export import export
from app.privacy.pieces import NOTE, NotWanted, Pieces
from app.privacy.requests import Request
from app.privacy.senders import addresses, belongs_to, was_received_before
from app.privacy.subject import Subject
from app.privacy.waiting import Journals
from app.store import shops, writers
from app.store.walks import Progress
from config.causes import cause

logger = logging.getLogger(__name__)

SETTLE = timedelta(seconds=8)  # a journal that failed is tried again after 5 s at most
_LOOK_AGAIN = timedelta(seconds=1)
# How long ago a request's first search was, and how soon it is looked at again after it is done.
_WATCH = (
    (timedelta(minutes=10), timedelta(seconds=15)),
    (timedelta(hours=6), timedelta(minutes=5)),
    (timedelta(days=30), timedelta(hours=6)),
)
_EXPORT_TIMEOUT = timedelta(hours=1)  # to wait for what does not arrive
_RENEW_EVERY = 5.0  # s
# SQLSTATEs of what passes: a lock, a full disk, too many connections, a server that stops.
_HEALING = ("08", "25", "40", "55", "57", "53000", "53100", "53300")

_Step = Callable[[Connection, Request, Progress], None]


class Work:
    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._cut_off: list[int] = []  # requests whose last try ended with the connection
        self._steps: dict[str, _Step] = {
            requests.EXPORTING: self._export,
            requests.SEARCHING: self._search,
            requests.SETTLING: self._settle,
            requests.WATCHING: self._watch,
            requests.CLOSING: lambda connection, request, _: requests.close(connection, request),
        }

    def close(self) -> None:
        self._journals.close()

    def run_due(
        self, connection: Connection, *, id_: int | None = None, progress: Progress | None = None
    ) -> Request | None:
        """Take one request that is due a step further; None where none is. psycopg.Error."""
        while self._cut_off:
            requests.does_not_count(connection, self._cut_off[-1])
            self._cut_off.pop()
        request = requests.take_due(connection, id_)
        if request is None:
            return None
        if request.tries >= requests.MOST_TRIES:  # each of which has killed its process
            requests.give_up(connection, request)
            _log_failure(request, request.cause or "", None, is_last=True)
            return request
        try:
            self._steps[request.state](
                connection, request, _renewing(connection, request, progress)
            )
        except Exception as error:
            if connection.closed:
                self._cut_off.append(request.id)
                raise  # Postgres is away: the request is due again when its lease is over
            _note_failure(connection, request, error)
        return request

    def _search(self, connection: Connection, request: Request, progress: Progress) -> None:
        if request.kind == requests.ERASE_SHOP and self._is_back(connection, request):
            requests.complete(connection, request, requests.INSTALLED_AGAIN)
            requests.close(connection, request)
            _log(request)
            return
        self._look(connection, request, progress, self._erase_all)
        requests.go_on_after(connection, request, _LOOK_AGAIN)

    def _settle(self, connection: Connection, request: Request, progress: Progress) -> None:
        self._look(connection, request, progress, self._erase_late)
        # Not since it began: the first search alone may take long, and so may a lease.
        if _since(request.searched_at) < SETTLE or self._still_waits(request):
            requests.go_on_after(connection, request, _LOOK_AGAIN)
            return
        requests.complete(connection, request, requests.DONE)
        _log(request)
        _look_later(connection, request)

    def _watch(self, connection: Connection, request: Request, progress: Progress) -> None:
        self._look(connection, request, progress, self._erase_late)
        _look_later(connection, request)

    def _export(self, connection: Connection, request: Request, progress: Progress) -> None:
        subject, before = request.who, request.requested_at
        is_meant = belongs_to(subject.fingerprints(), before)
        waits = self._journals.any_spooled(before) or any(
            map(is_meant, self._journals.batches(request.shop_domain))
        )
        age = _since(request.started_at)
        if age < SETTLE or (waits and age < _EXPORT_TIMEOUT):
            requests.go_on_after(connection, request, _LOOK_AGAIN)
            return
        subject, found = scope.find(
            connection, self._journals, request.shop_domain, subject, before, progress
        )
        pieces = Pieces(connection, request)
        shop_id = shops.find_id(connection, request.shop_domain) or 0
        is_wanted = True
        try:
            for kind, rows in export(connection, shop_id, found, progress):
                pieces.add(kind, rows)
        except NotWanted:
            is_wanted = False
        document = {
            "shop": request.shop_domain,
            "customer_id": subject.customer_id,
            "emails": [email for email in subject.emails if "@" in email],
            "client_ids": sorted({*subject.client_ids, *subject.browsers}),
            "requested_at": before,
            "made_at": datetime.now(UTC),
            "pieces": pieces.attempt,
            "note": NOTE,
        }
        request.subject = subject.as_json()
        is_wanted = is_wanted and requests.complete(connection, request, requests.DONE, document)
        requests.close(connection, request)
        if is_wanted:
            pieces.delete_earlier()
            _log(request)
        else:
            pieces.delete()

    def _look(
        self, connection: Connection, request: Request, progress: Progress, erase: _Step
    ) -> None:
        """Erase what is there up to now, stored and waiting, and remember how far that was."""
        # A writer that has begun holds numbers of batches that are not to be seen yet.
        ends = writers.ends(connection)
        writers.wait_for_writers(connection)
        erase(connection, request, progress)
        waiting = self._journals.remove(request.shop_domain, scope.is_meant_by(request))
        requests.count(connection, request, Counter(waiting_batches=waiting))
        requests.searched(connection, request, *ends)

    def _erase_all(self, connection: Connection, request: Request, progress: Progress) -> None:
        shop, before = request.shop_domain, request.requested_at
        shop_id = shops.find_id(connection, shop)
        if request.kind == requests.ERASE_SHOP:
            requests.delete_exports(connection, shop, None)
            self._journals.forget_shop(shop)
            if shop_id is not None:
                _erase_shop(connection, request, shop_id, progress)
            return
        subject, found = scope.find(connection, self._journals, shop, request.who, before, progress)
        fingerprints = subject.fingerprints()
        requests.remember(connection, request, subject, fingerprints)
        exports = requests.delete_exports(connection, shop, fingerprints)
        requests.count(connection, request, Counter(exports=exports))
        erasure.erase(connection, shop_id or 0, found, _counting(connection, request, progress))

    def _erase_late(self, connection: Connection, request: Request, progress: Progress) -> None:
        shop, before = request.shop_domain, request.requested_at
        after = request.batches_to or 0
        shop_id = shops.find_id(connection, shop)
        if shop_id is None:
            return
        if request.kind == requests.ERASE_SHOP:
            late = search.find_late_of_shop(connection, shop, shop_id, before, after)
            if late.batch_ids or late.rejected_ids:
                _erase_shop(connection, request, shop_id, progress)
            return
        found = search.find_late(connection, shop_id, request.fingerprints, before, after)
        if found.browsers:  # one that nobody knew of yet
            browsers = Subject(browsers=tuple(found.browsers))
            more = search.find(connection, shop_id, browsers, before, progress)
            found.batch_ids |= more.batch_ids
            request.traces = request.fingerprints.with_browsers(found.browsers).as_json()
        found.rejected_ids = search_rejected.find(
            connection, shop, request.fingerprints, before,
            after=request.rejected_to or 0, progress=progress,
        )  # fmt: skip
        erasure.erase(connection, shop_id, found, _counting(connection, request, progress))

    def _is_back(self, connection: Connection, request: Request) -> bool:
        """Whether the shop has installed the app again, by what is stored and by what waits."""
        if request.source == requests.COMMAND:  # the operator knows
            return False
        received = self._journals.last_received(request.shop_domain)
        return shops.is_back(connection, request.shop_domain, received)

    def _still_waits(self, request: Request) -> bool:
        """Whether something may wait in the spool of another machine, or the shopper's address in a
        batch of another customer, of which the rest counts."""
        if self._journals.any_spooled(request.requested_at):
            return True
        if request.kind == requests.ERASE_SHOP or not request.fingerprints.emails:
            return False
        was_received = was_received_before(request.requested_at)
        return any(
            was_received(batch) and request.fingerprints.mentions(addresses(batch))
            for batch in self._journals.batches(request.shop_domain)
        )


def _erase_shop(connection: Connection, request: Request, shop_id: int, progress: Progress) -> None:
    shop, before = request.shop_domain, request.requested_at
    deleted = _counting(connection, request, progress)
    erasure.erase_shop(connection, shop, shop_id, before, deleted)
    # A batch may have been stored after one that was received later.
    left = search.find_late_of_shop(connection, shop, shop_id, before, 0)
    erasure.erase(connection, shop_id, left, deleted)


def _look_later(connection: Connection, request: Request) -> None:
    age = _since(request.searched_at)
    pause = next((pause for until, pause in _WATCH if age < until), None)
    if pause is None:
        requests.close(connection, request)
    else:
        requests.go_on_after(connection, request, pause)


def _since(time_: datetime | None) -> timedelta:
    now = datetime.now(UTC)
    return now - (time_ or now)


def _renewing(connection: Connection, request: Request, progress: Progress | None) -> Progress:
    """Between the steps the lease is renewed."""
    renewed_at = time.monotonic()

    def renew(table: str, rows: int) -> None:
        nonlocal renewed_at
        if progress:
            progress(table, rows)
        if time.monotonic() - renewed_at > _RENEW_EVERY:
            renewed_at = time.monotonic()
            requests.renew(connection, request)

    return renew


def _counting(connection: Connection, request: Request, progress: Progress) -> Progress:
    """What is deleted is a part of the proof at once, should the next step be interrupted."""

    def deleted(table: str, rows: int) -> None:
        requests.count(connection, request, Counter({table: rows}))
        progress(table, rows)

    return deleted


def _note_failure(connection: Connection, request: Request, error: Exception) -> None:
    heals = isinstance(error, RedisError | writers.WritersBusy | NewerEntry) or (
        isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_HEALING)
    )
    is_last = requests.failed(connection, request, cause(error), heals=heals)
    _log_failure(request, cause(error), error, heals=heals, is_last=is_last)


def _log_failure(
    request: Request, cause: str, error: Exception | None, *, is_last: bool, heals: bool = False
) -> None:
    logger.log(
        logging.WARNING if heals else logging.ERROR,
        "a privacy request has failed; see `flask privacy list`"
        if is_last
        else "a privacy request is not done yet, will try again",
        exc_info=None if heals else error,
        extra={
            "action": "privacy_failed" if is_last else "privacy_waits",
            "request": request.id,
            "cause": cause,
        },
    )


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
