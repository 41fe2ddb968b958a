"""Connections of redis-py that lead to the server that takes writes, and that leave it when it no
longer does.

A server is asked when a connection is new, and then once a second: one that was demoted still
answers whatever only reads.
"""

import time
from collections.abc import Callable
from typing import Any

from redis import Connection, SSLConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from app.intake.places import Places
from app.intake.trust import Info, read
from config.redis_url import Address

_ASK_EVERY = 1.0  # s
# The server is not the one to ask any more. (LOADING is a ConnectionError in redis-py.)
ELSEWHERE = (ReadOnlyError, MasterDownError)
_NO_REPLICAS = "NOREPLICAS"  # a primary that was cut off: another one may have taken its place


class NotPrimary(ConnectionError):
    """What answers is not the one to ask. Its text says what it is, for the operator."""


def require_primary(info: Info) -> None:
    """NotPrimary. What a server does not tell counts for it."""
    if info.get("redis_mode") == "sentinel":
        raise NotPrimary("is a Sentinel: its address begins with redis+sentinel://")
    if str(info.get("loading", "0")) == "1":
        raise NotPrimary("is loading its data")
    if is_of_cluster(info):
        return  # its nodes say with each key who has it
    if info.get("role", "master") != "master":
        raise NotPrimary("is a replica")


def is_of_cluster(info: Info) -> bool:
    return str(info.get("cluster_enabled", "0")) == "1"


def is_elsewhere(error: object) -> bool:
    """Whether a reply says that another server is to be asked."""
    if isinstance(error, ELSEWHERE):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_NO_REPLICAS)


class PrimaryConnection(Connection):
    def __init__(
        self,
        *,
        places: Places,
        admit: Callable[[Info], None] = lambda info: None,
        **options: Any,
    ) -> None:
        """`admit` is told about the server at the end of each new connection; what it raises,
        whoever connects raises."""
        super().__init__(redis_connect_func=_greet, **options)  # type: ignore[no-untyped-call]
        self.places, self.admit = places, admit
        self.asked_at = 0.0  # monotonic

    @property
    def address(self) -> Address:
        return self.host, self.port

    def connect(self) -> None:
        if self.is_connected:
            return
        failure: Exception = ConnectionError("there is no address to connect to")
        for host, port in self.places.candidates():
            self.host, self.port = host, port
            try:
                super().connect()  # type: ignore[no-untyped-call]
            except (ConnectionError, TimeoutError) as error:
                self.places.leave(self.address)
                failure = error
            else:
                self.places.found(self.address)
                return
        raise failure

    def check_health(self) -> None:
        super().check_health()  # type: ignore[no-untyped-call]
        if time.monotonic() < self.asked_at + _ASK_EVERY:
            return
        self.asked_at = float("inf")  # what follows is sent by way of here
        if not self.places.is_current(self.address) or not self._is_primary():
            self.disconnect()  # type: ignore[no-untyped-call]
            # Not silently to another server: whoever reads a stream must begin anew there.
            raise ConnectionError("the primary is elsewhere")
        self.asked_at = time.monotonic()

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except (ConnectionError, TimeoutError):
            self.places.leave(self.address)
            raise
        except ResponseError as error:
            if is_elsewhere(error):
                self.places.leave(self.address)
                self.disconnect()  # type: ignore[no-untyped-call]
            raise

    def _is_primary(self) -> bool:
        try:
            require_primary(ask(self, "replication", "cluster"))
        except NotPrimary:
            self.places.leave(self.address)
            return False
        return True


class EncryptedPrimaryConnection(PrimaryConnection, SSLConnection):
    pass


def ask(connection: Connection, *sections: str) -> Info:
    """INFO over this connection; nothing where its user may not ask. redis.RedisError."""
    connection.send_command("INFO", *sections, check_health=False)  # type: ignore[no-untyped-call]
    try:
        return read(connection.read_response())
    except NoPermissionError:
        return {}


def _greet(connection: PrimaryConnection) -> None:
    connection.asked_at = float("inf")
    connection.update_current_socket_timeout(connection.socket_connect_timeout)
    connection.on_connect()  # type: ignore[no-untyped-call]
    info = ask(connection)
    require_primary(info)
    connection.admit(info)
    connection.update_current_socket_timeout(-1)  # its own
    connection.asked_at = time.monotonic()
