"""A cluster of a test's own: its slots are moved, its primaries killed and frozen."""

import os
import signal
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress

import redis
from redis.crc import key_slot

from app.intake import keys
from tests.processes.running import free_port, wait_until
from tests.redis_servers import KEEPS, VALKEY, port_of, redis_server

NODE_TIMEOUT = 1.0  # s of silence after which the others give a primary up
_SLOTS = 16_384


class Cluster:
    def __init__(self, servers, primaries):
        self.servers = servers
        self.primaries = servers[:primaries]
        self.url = servers[-1].url  # any node will do, a replica too
        self.frozen = []
        ids = [server.execute_command("CLUSTER MYID") for server in servers]
        for number, server in enumerate(servers):
            server.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            servers[0].execute_command("CLUSTER MEET", "127.0.0.1", port_of(server), server.bus)
        share = _SLOTS // primaries
        for number, server in enumerate(self.primaries):
            last = _SLOTS if number == primaries - 1 else share * (number + 1)
            server.execute_command("CLUSTER ADDSLOTSRANGE", share * number, last - 1)
        wait_until(lambda: all(self.knows_all(server) for server in servers))
        for number, replica in enumerate(servers[primaries:]):
            replica.execute_command("CLUSTER REPLICATE", ids[number % primaries])
        wait_until(lambda: self.roles()["slave"] == len(servers) - primaries)
        wait_until(self.is_whole, 40)

    def knows_all(self, server):
        told = server.execute_command("CLUSTER NODES")  # by address
        return len(told) == len(self.servers) and not any(
            "handshake" in one["flags"] for one in told.values()
        )

    def is_ok(self, server):
        if server.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            return False
        told = server.info("replication")
        return told["role"] == "master" or told["master_link_status"] == "up"

    def is_whole(self):
        return all(self.is_ok(server) and self.knows_all(server) for server in self.servers)

    def roles(self):
        return Counter(server.info("replication")["role"] for server in self.servers)

    def owner(self, partition):
        """The server that has a partition's slot, as the others see it."""
        slot = key_slot(keys.stream(partition).encode())
        for server in self.servers:
            if server in self.frozen:
                continue
            with suppress(redis.ConnectionError, redis.TimeoutError):
                for start, end, (_, port, *_), *_ in server.execute_command("CLUSTER SLOTS"):
                    if start <= slot <= end:
                        return next(one for one in self.servers if port_of(one) == port)
        raise AssertionError("nobody has the slot")

    def owners(self):
        """The primaries, in the order of their slots' first ones."""
        return list(dict.fromkeys(map(self.owner, range(64))))

    def move(self, partition, between=lambda: None):
        """Move a partition's slot to another primary; `between` is called when half is done."""
        source = self.owner(partition)
        target = next(one for one in self.owners() if one is not source)
        self.begin_to_move(partition, source, target)
        between()
        self.end_to_move(partition, source, target)

    def move_whole(self, partition):
        """The same as one step of the servers' own, with all its keys: Valkey 9 and later."""
        source = self.owner(partition)
        target = next(one for one in self.owners() if one is not source)
        slot = key_slot(keys.stream(partition).encode())
        id_ = target.execute_command("CLUSTER MYID")
        source.execute_command("CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", id_)
        wait_until(lambda: self.owner(partition) is target)

    def begin_to_move(self, partition, source, target):
        slot = key_slot(keys.stream(partition).encode())
        ids = {one: one.execute_command("CLUSTER MYID") for one in (source, target)}
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])

    def take_keys_over(self, partition, source, target):
        slot = key_slot(keys.stream(partition).encode())
        while names := source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            source.execute_command(
                "MIGRATE", "127.0.0.1", port_of(target), "", 0, 5000, "KEYS", *names
            )

    def end_to_move(self, partition, source, target):
        self.take_keys_over(partition, source, target)
        slot = key_slot(keys.stream(partition).encode())
        id_ = target.execute_command("CLUSTER MYID")
        others = [one for one in self.owners() if one not in (source, target)]
        for server in (target, source, *others):
            server.execute_command("CLUSTER SETSLOT", slot, "NODE", id_)

    def kill(self, server):
        os.kill(server.pid, signal.SIGKILL)
        self.frozen.append(server)

    def freeze(self, server):
        os.kill(server.pid, signal.SIGSTOP)
        self.frozen.append(server)

    def thaw(self, server):
        os.kill(server.pid, signal.SIGCONT)
        self.frozen.remove(server)

    def waiting(self):
        """How many entries wait in all streams."""
        return sum(
            server.xlen(name)
            for server in self.owners()
            for name in server.scan_iter(match="{t*}:stream", _type="stream")
        )

    def empty(self):
        for server in self.primaries:
            server.flushall()


@contextmanager
def cluster(folder, *, program=VALKEY, primaries=3, replicas=0, **options):
    options = {
        **KEEPS,
        "cluster-enabled": "yes",
        "cluster-node-timeout": int(NODE_TIMEOUT * 1000),
        "repl-diskless-sync-delay": 0,
        **options,
    }
    with ExitStack() as stack:
        servers = []
        for number in range(primaries + replicas):
            bus = free_port()
            server = stack.enter_context(
                redis_server(program, folder / f"node{number}", **options, **{"cluster-port": bus})
            )
            server.bus = bus
            servers.append(server)
        yield Cluster(servers, primaries)
