"""Users' tallies: the same promises as windows, kept by window."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics.tallies import Board, Score, Tallies, Tally, UserMinute
from infra.contracts.windows import GRAINS

NIGHT = datetime(2026, 3, 14, 23, 50, tzinfo=UTC)


class Table:
    def __init__(self) -> None:
        self.rows: dict[tuple[Board, str], Tally] = {}

    def read(self, boards: list[Board]) -> list[dict[str, Tally]]:
        return [{user: tally for (at, user), tally in self.rows.items() if at == board} for board in boards]

    def write(self, scores: list[Score]) -> None:
        for score in scores:
            self.rows[score.board, score.user] = score.tally


def at(minute: int, user: str) -> UserMinute:
    return ("acme", user, NIGHT + timedelta(minutes=minute))


@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.integers(0, 40), st.sampled_from(["ada", "bob", "cy"])),
            st.tuples(st.integers(0, 9), st.integers(0, 9)),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 5),
    st.integers(0, 30),
    st.sampled_from([1, 10_000]),
)
def test_each_grain_adds_up_to_what_users_did_through_a_crash(
    batches: list[dict[tuple[int, str], Tally]], crash: int, rows: int, limit: int
) -> None:
    table = Table()
    tallies = Tallies(table.read, limit)
    totals: dict[tuple[int, str], Tally] = {}
    for number, batch in enumerate(batches):
        for key, (sent, reactions) in batch.items():
            before = totals.get(key, (0, 0))
            totals[key] = (before[0] + sent, before[1] + reactions)
        minutes = {at(minute, user): totals[minute, user] for minute, user in batch}
        scores = tallies.climb(minutes)
        if number == crash:
            table.write(scores[:rows])
            tallies = Tallies(table.read, limit)
            scores = tallies.climb(minutes)
        table.write(scores)
    for grain in GRAINS:
        expected: dict[tuple[Board, str], Tally] = {}
        for (minute, user), tally in totals.items():
            place = (Board("acme", grain, grain.start(NIGHT + timedelta(minutes=minute))), user)
            before = expected.get(place, (0, 0))
            expected[place] = (before[0] + tally[0], before[1] + tally[1])
        found = {key: tally for key, tally in table.rows.items() if key[0].grain is grain}
        assert found == {key: tally for key, tally in expected.items() if tally != (0, 0)}


def test_what_did_not_change_is_not_written() -> None:
    table = Table()
    tallies = Tallies(table.read, 1_000)
    table.write(tallies.climb({at(0, "ada"): (1, 0)}))
    assert tallies.climb({at(0, "ada"): (1, 0)}) == []
    assert {s.board.grain.name: s.tally for s in tallies.climb({at(1, "ada"): (0, 2)})} == {
        "1m": (0, 2),
        "15m": (1, 2),
        "1h": (1, 2),
        "1d": (1, 2),
    }
