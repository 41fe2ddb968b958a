"""Postgres quotes rows in what it says: nothing of that is in a log, a reply, Sentry or a table."""

import io
import json
import logging
import threading
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
import redis
import sentry_sdk
from click.testing import CliRunner

from app.cli import privacy
from app.intake import keys
from app.intake.redis_client import worker_client
from app.privacy.waiting import Journals
from app.privacy.work import Work
from app.rejected.commands import rejected
from app.sentry import report_to_sentry
from app.store.connections import connect
from app.store.writer import Writer
from app.worker.consumer import Consumer, Entry
from app.worker.consuming import Consuming
from app.worker.housekeeping import Housekeeping
from app.worker.reporting import Reporting
from app.worker.storing import Storing, parse
from app.worker.upkeep import Retention
from config import logs
from config.causes import cause, trace
from tests.calls import SHOP, body, event
from tests.intake.test_spool import AWAY
from tests.processes.running import environment

pytestmark = pytest.mark.slow

MARK = "mark-4711"
CONTEXT = {"genlook_client_id": f"client-{MARK}", "$session_id": f"session-{MARK}"}

# What Postgres may answer, each with the row in all its texts.
REFUSALS = {
    "unique violation": "23505",
    "check violation": "23514",
    "not null violation": "23502",
    "invalid text": "22P02",
    "program limit": "54000",
    "statement timeout": "57014",
    "deadlock": "40P01",
    "out of memory": "53200",
    "disk full": "53100",
    "internal error": "XX000",
    "a trigger's own": "P0001",
    "connection lost": None,
}


@pytest.fixture
def lines(monkeypatch):
    """All that is logged, as it would be printed in both forms."""
    output = io.StringIO()
    handlers = []
    for form in ("json", "text"):
        config = logs.config("DEBUG", form)
        configurator = logging.config.DictConfigurator(config)
        handler = logging.StreamHandler(output)
        handler.setFormatter(configurator.configure_formatter(dict(config["formatters"][form])))
        handlers.append(handler)
        logging.getLogger().addHandler(handler)
    yield output
    for handler in handlers:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def said(lines, sentry, settings, database):
    """All that has left the process or is shown: call it with replies, too."""
    dsn, received = sentry
    report_to_sentry(replace(settings, sentry_dsn=dsn))

    def said(*replies):
        sentry_sdk.flush(2)
        reasons = database.execute("SELECT code, details::text FROM rejected_events").fetchall()
        return "\n".join(
            [lines.getvalue(), b"".join(received).decode(), str(reasons), *map(str, replies)]
        )

    return said


