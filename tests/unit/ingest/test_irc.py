import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import Event, Invalid
from infra.contracts.placement import time_of_id
from infra.runtime.errors import PreconditionError
from ingest.importers.irc import ORDINAL_BITS, IrcLog, Moment, decoded, id_of, open_logs
from ingest.importers.passages import BEGINNING
from tests.unit.ingest.reading import events, plain

pytestmark = pytest.mark.unit

_LOG = b"""\
=== ada [~ada@host.example]  has joined #Garden
[23:58] <ada> good evening
[23:58]  * bob waves at ada
=== bob is now known as bob_away
=== mode/#garden [+o ada]  by ChanServ
=== cy[th] ia [n=[cy] x@host.example]  has joined #garden
[23:59] <cy[th] ia> d\xe9j\xe0 vu \x80
[23:59] <ubotu> see /msg ubotu vu
[23:59] -spammer:#garden- look here
=== cy[th] ia [n=[cy] x@host.example]  has left #garden ["bed time"]\x20
=== Topic for #garden: roses
=== mallory was kicked off #garden by ada (ada)
=== netjoined: one.example -> two.example
=== ada shrugs
[00:00] (bob/#garden) from elsewhere
=== bob_away [~b@host.example]  has quit ["Ping timeout"]
[00:00] <ada> caf\xc3\xa9
"""


def _log(folder: Path, content: bytes = _LOG, name: str = "2004-12-31.txt", **settings: object) -> IrcLog:
    path = folder / name
    path.write_bytes(content)
    (log,) = open_logs([path], **settings)  # type: ignore[arg-type]
    return log


def _told(event: Event) -> tuple[object, ...]:
    what = next(iter(event.properties or {}), "bot" if event.is_bot else "")
    return f"{event.time:%m-%d %H:%M}", event.type, event.user_id, event.text, what


def test_a_log_becomes_messages_joins_and_leaves(tmp_path: Path) -> None:
    passages = list(_log(tmp_path).read(BEGINNING))
    told = events(passages)
    assert list(map(_told, told)) == [
        ("12-31 23:58", "channel.joined", "ada", None, ""),
        ("12-31 23:58", "message.sent", "ada", "good evening", ""),
        ("12-31 23:58", "message.sent", "bob", "waves at ada", "action"),
        ("12-31 23:58", "channel.joined", "cy[th]ia", None, ""),
        ("12-31 23:59", "message.sent", "cy[th]ia", "déjà vu €", ""),
        ("12-31 23:59", "message.sent", "ubotu", "see /msg ubotu vu", "bot"),
        ("12-31 23:59", "message.sent", "spammer", "look here", "notice"),
        ("12-31 23:59", "channel.left", "cy[th]ia", None, "reason"),
        ("01-01 00:00", "message.sent", "bob", "from elsewhere", ""),
        ("01-01 00:00", "channel.left", "bob_away", None, "reason"),
        ("01-01 00:00", "message.sent", "ada", "café", ""),
    ]
    assert {event.channel_id for event in told} == {"#garden"}
    assert [(event.properties or {}).get("reason") for event in told if event.type == "channel.left"] == [
        "bed time",
        "Ping timeout",
    ]
    left_out = [kind for passage in passages for kind in passage.left_out]
    assert left_out == ["rename", "mode", "topic", "kick", "netsplit", "untimed_action"]
    assert not any(passage.problems for passage in passages)


def test_ids_carry_the_minute_and_sort_as_the_log_does(tmp_path: Path) -> None:
    told = events(_log(tmp_path).read(BEGINNING))
    assert [time_of_id(event.id) for event in told] == [event.time for event in told]
    ids = [event.id for event in told]
    assert ids == sorted(set(ids))


def test_untimed_actions_are_messages_when_asked_for_and_change_no_other_id(tmp_path: Path) -> None:
    usual = events(_log(tmp_path).read(BEGINNING))
    all_of_them = events(_log(tmp_path, untimed_actions=True).read(BEGINNING))
    (more,) = [event for event in all_of_them if event.id not in {one.id for one in usual}]
    assert _told(more) == ("12-31 23:59", "message.sent", "ada", "shrugs", "action")
    assert len(all_of_them) == len(usual) + 1


def test_reading_goes_on_from_any_line(tmp_path: Path) -> None:
    log = _log(tmp_path)
    passages = list(log.read(BEGINNING))
    for number, passage in enumerate(passages, 1):
        assert plain(log.read(passage.end)) == plain(passages[number:])


def test_a_log_that_moved_and_grew_gives_its_old_lines_their_old_ids(tmp_path: Path) -> None:
    before = events(_log(tmp_path).read(BEGINNING))
    grown = _log(tmp_path, _LOG + b"[00:01] <ada> more\n", name="#garden.2004-12-31.log")
    after = events(grown.read(BEGINNING))
    assert after[:-1] == before
    elsewhere = events(_log(tmp_path, channel="#orchard").read(BEGINNING))
    assert {event.id for event in elsewhere}.isdisjoint(event.id for event in before)


