"""Minutes climb to days: absolute, whatever was stored before and wherever a crash left off."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics.ladder import Change, Family, Ladder, Minute, family
from analytics.rollups import Stored, Values
from infra.contracts.metrics import COUNTS, DISTINCTS
from infra.contracts.windows import DAY, GRAINS, HOUR, MINUTE, QUARTER

NIGHT = datetime(2026, 3, 14, 23, 50, tzinfo=UTC)


def values(count: int) -> Values:
    return Values((count,) * len(COUNTS), (None,) * len(DISTINCTS))


class Table:
    """The stored windows, as the metric table would have them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, datetime], Stored] = {}
        self.reads = 0

    def read(self, families: list[Family]) -> list[dict[datetime, Stored]]:
        self.reads += len(families)
        return [
            {
                start: stored
                for (tenant, scope, grain, start), stored in self.rows.items()
                if (tenant, scope, grain) == (f.tenant, f.scope, f.grain.name) and f.start <= start < f.end
            }
            for f in families
        ]

    def write(self, changes: list[Change]) -> None:
        for c in changes:
            self.rows[c.tenant, c.scope, c.grain.name, c.start] = c.stored

    def counts(self, grain: str) -> dict[datetime, int]:
        return {start: stored.values.counts[0] for (_, _, g, start), stored in self.rows.items() if g == grain}


def at(minute: int, scope: str = "tenant") -> Minute:
    return ("acme", scope, NIGHT + timedelta(minutes=minute))


def test_every_longer_window_is_the_sum_of_its_minutes() -> None:
    table = Table()
    ladder = Ladder(table.read, limit=10_000)
    table.write(ladder.climb({at(n): values(n + 1) for n in range(30)}))
    assert sum(table.counts("1m").values()) == 465
    for grain in GRAINS:
        expected: dict[datetime, int] = {}
        for n in range(30):
            start = grain.start(NIGHT + timedelta(minutes=n))
            expected[start] = expected.get(start, 0) + n + 1
        assert table.counts(grain.name) == expected


def test_an_unchanged_minute_changes_nothing_and_a_grown_one_revises_each_window_once() -> None:
    table = Table()
    ladder = Ladder(table.read, limit=10_000)
    table.write(ladder.climb({at(0): values(1), at(1): values(2)}))
    assert ladder.climb({at(0): values(1), at(1): values(2)}) == []
    changes = ladder.climb({at(1): values(5)})
    assert [(c.grain.name, c.stored.values.counts[0], c.stored.revision) for c in changes] == [
        ("1m", 5, 2),
        ("15m", 6, 2),
        ("1h", 6, 2),
        ("1d", 6, 2),
    ]


@given(
    st.lists(st.dictionaries(st.integers(0, 40), st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=8),
    st.integers(0, 7),
    st.integers(0, 30),
    st.sampled_from([1, 40, 10_000]),
)
def test_a_crash_at_any_row_of_any_batch_is_mended_by_repeating_the_batch(
    batches: list[dict[int, int]], crash: int, rows: int, limit: int
) -> None:
    table, totals = Table(), dict.fromkeys(range(41), 0)
    ladder = Ladder(table.read, limit)
    for number, batch in enumerate(batches):
        for minute, more in batch.items():
            totals[minute] += more
        minutes = {at(n): values(totals[n]) for n in batch}
        changes = ladder.climb(minutes)
        if number == crash:
            table.write(changes[:rows])
            ladder = Ladder(table.read, limit)
            changes = ladder.climb(minutes)
        table.write(changes)
    whole = sum(totals.values())
    for grain in GRAINS:
        assert sum(table.counts(grain.name).values()) == whole


def test_reading_the_log_again_from_its_start_leaves_every_row_as_it_was() -> None:
    table = Table()
    batches = [{at(n): values(n + step) for n in range(20)} for step in range(1, 4)]
    ladder = Ladder(table.read, limit=10_000)
    for batch in batches:
        table.write(ladder.climb(batch))
    before = dict(table.rows)
    ladder = Ladder(table.read, limit=10_000)
    for batch in batches:
        table.write(ladder.climb(batch))
    assert table.rows == before


def test_a_family_is_read_once() -> None:
    table = Table()
    ladder = Ladder(table.read, limit=10_000)
    table.write(ladder.climb({at(0): values(1)}))
    assert table.reads == len(GRAINS)
    table.write(ladder.climb({at(3): values(1)}))
    assert table.reads == len(GRAINS)
    ladder.forget()
    ladder.climb({at(3): values(2)})
    assert table.reads == 2 * len(GRAINS)


def test_families_span_the_window_they_are_merged_into() -> None:
    start = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
    for grain, parent in ((MINUTE, QUARTER), (QUARTER, HOUR), (HOUR, DAY), (DAY, DAY)):
        found = family("acme", "tenant", grain, grain.start(start))
        assert (found.start, found.end) == (parent.start(start), parent.end(parent.start(start)))
        # One read never spans two partitions.
        assert grain.period_of(found.start) == grain.period_of(found.end - grain.width)
