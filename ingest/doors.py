"""Every path that takes events: which media types it understands, and what reads a body of each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ingest import bodies, cloudevents, segment
from ingest.bodies import Batch, Headers

#: Reads a body. Raises `Refused` when it is none of what the path takes.
Parser = Callable[[bytes], Batch]


def parser_of(parsers: Mapping[str, Parser], media: str, headers: Headers) -> Parser:
    """What reads this body: a CloudEvent in binary mode is known by its headers alone."""
    if cloudevents.is_binary(headers) and media == bodies.JSON and cloudevents.ONE in parsers:
        return partial(cloudevents.parse_binary, headers=headers)
    return parsers[media]


_CLOUDEVENTS: Final[Mapping[str, Parser]] = {
    cloudevents.ONE: cloudevents.parse,
    cloudevents.MANY: cloudevents.parse_many,
}

DOORS: Final[Mapping[str, Mapping[str, Parser]]] = {
    "/v1/events": {bodies.JSON: bodies.parse_events, bodies.NDJSON: bodies.parse_lines, **_CLOUDEVENTS},
    "/v1/batch": {bodies.JSON: segment.parse_either, **_CLOUDEVENTS},
    # Where Segment's clients for Ruby and Java send to.
    "/v1/import": {bodies.JSON: segment.parse_calls},
    **{f"/v1/{call}": {bodies.JSON: partial(segment.parse_call, call)} for call in segment.CALLS},
}
