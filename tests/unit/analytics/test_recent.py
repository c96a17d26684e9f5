"""The cache of tables lets go of the least recently used, and says what it has not."""

from analytics.recent import Recent


def test_the_least_recently_used_go_first() -> None:
    recent: Recent[str, int, str] = Recent(limit=6)
    recent.put({"a": {1: "x", 2: "y"}, "b": {1: "x"}, "c": {1: "x"}})
    assert recent.missing(["a", "d"]) == ["d"]
    recent.shrink()
    assert recent.missing(["a", "b", "c"]) == ["b"]
    assert recent["a"] == {1: "x", 2: "y"}


def test_rows_added_later_count() -> None:
    recent: Recent[str, int, str] = Recent(limit=4)
    recent.put({"a": {}, "b": {}})
    recent["b"].update(dict.fromkeys(range(3), "x"))
    recent.shrink()
    assert recent.missing(["a", "b"]) == ["a"]


def test_nothing_is_left_after_clear() -> None:
    recent: Recent[str, int, str] = Recent(limit=4)
    recent.put({"a": {1: "x"}})
    recent.clear()
    assert recent.missing(["a", "a"]) == ["a"]