_NICKS = st.from_regex(r"[a-z\[\]_`|^-]{1,9}", fullmatch=True)
_LINES = st.one_of(
    st.builds("[{:02}:{:02}] <{}> {}".format, st.integers(0, 23), st.integers(0, 59), _NICKS, st.text(max_size=20)),
    st.builds("=== {} [~x@host]  has joined #c".format, _NICKS),
    st.builds("=== {} is now known as other".format, _NICKS),
    st.text(max_size=20),
)


@given(st.lists(_LINES, max_size=40), st.integers(0, 40))
def test_whatever_a_log_says_each_line_is_told_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], resume: int
) -> None:
    content = "".join(re.sub(r"[\n\r]", "", line) + "\n" for line in lines).encode("utf-8", "surrogatepass")
    log = _log(tmp_path_factory.mktemp("log"), content, channel="#c")
    passages = list(log.read(BEGINNING))
    assert [passage.line for passage in passages] == list(range(1, len(lines) + 1))
    assert all(len(p.records) + len(p.problems) + len(p.left_out) <= 1 for p in passages)
    ids = [record.id for passage in passages for record in passage.records]
    assert ids == sorted(set(ids))
    if passages:
        place = resume % len(passages)
        assert plain(log.read(passages[place].end)) == plain(passages[place + 1 :])


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        (b"hello", "invalid_field", None),
        (b"[25:00] <ada> hi", "invalid_field", None),
        (b"[10:00] ada hi", "invalid_field", None),
        (b"=== alone", "invalid_field", None),
        (b"[10:00] <ada> " + b"x" * 8_193, "too_large", "text"),
        (b"[10:00] <ada> " + b"x" * 90_000, "too_large", None),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: bytes, code: str, field: str | None) -> None:
    log = _log(tmp_path, b"[10:00] <ada> before\n" + line + b"\n\n[10:01] <ada> after\n", channel="#c")
    before, bad, blank, after = log.read(BEGINNING)
    assert [(one.code, one.field) for one in bad.problems] == [(code, field)]
    assert (bad.line, bad.path, blank.blank) == (2, log.path, True)
    assert [event.text for event in events([before, after])] == ["before", "after"]


def test_people_called_null_are_people(tmp_path: Path) -> None:
    log = _log(tmp_path, b"=== null [~n@host]  has joined #c\n[10:00] <None> hi\n")
    assert [event.user_id for event in events(log.read(BEGINNING))] == ["irc:null", "irc:None"]


def test_bots_are_those_that_are_named_in_any_case(tmp_path: Path) -> None:
    log = _log(tmp_path, b"[10:00] <GardenBot> x\n[10:00] <ubotu> y\n", channel="#c", bots=["gardenbot"])
    assert [event.is_bot for event in events(log.read(BEGINNING))] == [True, None]


def test_a_log_that_names_no_channel_is_of_that_of_the_others(tmp_path: Path) -> None:
    silent, told, other = (tmp_path / f"2004-12-0{n}.txt" for n in (1, 2, 3))
    silent.write_text("[10:00] <ada> hi\n")
    told.write_text("=== ada [~a@host]  has joined #Garden\n")
    other.write_text("=== ada [~a@host]  has joined #orchard\n")
    logs = open_logs([silent, told])
    assert [(log.channel, log.named) for log in logs] == [("#garden", False), ("#garden", True)]
    with pytest.raises(PreconditionError, match=r"names no channel\. .*--channel"):
        open_logs([silent, told, other])
    with pytest.raises(PreconditionError, match="--channel"):
        open_logs([silent])
    assert [log.channel for log in open_logs([silent, other], channel="#HERE")] == ["#here", "#here"]
    other.write_text(told.read_text() + other.read_text())
    with pytest.raises(PreconditionError, match="names #garden and #orchard"):
        open_logs([other])


@pytest.mark.parametrize("name", ["log.txt", "2004-13-01.txt", "1969-12-31.txt", "9999-01-01.txt"])
def test_a_name_without_a_day_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PreconditionError, match=re.escape(name)):
        _log(tmp_path, name=name)


def test_other_settings_are_another_import(tmp_path: Path) -> None:
    log = _log(tmp_path)
    same = _log(tmp_path)
    others = [_log(tmp_path, channel="#x"), _log(tmp_path, bots=["x"]), _log(tmp_path, untimed_actions=True)]
    assert log.probe(20) == same.probe(20)
    assert len({log.probe(20), *(one.probe(20) for one in others)}) == 4


def test_a_minute_has_an_end() -> None:
    moment = Moment(date(2004, 12, 25), (9, 14), (1 << ORDINAL_BITS) - 1)
    assert time_of_id(id_of(moment, "#c", b"x")) == moment.time
    with pytest.raises(Invalid):
        id_of(Moment(moment.day, moment.clock, 1 << ORDINAL_BITS), "#c", b"x")


@given(st.binary())
def test_any_bytes_become_text_that_can_be_stored(raw: bytes) -> None:
    assert msgspec.json.decode(msgspec.json.encode(decoded(raw))) == decoded(raw)
