"""Numbers say as of when, how complete, and which of them are final."""

from datetime import UTC, datetime, timedelta
from typing import Any

import datasketches
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Refused
from api.numbers.freshness import LogEnds, Progress, judge
from api.numbers.windows import span_of
from api.state import State
from infra.contracts.interactions import INTERACTIONS
from infra.contracts.metrics import METRICS, SKETCH_LG_K
from infra.contracts.windows import DAY, GRAINS, HOUR, MINUTE, WATERMARK_DELAY, Grain
from tests.unit.api.conftest import NOW, Client
from tests.unit.api.memory import MemoryDatabase

MINUTE_NOW = MINUTE.start(NOW)


def put(
    database: MemoryDatabase, start: datetime, grain: Grain = MINUTE, *, source: str = "stream", **row: Any
) -> None:
    key = ("acme", "tenant", grain.name, grain.period_of(start), source)
    database.windows.setdefault(key, {})[start] = dict(row)


async def get(client: Client, query: str = "", metric: str = "messages_sent") -> Any:
    reply = await client("read").get(f"/v1/metrics/{metric}?{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_the_registry_is_the_contract(client: Client):
    listed = (await client("read").get("/v1/metrics")).json()["metrics"]
    assert [entry["name"] for entry in listed] == [*METRICS, *INTERACTIONS]
    assert {entry["name"] for entry in listed if entry["approximate"]} == {
        *("contributors", "active_users", "responders", "messages_per_sender"),
        *("dau", "wau", "mau", "stickiness"),
        *("response_time_p50", "response_time_p90", "response_time_p95"),
    }
    made = {entry["name"]: (entry["measures"], entry["formula"], entry["error"]) for entry in listed}
    assert made["messages_sent"] == (["sent"], "sent", None)
    assert made["messages_per_sender"] == (["sent", "contributors"], "sent / contributors", 0.0163)
    assert made["flagged_rate"][1] == "(held + blocked) / (sent + edited + held + blocked)"
    assert made["stickiness"] == (["active"], "active / active in 30 days", 0.023)


async def test_points_are_final_once_the_watermark_has_passed_their_end(client: Client, database: MemoryDatabase):
    for minutes, sent in ((4, 5), (3, 6), (0, 7)):
        put(database, MINUTE_NOW - timedelta(minutes=minutes), sent=sent, revision=minutes)
    put(database, MINUTE_NOW - timedelta(minutes=2), sent=0, edited=3)
    watermark = MINUTE_NOW - timedelta(minutes=3)
    database.progress = (watermark, "{}", NOW - timedelta(seconds=1))
    body = await get(client)
    assert body["points"] == [
        {"start": "2026-03-14T11:56:00Z", "end": "2026-03-14T11:57:00Z", "value": 5, "final": True, "revision": 4},
        {"start": "2026-03-14T11:57:00Z", "end": "2026-03-14T11:58:00Z", "value": 6, "final": False, "revision": 3},
        {"start": "2026-03-14T12:00:00Z", "end": "2026-03-14T12:01:00Z", "value": 7, "final": False, "revision": 0},
    ]
    assert body["as_of"] == "2026-03-14T12:00:29Z"
    assert body["watermark"] == "2026-03-14T11:57:00Z"
    assert body["lag_seconds"] == 90.0
    assert body["complete"] is False


async def test_approximate_points_say_how_much(client: Client, database: MemoryDatabase):
    put(database, MINUTE_NOW, active=9)
    (point,) = (await get(client, metric="active_users"))["points"]
    assert point["approximate"] is True
    assert 0.01 < point["error"] < 0.02


async def values(client: Client, query: str, metric: str) -> list[float]:
    return [point["value"] for point in (await get(client, query, metric))["points"]]


async def test_a_ratio_is_made_of_its_window_and_has_no_point_without_anything_to_divide_by(
    client: Client, database: MemoryDatabase
):
    put(database, MINUTE_NOW - timedelta(minutes=4), sent=7, contributors=3, reactions=2, edited=1, held=1, blocked=1)
    put(database, MINUTE_NOW - timedelta(minutes=3), sent=2, contributors=1)
    put(database, MINUTE_NOW - timedelta(minutes=2), reactions=5)
    put(database, MINUTE_NOW - timedelta(minutes=1), source="batch", sent=9, contributors=2, held=3)
    assert await values(client, "", "messages_per_sender") == [2.333333, 2.0, 4.5]
    assert await values(client, "", "reaction_rate") == [0.285714, 0.0, 0.0]
    assert await values(client, "", "flagged_rate") == [0.2, 0.0, 0.25]
    points = (await get(client, metric="messages_per_sender"))["points"]
    assert [point.get("error") for point in points] == [0.0163, 0.0163, None]
    assert all("error" not in point for point in (await get(client, metric="reaction_rate"))["points"])


def sketched(*people: str) -> dict[str, Any]:
    sketch = datasketches.hll_sketch(SKETCH_LG_K, datasketches.tgt_hll_type.HLL_8)
    for person in people:
        sketch.update(person)
    return {"active": len(people), "active_sketch": bytes(sketch.serialize_compact())}


async def test_rolling_days_unite_people_and_a_quiet_day_has_its_week(client: Client, database: MemoryDatabase):
    """Cem came thirty days ago, bob eight, ann and eve five, and ann today; dan should not have been counted."""
    today = DAY.start(NOW)
    put(database, today - timedelta(days=30), DAY, revision=2, **sketched("cem"))
    put(database, today - timedelta(days=8), DAY, revision=3, **sketched("bob", "dan"))
    put(database, today - timedelta(days=8), DAY, source="batch", revision=4, **sketched("bob"))
    put(database, today - timedelta(days=5), DAY, revision=1, **sketched("ann", "eve"))
    put(database, today, DAY, revision=5, **sketched("ann"))
    query = f"from={today - timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}"
    assert await values(client, query, "dau") == [1, 2, 1]
    # Bob for seven days, ann and eve from the fourth of them on.
    assert await values(client, query, "wau") == [1, 1, 1, 3, 3, 3, 3, 2, 2]
    assert await values(client, query, "mau") == [1, 2, 2, 2, 4, 4, 4, 4, 4, 3]
    assert await values(client, query, "stickiness") == [0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.333333]
    dau = (await get(client, query, "dau"))["points"]
    assert [(point["revision"], "approximate" in point) for point in dau] == [(4, False), (1, True), (5, True)]
    last = (await get(client, query, "mau"))["points"][-1]
    assert (last["revision"], last["approximate"], last["error"]) == (10, True, 0.0163)
    assert (last["start"], last["end"]) == ("2026-03-14T00:00:00Z", "2026-03-15T00:00:00Z")


async def test_peaks_are_picked_from_the_finer_windows_of_each(client: Client, database: MemoryDatabase):
    hour = HOUR.start(NOW) - timedelta(hours=2)
    for start, sent in ((hour, 20), (hour + HOUR.width, 90)):
        put(database, start, HOUR, sent=sent, revision=7)
    # Four minutes of the first hour, of which 5 % are three; in the second it was one.
    for minute, sent in ((0, 2), (17, 9), (18, 4), (59, 3)):
        put(database, hour + timedelta(minutes=minute), sent=sent)
    put(database, hour + timedelta(minutes=17), source="batch", sent=11)
    put(database, hour + timedelta(minutes=60), sent=90)
    peaks = (await get(client, metric="peak_messages_per_minute"))["points"]
    assert [(point["value"], point["revision"]) for point in peaks] == [(11, 7), (90, 7)]
    assert await values(client, "", "p95_messages_per_minute") == [2]
    # A day has 24 hours, of which the busiest has 90 of 110.
    put(database, DAY.start(NOW), DAY, sent=110)
    assert await values(client, "", "peak_hour_factor") == [round(90 / (110 / 24), 6)]
    late = f"from={NOW - timedelta(hours=251):%Y-%m-%dT%H:%M:%SZ}"
    refused = await client("read").get(f"/v1/metrics/peak_messages_per_minute?{late}")
    assert (refused.status_code, "at most 250" in refused.json()["detail"]) == (400, True)
    assert (await get(client, f"{late}&grain=1h"))["points"] != []


async def test_a_metric_has_its_own_grains(client: Client):
    assert (await get(client, metric="mau"))["grain"] == "1d"
    assert (await get(client, metric="reaction_rate"))["grain"] == "1m"
    refused = await client("read").get("/v1/metrics/mau?grain=1h")
    assert (refused.status_code, refused.json()["detail"]) == (400, "mau has no grain 1h, only 1d.")
    early = await client("read").get("/v1/metrics/mau?from=0001-01-05T00:00:00Z&to=0001-01-06T00:00:00Z")
    assert early.status_code == 400


async def test_batch_replaces_stream_window_by_window(client: Client, database: MemoryDatabase):
    for source, hours in (("stream", (5, 4)), ("batch", (5,))):
        for hour in hours:
            put(database, HOUR.start(NOW) - timedelta(hours=hour), HOUR, source=source, active=10 + len(source))
    first, second = (await get(client, "grain=1h", metric="active_users"))["points"]
    assert (first["value"], first["final"], "approximate" in first) == (15, True, False)
    assert (second["value"], second["final"], second["approximate"]) == (16, False, True)


async def test_a_range_is_read_whole_across_partitions(client: Client, database: MemoryDatabase):
    midnight = NOW.replace(hour=0, minute=0, second=0)
    starts = [midnight + timedelta(minutes=minutes) for minutes in (-3, -1, 0, 2)]
    for start in starts:
        put(database, start, sent=1)
    query = f"from={starts[1]:%Y-%m-%dT%H:%M:%SZ}&to={starts[3]:%Y-%m-%dT%H:%M:%SZ}"
    assert [p["start"] for p in (await get(client, query))["points"]] == [
        "2026-03-13T23:59:00Z",
        "2026-03-14T00:00:00Z",
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("grain=5m", 422),
        ("scope=user:ann", 422),
        ("scope=channel:", 422),
        ("scope=everything", 422),
        ("from=2026-03-14", 422),
        ("from=2026-03-14T10:00:00", 422),
        ("from=2026-03-14T10:00:00Z&to=2026-03-14T09:00:00Z", 400),
        ("from=2020-01-01T00:00:00Z", 400),
        ("from=0001-01-01T00:00:00%2B14:00&grain=1d", 400),
        ("to=9999-12-31T23:59:59Z&from=9999-12-01T00:00:00Z&grain=1d", 400),
        ("scope=channel:nowhere", 404),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_reason(client: Client, query: str, status: int):
    reply = await client("read").get(f"/v1/metrics/messages_sent?{query}")
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert len(reply.json()["detail"]) > 10


async def test_a_metric_that_never_was_is_404(client: Client):
    assert (await client("read").get("/v1/metrics/no_such")).status_code == 404


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(st.sampled_from(GRAINS), moments, st.integers(1, 1_500))
def test_a_span_covers_its_range_and_its_partitions_cover_the_span(grain, since, points):
    until = since + points * grain.width
    span = span_of(grain, since, until, NOW, 2_000)
    assert span.start <= since < until <= span.end
    assert span.end - until < grain.width
    periods = list(span.periods())
    windows = [span.start + n * grain.width for n in range((span.end - span.start) // grain.width)]
    assert periods == list(dict.fromkeys(grain.period_of(window) for window in windows))


def test_too_many_points_are_refused():
    with pytest.raises(Refused, match="coarser"):
        span_of(MINUTE, NOW - timedelta(minutes=101), NOW, NOW, 100)
    assert span_of(DAY, None, None, NOW, 100).end == datetime(2026, 3, 15, tzinfo=UTC)


def test_numbers_are_complete_when_they_take_in_what_the_log_held_ten_seconds_ago():
    ends = LogEnds(10)
    progress = Progress(watermark=NOW, offsets={"events": {"0": 100, "1": 50}}, written_at=NOW)

    def complete(moment: float) -> bool:
        return judge(progress, ends, NOW, moment).is_complete(NOW + timedelta(hours=1))

    assert not complete(0)
    for moment, end in ((0, 90), (5, 100), (10, 120), (11, 130)):
        ends.observe(moment, {"events": {"0": end, "1": 50}})
    assert complete(11)
    ends.observe(16, {"events": {"0": 140, "1": 50}})
    assert complete(16)
    ends.observe(21, {"events": {"0": 150, "1": 50}})
    assert not complete(21)


def test_a_partition_left_behind_or_a_silent_kafka_is_not_complete():
    ends = LogEnds(10)
    progress = Progress(watermark=NOW, offsets={"events": {"0": 100}}, written_at=NOW)
    ends.observe(0, {"events": {"0": 100, "1": 1}})
    assert not judge(progress, ends, NOW, 0).caught_up
    ends.observe(11, {"events": {"0": 100}})
    ends.observe(22, {"events": {"0": 100}})
    assert judge(progress, ends, NOW, 22).caught_up
    assert not judge(progress, ends, NOW, 40).caught_up


def test_a_closed_range_is_complete_by_its_watermark_alone():
    progress = Progress(watermark=NOW, offsets={}, written_at=NOW)
    fresh = judge(progress, LogEnds(10), NOW + WATERMARK_DELAY + timedelta(seconds=3), 0)
    assert fresh.is_complete(NOW)
    assert not fresh.is_complete(NOW + timedelta(seconds=1))
    assert fresh.lag_seconds == 3.0


async def test_before_the_first_trigger_nothing_is_claimed(client: Client, database: MemoryDatabase, state: State):
    body = await get(client)
    assert (body["as_of"], body["watermark"], body["lag_seconds"], body["complete"]) == (None, None, None, False)
    database.progress = (NOW, msgspec.json.encode({"events": {"0": 5}}).decode(), NOW)
    state.watch.ends.observe(0, {"events": {"0": 5}})
    assert (await get(client))["complete"] is True