@pytest.fixture(params=["check violation", "out of memory", "connection lost"])
def refusing(request, settings):
    """Makes Postgres refuse what is done to a table, until the end of the test."""
    code = REFUSALS[request.param]
    raising = (
        f"RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = said, DETAIL = said, HINT = said,"
        " COLUMN = 'a_column', CONSTRAINT = 'a_constraint', TABLE = 'a_table';"
        if code
        else "PERFORM pg_terminate_backend(pg_backend_pid());"
    )
    refused = []
    with psycopg.connect(settings.database_url, autocommit=True) as admin:

        def refuse(table, action="INSERT"):
            row = "OLD" if action == "DELETE" else "NEW"
            admin.execute(
                f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
                f" DECLARE said text := 'row ' || to_jsonb({row})::text || E'\\n{MARK}';"
                f" BEGIN {raising} RETURN {row}; END $$"
            )
            admin.execute(
                f"CREATE TRIGGER refuse BEFORE {action} ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
            refused.append(table)
            return code or "57P01"

        yield refuse
        for table in refused:
            admin.execute(f"DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse")


class Stop(threading.Event):
    """Ends a duty after a few steps, and waits for nothing."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def wait(self, timeout=None):
        self.steps -= 1
        return self.steps < 0


def marked(**fields):
    properties = {"email": f"ann-{MARK}@example.com"}
    return event(insert_id=f"id-{MARK}", properties=properties, **fields)


def post(caller, *events):
    return caller.post(body(*(events or [marked()]), context=CONTEXT), customer=MARK)


def store(settings, steps=3):
    """As the worker does, for a few steps."""
    storing = Storing(
        lambda: connect(settings.database_url, "worker"), Writer(statement_timeout=60_000)
    )
    with worker_client(settings) as client, closing(storing):
        streams = [keys.stream(0)]
        consumer = Consumer(client, parse, storing.store, streams=lambda: streams, name="one")
        Consuming(consumer, client, threading.Event()).run(Stop(steps))


def test_a_batch_in_the_request(calling, refusing, said):
    code = refusing("stored_batches")
    caller = calling(intake="store")
    text = said(post(caller).data, caller.get("/readyz").data)
    assert MARK not in text
    assert code in text


def test_a_batch_that_nothing_can_take(calling, refusing, said, tmp_path):
    refusing("stored_batches")
    (tmp_path / "file").touch()
    caller = calling(redis_url=AWAY["redis_url"], spool_dir=str(tmp_path / "file"))
    reply = post(caller)
    assert MARK not in said(reply.data)


@pytest.mark.parametrize("refusing", REFUSALS, indirect=True)
def test_a_batch_in_the_worker(calling, refusing, said, settings):
    caller = calling(intake="stream")
    post(caller)
    code = refusing("stored_batches")
    store(settings)
    text = said()
    assert MARK not in text
    assert code in text


def test_privacy_work(calling, refusing, said, settings, database, monkeypatch):
    post(calling(intake="store"))
    code = refusing("stored_batches", "DELETE")
    database.execute(
        "INSERT INTO privacy_requests (kind, shop_domain, source, requested_at, subject)"
        " VALUES ('erase_customer', %s, 'customers/redact', now(), %s)",
        [SHOP, json.dumps({"customer_id": MARK})],
    )
    duty = Housekeeping(
        lambda: connect(settings.database_url, "housekeeping"),
        Work(Journals.of(settings)),
        Retention(events=30, rejected=30, user_agents=30),
    )
    duty.run(Stop(2))
    text = said()
    assert MARK not in text
    assert code in text


def test_a_replay(calling, refusing, said, settings, database, monkeypatch):
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    post(calling(intake="store"), marked(timestamp="never"))
    payload = marked()
    database.execute("UPDATE rejected_events SET payload = %s", [json.dumps(payload)])
    code = refusing("stored_batches")
    result = CliRunner().invoke(rejected, ["replay"])
    assert result.exit_code == 1
    assert code in result.output
    assert MARK not in result.output
    assert MARK not in said()


def test_an_erasure_by_hand(calling, refusing, said, settings, monkeypatch):
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("config.logs.configure", lambda *_: None)
    monkeypatch.setattr("app.privacy.commands._ERASE_TIMEOUT", 1.0)
    post(calling(intake="store"))
    refusing("stored_batches", "DELETE")
    result = CliRunner().invoke(privacy, ["erase", "--shop", SHOP, "--customer", MARK])
    assert result.exit_code == 1
    assert MARK not in result.output
    assert MARK not in said()


def test_the_reports(calling, refusing, said, settings, monkeypatch):
    monkeypatch.setattr("app.worker.reporting._QUIET", 0.0)
    post(calling(intake="store"), marked(event="product_page:page_view"))
    code = refusing("report_values")
    Reporting(lambda: connect(settings.database_url, "reporting")).run(Stop(4))
    text = said()
    assert MARK not in text
    assert code in text


def test_a_row_that_takes_too_long_is_not_shown(calling, said, settings, database):
    caller = calling(intake="stream")
    post(caller)
    database.execute(
        "CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(9); RETURN NEW; END $$"
    )
    database.execute(
        "CREATE TRIGGER sleep BEFORE INSERT ON stored_batches FOR EACH ROW EXECUTE FUNCTION sleep()"
    )
    try:
        with connect(settings.database_url, "worker") as connection:
            batch = parse_first(settings)
            with pytest.raises(psycopg.errors.QueryCanceled) as raised:
                Writer(statement_timeout=100).write(connection, [batch])
        assert MARK in str(raised.value)
        logging.getLogger("app").error("no", exc_info=raised.value)
        assert MARK not in said(cause(raised.value), trace(raised.value))
    finally:
        database.execute("DROP TRIGGER sleep ON stored_batches; DROP FUNCTION sleep")


def parse_first(settings):
    stream = keys.stream(0)
    with worker_client(settings) as client:
        [(id_, fields)] = client.xrange(stream)
    return parse(Entry(stream, id_, fields, 0))


def test_an_error_that_led_to_another_is_not_quoted_either(lines):
    try:
        try:
            raise psycopg.errors.UniqueViolation(f"Key (id)=({MARK}) exists")
        except psycopg.Error as error:
            raise ExceptionGroup("several", [ValueError(MARK), error]) from error
    except ExceptionGroup:
        logging.getLogger("app").exception("failed")
    assert MARK not in lines.getvalue()
    assert "UniqueViolation" in lines.getvalue()
    assert "ValueError" in lines.getvalue()


def test_an_error_among_a_librarys_words_is_not_quoted_either(lines):
    error = psycopg.errors.UniqueViolation(MARK)
    logging.getLogger("some.library").warning("it failed: %s", error)
    words = f"Task exception was never retrieved\nfuture: {error!r}"
    logging.getLogger("asyncio").error(words)
    assert MARK not in lines.getvalue()
    assert lines.getvalue().count("it failed: UniqueViolation: 23505") == 2
    assert lines.getvalue().count("never retrieved") == 2


def test_a_text_that_another_handler_has_made_is_made_anew(lines):
    try:
        raise psycopg.errors.UniqueViolation(MARK)
    except psycopg.Error:
        logger = logging.getLogger("app")
        first = logging.StreamHandler(io.StringIO())
        logger.addHandler(first)
        logger.exception("failed")
        logger.removeHandler(first)
    assert MARK in first.stream.getvalue()
    assert MARK not in lines.getvalue()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(111, "Connection refused"), "ConnectionRefusedError: Connection refused"),
        (ValueError(MARK), "ValueError"),
        (TypeError("'int' object is not iterable"), "TypeError: 'int' object is not iterable"),
        (psycopg.OperationalError("connection failed: to 10.0.0.1"),
         "OperationalError: connection failed: to 10.0.0.1"),
        (psycopg.OperationalError(
            f"consuming input failed: terminating connection due to administrator command\n"
            f"CONTEXT:  COPY batches, line 1: \"{MARK}\""
         ), "OperationalError: terminating connection due to administrator command"),
        (psycopg.OperationalError(MARK), "OperationalError"),
        (psycopg.errors.UndefinedTable(MARK), "UndefinedTable: 42P01"),
    ],
)  # fmt: skip
def test_a_cause_tells_what_is_safe_to_tell(error, told):
    assert cause(error) == told


def test_of_redis_the_code_is_told():
    assert cause(redis.ResponseError(f"OOM command not allowed {MARK}")) == "ResponseError: OOM"
    assert cause(redis.ResponseError(MARK)) == "ResponseError"
    assert (
        cause(redis.ConnectionError("Error 111 connecting"))
        == "ConnectionError: Error 111 connecting"
    )
