"""Placement: equal events meet in equal cells, and ours is the partition every Kafka client would choose."""

from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import placement
from infra.contracts.events import Event, from_ms, to_ms
from infra.contracts.headers import WHOLE, Src
from infra.contracts.placement import BucketEpoch

moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(
    lambda m: m.replace(microsecond=m.microsecond // 1000 * 1000)
)


# Reference values of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_agrees_with_kafka(data, expected):
    assert placement.murmur2(data) == expected & 0xFFFFFFFF


@given(moments)
def test_a_uuid7_and_a_ulid_carry_their_time(moment):
    ms = to_ms(moment)
    uuid7 = f"{ms:012x}"
    assert placement.time_of_id(f"{uuid7[:8]}-{uuid7[8:]}-7abc-8def-0123456789ab") == moment
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    ulid = "".join(digits[ms >> 5 * (9 - i) & 31] for i in range(10)) + "0" * 16
    assert placement.time_of_id(ulid) == moment


def test_a_real_uuid7_is_read():
    moment = placement.time_of_id(str(uuid_utils.uuid7()))
    assert moment is not None
    assert abs(moment - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "message-1",
        "0192f0c1-2345-4abc-8def-0123456789ab",  # version 4
        "0192f0c1-2345-7abc-cdef-0123456789ab",  # another variant
        "0192f0c1-2345-7abc-8def-0123456789ag",
        "0192f0c1-2345-7abc-8def 0123456789ab",
        "ffffffff-ffff-7abc-8def-0123456789ab",  # past year 9999
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",  # beyond 128 bits
        "01arz3ndektsv4rrffq69g5fav",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
    ],
)
def test_other_ids_carry_no_time(identifier):
    assert placement.time_of_id(identifier) is None


def test_a_message_is_placed_by_its_id_else_as_the_client_wrote_its_time():
    at, corrected = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    plain = Event(id="m", type="message.sent", time=corrected, client_time=at)
    assert placement.sent_at(plain) == at
    carried = Event(id="0192f0c1-2345-7abc-8def-0123456789ab", type="message.sent", time=corrected)
    assert placement.sent_at(carried) == from_ms(0x0192F0C12345)


@given(moments, moments, st.integers(1, 40))
def test_buckets_cover_their_moments(moment, change, days):
    plan = (*placement.DEFAULT_PLAN, BucketEpoch(change, timedelta(days=days)))
    start = placement.bucket(moment, plan)
    width = timedelta(days=days if moment >= change else 10)
    assert from_ms(start) <= moment < from_ms(start) + width
    assert placement.bucket(moment, plan) == start


@given(moments, moments)
def test_a_plan_change_leaves_earlier_places_where_they_were(moment, change):
    plan = (*placement.DEFAULT_PLAN, BucketEpoch(change, timedelta(days=1)))
    if moment < change:
        assert placement.bucket(moment, plan) == placement.bucket(moment)


@given(moments, moments)
def test_the_first_received_create_has_the_highest_write_time(one, two):
    assert (placement.create_write_time(one) > placement.create_write_time(two)) == (one < two)
    assert placement.create_write_time(one) < placement.micros(two)


@given(st.integers(0, 7), st.integers(0, 2**40), st.integers(WHOLE, 2500))
def test_src_survives_a_round_trip(partition, offset, index):
    src = Src("events.backfill", partition, offset, index)
    assert Src.decode(src.encode()) == src


def test_src_orders_by_offset_then_index():
    assert Src("ingest", 1, 9, 3) < Src("ingest", 1, 10, 0) < Src("ingest", 1, 10, 1)


def test_the_plan_is_the_stored_epochs_after_the_default_one():
    later = datetime(2026, 11, 1, tzinfo=UTC)
    naive = later.replace(tzinfo=None)
    assert placement.plan_of([]) == placement.DEFAULT_PLAN
    assert placement.plan_of([(naive, 86_400_000)]) == (
        *placement.DEFAULT_PLAN,
        BucketEpoch(later, timedelta(days=1)),
    )
