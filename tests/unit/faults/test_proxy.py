"""The fault proxy before an echo: each fault does what it says, and nothing once it is over."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import BLACKHOLE, CLEAR, CUT, HELD, LOST_ANSWERS, Controls, Fault, proxied

SILENCE = 0.3


@pytest.fixture
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that sends back what it gets, and what it got."""
    got: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65_536):
                    got.append(data)
                    client.sendall(data)
            except ConnectionError:
                return

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], got
    server.close()


@pytest.fixture
def proxy(echo: tuple[int, list[bytes]]) -> Iterator[Controls]:
    with proxied("127.0.0.1", echo[0]) as proxy:
        yield proxy


def connect(proxy: Controls) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def ask(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    answer = b""
    while len(answer) < len(text):
        answer += client.recv(65_536)
    return answer


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def is_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_bytes_pass_both_ways(proxy: Controls) -> None:
    with connect(proxy) as client:
        text = bytes(range(256)) * 4_000
        assert ask(client, text) == text


def test_a_cut_resets_what_is_open_and_what_comes(proxy: Controls) -> None:
    with connect(proxy) as client:
        ask(client, b"before")
        proxy.become(CUT)
        assert is_reset(client)
    with connect(proxy) as client:
        assert is_reset(client)
    proxy.become(CLEAR)
    with connect(proxy) as client:
        assert ask(client, b"after") == b"after"


@pytest.mark.parametrize(("fault", "arrives"), [(BLACKHOLE, False), (LOST_ANSWERS, True)], ids=["both", "answers"])
def test_what_is_swallowed_is_not_told_and_its_connection_ends_with_the_fault(
    proxy: Controls, echo: tuple[int, list[bytes]], fault: Fault, arrives: bool
) -> None:
    with connect(proxy) as client:
        ask(client, b"before")
        proxy.become(fault)
        client.sendall(b"lost")
        assert is_silent(client)
        assert (b"lost" in echo[1]) is arrives
        proxy.become(CLEAR)
        assert is_reset(client)


def test_what_is_held_arrives_late_and_whole(proxy: Controls) -> None:
    with connect(proxy) as client:
        ask(client, b"before")
        proxy.become(HELD)
        client.sendall(b"held")
        assert is_silent(client)
        proxy.become(CLEAR)
        assert client.recv(10) == b"held"


def test_a_blackhole_opens_after_so_many_bytes(proxy: Controls) -> None:
    with connect(proxy) as client:
        proxy.become(Fault(swallow_after=10))
        assert ask(client, b"12345") == b"12345"
        client.sendall(b"6")
        assert is_silent(client)


def test_latency_delays_and_does_not_throttle(proxy: Controls) -> None:
    proxy.become(Fault(latency=0.1))
    with connect(proxy) as client:
        began = time.monotonic()
        text = b"x" * 500_000
        assert ask(client, text) == text
        assert time.monotonic() - began >= 0.2


def test_bandwidth_and_pieces_throttle(proxy: Controls) -> None:
    proxy.become(Fault(bandwidth=100_000, piece=1_000))
    with connect(proxy) as client:
        began = time.monotonic()
        text = b"x" * 30_000
        assert ask(client, text) == text
        assert time.monotonic() - began >= 0.3
