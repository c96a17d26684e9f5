import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.control import Limits, SlowMode, Tenant
from infra.runtime.telemetry import SLOWED
from ingest.limits import Limiter
from ingest.slow_mode import Pace
from tests.unit.ingest.deliveries import Door, codes, event

MODE = SlowMode(after=5, interval=20, calm=30)
TENANT = Tenant(id="acme", limits=Limits(user_rate=1_000, channel_rate=10, slow_mode=MODE))


class Channel:
    """One channel's raid and its users, second by second."""

    def __init__(self, tenant: Tenant = TENANT) -> None:
        self.limiter = Limiter(100)
        self.tenant = tenant
        self.now = 0.0
        self.number = 0

    def say(self, user: str = "ada", channel: str = "general", message: str | None = ""):
        self.number += 1
        limits = self.limiter.of(self.tenant, self.now)
        return limits.take(user, channel, self.now, message=f"m-{self.number}" if message == "" else message)

    def raid(self, seconds: int, rate: int = 50) -> None:
        for _ in range(seconds):
            for number in range(rate):
                self.say(f"raider-{self.number}-{number}")
            self.now += 1

    @property
    def is_slow(self) -> bool:
        return self.limiter.slow_channels(self.now) == 1


def test_a_channel_over_its_rate_goes_slow_and_is_calm_again():
    channel, before = Channel(), SLOWED._value.get()
    channel.raid(3)  # a burst of ten seconds' worth is let through, and then two more
    assert not channel.is_slow
    channel.raid(10)
    assert channel.is_slow
    assert SLOWED._value.get() == before + 1
    channel.now += MODE.calm - 1.5  # the last of the raid was a second ago
    assert channel.is_slow
    channel.now += 1
    assert not channel.is_slow


def test_a_burst_is_no_raid():
    channel = Channel()
    for _ in range(10):
        channel.raid(1, rate=100)
        channel.now += 11
    assert not channel.is_slow


def test_without_a_slow_mode_nothing_slows():
    channel = Channel(Tenant(id="acme", limits=Limits(channel_rate=10)))
    channel.raid(30)
    assert not channel.is_slow


def test_while_it_is_slow_each_user_may_send_one_message():
    channel = Channel()
    channel.raid(20)
    channel.now += 5  # the raid pauses: there are tokens
    assert channel.say("ada") is None
    pause = channel.say("ada")
    assert (pause.limit, pause.wait(3), pause.rate) == ("slow_mode", 20, 1)
    assert pause.message == "the channel is in slow mode: one message of a user in 20 s"
    assert channel.say("bob") is None
    assert channel.say("ada", channel="elsewhere") is None
    channel.now += 7.5
    assert channel.say("ada").wait(1) == 13
    channel.now += 12.5
    assert channel.say("ada") is None


def test_what_is_no_message_and_who_is_exempt_go_on():
    channel = Channel()
    channel.raid(20)
    channel.now += 5
    assert all(channel.say("bot", message=None) is None for _ in range(10))


def test_a_retry_of_the_last_message_is_not_a_second_one():
    channel = Channel()
    channel.raid(20)
    channel.now += 5
    assert channel.say("ada", message="same") is None
    assert channel.say("ada", message="same") is None
    assert channel.say("ada", message="other") is not None


def test_a_refused_raid_is_still_a_raid():
    """Those who raid have all spoken and are refused for that, and no token is taken: it is not calm."""
    channel = Channel()
    for _ in range(300):
        for number in range(50):
            channel.say(f"raider-{number}")
        channel.now += 1
    assert channel.is_slow
    assert channel.say("ada") is None


def test_changed_limits_begin_anew():
    channel = Channel()
    channel.raid(20)
    channel.tenant = Tenant(id="acme", limits=Limits(channel_rate=11, slow_mode=MODE))
    assert channel.say() is None
    assert not channel.is_slow


def test_many_channels_do_not_make_a_slow_one_forget():
    channel = Channel()
    channel.raid(20)
    for number in range(500):
        channel.say("ada", channel=f"c-{number}")
        channel.now += 0.01
    channel.now += 2
    channel.say("ada", channel="another")
    assert channel.is_slow
    assert channel.say("bob") is None
    assert channel.say("bob").limit == "slow_mode"


@given(
    rate=st.integers(1, 20),
    after=st.integers(1, 30),
    arrivals=st.lists(st.tuples(st.floats(0, 4), st.integers(0, 100)), min_size=1, max_size=60),
)
def test_slow_mode_begins_only_where_more_than_the_rate_was_asked_for_so_long(rate, after, arrivals):
    pace, now = Pace(SlowMode(after=after), rate, 0.0), 0.0
    asked: list[tuple[float, int]] = []
    for wait, count in arrivals:
        now += wait
        asked.append((now, count))
        begun = [pace.ask(now) for _ in range(count)]
        if any(begun):
            begins = [at for at, _ in asked if at <= now - after]
            assert any(sum(n for at, n in asked if at >= begin) >= rate * (now - begin) - 1e-6 for begin in begins)
            return


@pytest.mark.parametrize("key", ["write", "server"])
async def test_a_sender_is_told_of_slow_mode(key):
    door = Door(TENANT.limits)
    for second in range(20):
        await door.post([event(1_000 * second + n, user_id=f"r-{n}") for n in range(50)])
        door.clock.advance(1)
    door.clock.advance(3)
    assert (await door.post(event(1_000_000), key=key)).status_code == 200
    reply = await door.post(event(1_000_001), key=key)
    if key == "server":
        assert reply.status_code == 200
        return
    assert (reply.status_code, reply.headers["Retry-After"], codes(reply)) == (429, "20", [(0, "rate_limited")])
    assert "slow mode" in reply.json()["errors"][0]["message"]
    text = (await door.client().get("/metrics")).text
    assert 'hubbub_ingest_limited_events_total{limit="slow_mode"}' in text
    assert 'hubbub_ingest_limited_events_total{limit="channel"}' in text
