"""Passages of a source as tests compare them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from infra.contracts import codec
from infra.contracts.events import Event
from ingest.importers.passages import Passage


def plain(passages: Iterable[Passage]) -> list[Any]:
    """Passages as values: exceptions are equal only to themselves."""
    return [(replace(p, problems=()), [(one.code, one.field, one.message) for one in p.problems]) for p in passages]


def events(passages: Iterable[Passage]) -> list[Event]:
    """Their events in order."""
    return [codec.decode(record.raw) for passage in passages for record in passage.records]
