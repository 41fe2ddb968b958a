"""Who asks where the partitions are waits but a moment."""

import socket
import time
from contextlib import closing

import pytest
from redis import TimeoutError as RedisTimeout
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from app.intake import keys
from app.intake import nodes as nodes_module
from app.intake.nodes import Nodes
from app.intake.redis_client import client_of


@pytest.fixture
def full_backlog():
    """The port of a server that no connection gets through to."""
    listening = socket.socket()
    waiting = [socket.socket() for _ in range(4)]
    with closing(listening):
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.fixture
def silent():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("server", ["full_backlog", "silent"])
def test_a_server_that_does_not_answer_is_waited_for_a_quarter_of_a_second(request, server):
    """The first client, which has more time for its work, is none that anybody waits for here."""
    port = request.getfixturevalue(server)
    with closing(Nodes(client_of(f"redis://127.0.0.1:{port}", 5.0))) as nodes:
        started = time.monotonic()
        with pytest.raises(RedisTimeout):
            nodes.refresh()
        assert 0.2 < time.monotonic() - started < 0.7
        assert (nodes.is_cluster, nodes.all()) == (None, [nodes.first])


def address(client):
    pool = client.connection_pool
    return next(iter(pool.connection_kwargs["places"].candidates()))


@pytest.fixture
def nodes():
    with closing(Nodes(client_of("redis://first:7000", 1.0))) as nodes:
        yield nodes


def test_where_nothing_is_known_the_first_server_has_all(nodes):
    assert (nodes.is_cluster, nodes.of(5), nodes.all()) == (None, nodes.first, [nodes.first])
    assert nodes.by_node([3, 1]) == {nodes.first: [3, 1]}


@pytest.mark.parametrize(
    ("told", "where"), [("other:7001", ("other", 7001)), (":7002", ("first", 7002))]
)
def test_a_node_that_moved_is_followed_and_remembered(nodes, told, where):
    """One that knows no name of its own has the one of who says so."""
    error = MovedError(f"{key_slot(b'{t5}:stream')} {told}")
    found = nodes.follow(nodes.first, error)
    assert address(found) == where
    assert nodes.is_cluster
    assert nodes.of(5) is found
    assert nodes.of(6) is nodes.first
    assert nodes.all() == [found]
    assert nodes.follow(nodes.first, error) is found


def test_a_node_that_is_named_for_one_command_is_not_remembered(nodes):
    found = nodes.follow(nodes.first, AskError(f"{key_slot(b'{t5}:stream')} other:7001"))
    assert address(found) == ("other", 7001)
    assert nodes.of(5) is nodes.first
    assert nodes.is_cluster is None


def test_a_call_goes_where_the_slot_has_moved_to_once(nodes):
    asked = []

    def command(node):
        asked.append(address(node))
        if len(asked) == 1:
            raise MovedError(f"{key_slot(b'{t0}:stream')} other:7001")
        return "answer"

    assert nodes.call(0, command) == "answer"
    assert asked == [("first", 7000), ("other", 7001)]


@pytest.mark.parametrize(
    ("node", "where"),
    [
        ([b"h", 7001, b"id"], ("h", 7001)),
        ([b"", 7001], ("asked", 7001)),
        ([b"?", 7001], ("asked", 7001)),
        ([None, 7001], ("asked", 7001)),
    ],
)
def test_a_node_of_the_map_that_names_itself_by_nothing_is_where_it_was_asked(node, where):
    assert nodes_module._address(node, ("asked", 6379)) == where


def test_the_partitions_with_a_stream_are_found_by_few_commands(redis_url, redis_client):
    there = [0, 63, 64, 700, keys.MOST_PARTITIONS - 1]
    for partition in there:
        redis_client.xadd(keys.stream(partition), {"a": "b"})
    with closing(Nodes(client_of(redis_url, 1.0))) as nodes:
        nodes.refresh()
        before = redis_client.info("stats")["total_commands_processed"]
        assert nodes.partitions() == there
        # Four groups of 64 have one.
        most = keys.MOST_PARTITIONS / 64 + 4 * 64
        assert redis_client.info("stats")["total_commands_processed"] - before < most + 10
