"""Who asks where the partitions are waits but a moment."""

import socket
import time
from contextlib import closing

import pytest
from redis import TimeoutError as RedisTimeout

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
