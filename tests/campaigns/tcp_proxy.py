"""A TCP proxy whose line can be cut, slowed down, or held at a certain word."""

import contextlib
import socket
import struct
import threading
import time

PASS, REFUSE, RESET, BLACK_HOLE, LATE = "pass", "refuse", "reset", "black hole", "late"
DELAY = 0.3  # s, in each direction


class TcpProxy:
    """Listens on a port of 127.0.0.1 for `upstream`: (host, port), or the path of a socket."""

    def __init__(self, upstream):
        self._upstream = upstream
        self._mode = PASS
        self._hold_at = None
        self.held = threading.Event()
        self._sockets = set()
        self._is_closed = False
        self._listen(0)

    def _listen(self, port):
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def switch(self, mode):
        was, self._mode = self._mode, mode
        if mode in (REFUSE, RESET):
            self._reset_all()
        if mode == REFUSE:
            self._close_listener()
        elif was == REFUSE:
            self._listen(self.port)
        elif was == BLACK_HOLE:
            self._reset_all()  # what was swallowed does not come back

    def hold_at(self, word):
        """From now on, stop a connection for good just before this word goes upstream; with b"" as
        the word, before the next answer comes down. `held` is set then."""
        self.held.clear()
        self._hold_at = word

    def let_go(self):
        self._hold_at = None
        self._reset_all()

    def close(self):
        self._is_closed = True
        self._close_listener()
        self._reset_all()

    def _close_listener(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _reset_all(self):
        with contextlib.suppress(KeyError):
            while True:
                _reset(self._sockets.pop())

    def _accept(self, listener):
        while True:
            try:
                down, _ = listener.accept()
            except OSError:
                return
            if self._mode == RESET:
                _reset(down)
                continue
            threading.Thread(target=self._connect, args=[down], daemon=True).start()

    def _connect(self, down):
        is_path = isinstance(self._upstream, str)
        up = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        try:
            up.connect(self._upstream)
        except OSError:
            _reset(down)
            up.close()
            return
        self._sockets |= {down, up}
        if self._is_closed:
            self._reset_all()
        threading.Thread(target=self._pump, args=[down, up, True], daemon=True).start()
        self._pump(up, down, False)

    def _pump(self, source, target, is_upward):
        """Returns where the line goes dead; its sockets stay open until all are reset."""
        try:
            while chunk := source.recv(65536):
                if self._is_held(chunk, is_upward):
                    self.held.set()
                    return
                if self._mode == BLACK_HOLE:
                    return
                if self._mode == LATE:
                    time.sleep(DELAY)
                target.sendall(chunk)
        except OSError:
            pass
        for one in (source, target):
            self._sockets.discard(one)
            _reset(one)

    def _is_held(self, chunk, is_upward):
        if self._hold_at is None:
            return False
        if self._hold_at:
            return is_upward and self._hold_at in chunk
        return not is_upward


def _reset(one):
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    one.close()
