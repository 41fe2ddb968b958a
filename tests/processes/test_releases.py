"""Two releases side by side, as while one is deployed, and after it was rolled back: the newer one
has a column of `batches` that the older does not know."""

import json
import shutil

import pytest

from tests.calls import CONTEXT, body, event
from tests.processes.running import ROOT, flask, wait_until
from tests.processes.test_processes import SUCCESS, post

pytestmark = pytest.mark.slow

AWAY = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
PATHS = {"$pathname": "/products/tshirt"}


@pytest.fixture
def newer(tmp_path, settings, database):
    """The folder of a release with one more column, which has been migrated to."""
    folder = tmp_path / "newer"
    for name in ("app", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Procfile", folder)
    patch(folder / "app/batch/batch.py", '    "os",\n)', '    "os",\n    "pathname",\n)')
    patch(folder / "app/tracking/schemas.py", "CONTEXT_COLUMNS = {", PATCHED)
    migration = folder / "app/store/migrations/9999_pathname.sql"
    migration.write_text(
        "ALTER TABLE contexts ADD COLUMN pathname text;"
        "ALTER TABLE stored_batches ADD COLUMN pathname text;"
    )
    assert flask(settings, "db", "upgrade", release=folder).returncode == 0
    yield folder
    database.execute(
        "ALTER TABLE contexts DROP COLUMN pathname; ALTER TABLE stored_batches DROP COLUMN pathname"
    )
    database.execute("DELETE FROM schema_migrations WHERE number = 9999")


PATCHED = 'CONTEXT_COLUMNS = {\n    "$pathname": "pathname",'


def patch(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.fixture
def sent():
    """The ids that were sent, with the path that is to be stored with each."""
    return {}


@pytest.fixture
def send(sent):
    """Sends batches; `path` where it is the newer release that takes them."""

    def send(web, number=20, path=None):
        for _ in range(number):
            events = [event(), event()]
            reply = post(web, body(*events, context=CONTEXT | PATHS))
            assert reply == (200, SUCCESS)
            sent.update({one["$insert_id"]: path for one in events})

    return send


@pytest.fixture
def assert_stored(database, sent):
    """All that was sent is stored, once and with its path, and nothing was rejected."""

    def is_stored():
        rows = database.execute(
            "SELECT insert_id, contexts.pathname FROM events"
            " JOIN stored_batches b ON b.id = batch_id"
            " LEFT JOIN contexts ON contexts.shop_id = b.shop_id AND contexts.id = page_part"
        ).fetchall()
        assert len(rows) == len({id_ for id_, _ in rows})
        return dict(rows) == sent

    def assert_stored(seconds):
        wait_until(is_stored, seconds)
        assert database.execute("SELECT * FROM rejected_events").fetchall() == []

    return assert_stored


def waiting(settings):
    return json.loads(flask(settings, "status", "--json").stdout)["newer_batches"]


def test_events_of_a_new_web_wait_for_the_new_worker(
    newer, start_web, start_worker, settings, database, send, assert_stored
):
    old_worker = start_worker()
    old_web, new_web = start_web(), start_web(release=newer)
    send(new_web, path="/products/tshirt")
    send(old_web)
    wait_until(lambda: waiting(settings) == 20)
    wait_until(lambda: database.execute("SELECT count(*) FROM events").fetchone() == (40,))
    assert old_worker.output().count("newer_entries") == 1

    start_worker(release=newer)
    assert_stored(seconds=10)
    send(new_web, path="/products/tshirt")  # to the two workers side by side
    send(old_web)
    assert_stored(seconds=20)
    assert waiting(settings) == 0


def test_after_a_rollback_the_events_of_the_newer_release_are_kept_for_its_return(
    newer, start_web, start_worker, settings, redis_client, database, send, assert_stored
):
    new_web = start_web(release=newer)
    send(new_web, path="/products/tshirt")
    new_web.terminate()
    spooling = start_web(release=newer, **AWAY)
    send(spooling, 3, path="/products/tshirt")
    spooling.terminate()

    old_web, old_worker = start_web(), start_worker()
    send(old_web)
    for _ in range(2):  # its successor finds them set aside
        wait_until(lambda: waiting(settings) == 20)
        wait_until(lambda: database.execute("SELECT count(*) FROM events").fetchone() == (40,))
        assert redis_client.xlen("{t0}:stream") == 20
        old_worker.kill()
        old_worker = start_worker()
    assert "newer_entries" in old_web.output()
    assert database.execute("SELECT * FROM rejected_events").fetchall() == []

    old_web.terminate()
    start_web(release=newer)
    start_worker(release=newer)
    assert_stored(seconds=20)
