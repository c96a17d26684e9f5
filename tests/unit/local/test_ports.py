"""Ports: the wanted one, else a free one nearby, and the same again."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.errors import PortError
from infra.local.ports import HIGHEST, OFFSET, Choice, choose, claim, is_free, listens


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def ports(chosen: dict[str, Choice]) -> dict[str, int]:
    return {name: choice.port for name, choice in chosen.items()}


def test_wanted_ports_when_they_are_free() -> None:
    assert ports(choose({"a": 9092, "b": 9042}, {}, lambda _: True)) == {"a": 9092, "b": 9042}


def test_a_taken_port_moves_up() -> None:
    assert ports(choose({"a": 9092}, {}, lambda port: port != 9092)) == {"a": 9092 + OFFSET}


def test_two_names_never_share_a_port() -> None:
    chosen = ports(choose({"a": 9092, "b": 9092}, {}, lambda _: True))
    assert len(set(chosen.values())) == 2


def test_a_remembered_port_is_kept_even_when_the_wanted_one_is_free_again() -> None:
    assert ports(choose({"a": 9092}, {"a": Choice(wanted=9092, port=19500)}, lambda _: True)) == {"a": 19500}


def test_a_remembered_port_is_given_up_when_taken_or_when_another_is_wanted() -> None:
    remembered = {"a": Choice(wanted=9092, port=19500)}
    assert ports(choose({"a": 9092}, remembered, lambda port: port != 19500)) == {"a": 9092}
    assert ports(choose({"a": 9095}, remembered, lambda _: True)) == {"a": 9095}


def test_a_high_wanted_port_still_finds_a_second_choice() -> None:
    chosen = ports(choose({"a": 45_000}, {}, lambda port: port != 45_000))
    assert 1024 <= chosen["a"] < HIGHEST


def test_nothing_free() -> None:
    with pytest.raises(PortError, match="a near 9092"):
        choose({"a": 9092}, {}, lambda _: False)


def test_a_listener_is_seen(listener: int) -> None:
    assert listens(listener)
    assert not is_free(listener)


def test_claimed_ports_come_back(tmp_path: Path, listener: int) -> None:
    first = claim(tmp_path, {"a": listener})
    assert first["a"] != listener
    assert claim(tmp_path, {"a": listener}) == first
    assert claim(tmp_path, {"b": first["a"] + 1})
    assert claim(tmp_path, {"a": listener}) == first
