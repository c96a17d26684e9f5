"""A TCP proxy in front of Cassandra that can cut every connection, or keep them and let nothing through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["pass", "cut", "stall"]


class CassandraProxy:
    """Relays bytes both ways while it may. What is held in `stall` goes on afterwards, late."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: set[socket.socket] = set()
        self._passing = threading.Event()
        self._passing.set()
        self._cut = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def become(self, mode: Mode) -> None:
        self._cut = mode == "cut"
        if mode == "stall":
            self._passing.clear()
        else:
            self._passing.set()
        if mode == "cut":
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()
        self.become("cut")

    def _accept(self) -> None:
        with suppress(OSError):  # the server was closed
            while True:
                client, _ = self._server.accept()
                if self._cut:
                    client.close()
                    continue
                cassandra = socket.create_connection(self._target)
                self._open |= {client, cassandra}
                for source, sink in ((client, cassandra), (cassandra, client)):
                    threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one side hung up
            while data := source.recv(65_536):
                self._passing.wait()
                sink.sendall(data)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            self._open.discard(connection)
            connection.close()


@contextmanager
def cassandra_proxy(host: str, port: int) -> Iterator[CassandraProxy]:
    proxy = CassandraProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
