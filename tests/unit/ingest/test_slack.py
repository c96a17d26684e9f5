import random
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import Event
from infra.contracts.placement import time_of_id
from infra.runtime.errors import PreconditionError
from ingest.client import Backoff
from ingest.importers import slack_export
from ingest.importers.passages import BEGINNING, Passage
from ingest.importers.run import ImportSummary, import_files
from ingest.importers.slack import SlackExport
from ingest.importers.slack_events import Moment, id_of
from tests.unit.ingest import slack_workspace as ws
from tests.unit.ingest.fake_ingest import FakeIngest, problem
from tests.unit.ingest.reading import events, plain

pytestmark = pytest.mark.unit


@pytest.fixture
def export(tmp_path: Path) -> SlackExport:
    return SlackExport(ws.zipped(tmp_path / "export.zip", ws.export()))


def _read(tmp_path: Path, said: list[Any], **files: Any) -> list[Passage]:
    """The passages of one day in one channel, without those that only end a file."""
    name = "general/2020-01-01.json"
    content = {"users.json": ws.USERS, "channels.json": ws.CHANNELS, name: said, **files}
    passages = SlackExport(ws.zipped(tmp_path / "one.zip", content)).read(BEGINNING)
    return [passage for passage in passages if passage.path.match(name) and not passage.blank]


def _told(event: Event) -> tuple[Any, ...]:
    return event.type, event.user_id, event.text or event.reaction


def _in(channel: str, found: list[Event]) -> list[Event]:
    return [event for event in found if event.channel_id == channel]


def test_an_export_becomes_events(export: SlackExport) -> None:
    passages = list(export.read(BEGINNING))
    assert not any(passage.problems for passage in passages)
    found = events(passages)
    assert list(map(_told, _in(ws.GENERAL, found))) == [
        ("channel.created", ws.ADA, None),
        ("channel.joined", ws.ADA, None),
        ("message.sent", ws.ADA, f"Tea, <@{ws.BOB}>? &lt;3 <@U0NOBODY1|x>"),
        ("reaction.added", ws.BOB, "tea"),
        ("reaction.added", ws.BOT, "tea"),
        ("reaction.added", ws.BOB, "thumbsup::skin-tone-2"),
        ("message.sent", ws.BOB, "Yes!"),
        ("message.sent", ws.ADA, "puts the kettle on"),
        ("message.sent", ws.ADA, "fixed"),
        ("message.edited", ws.ADA, "fixed"),
        ("message.sent", "B0DEPLOY1", "Deployed 1.2\nin 3 s"),
        ("message.sent", ws.BOT, "by an app"),
        ("message.sent", ws.ADA, "look"),
        ("message.sent", ws.BOB, "and here"),
        ("message.edited", ws.BOB, "and there"),
        ("message.deleted", ws.ADA, None),
        ("channel.left", ws.BOB, None),
    ]
    assert Counter(kind for passage in passages for kind in passage.left_out) == {
        "reactions_without_user": 1,
        "channel_name": 1,
        "message_changed": 1,
        "tombstone": 1,
        "other_file": 1,
    }
    for channel, text in (
        (ws.SECRET, "same moment, another channel"),
        (ws.GROUP, "three of us"),
        (ws.DIRECT, "you and me"),
    ):
        assert [event.text for event in _in(channel, found) if event.text] == [text]


def test_names_and_the_rest_are_in_properties(export: SlackExport) -> None:
    by_text = {event.text: event for event in events(export.read(BEGINNING)) if event.type != "message.edited"}
    tea = by_text[f"Tea, <@{ws.BOB}>? &lt;3 <@U0NOBODY1|x>"]
    assert tea.properties == {"user_name": "Ada", "mentions": {ws.BOB: "Bob Ross"}}
    assert by_text["puts the kettle on"].properties == {"user_name": "Ada", "action": True}
    assert by_text["fixed"].properties == {"user_name": "Ada", "edited_at": "2017-07-15T06:27:30.000+00:00"}
    deployed = by_text["Deployed 1.2\nin 3 s"]
    assert (deployed.is_bot, deployed.properties) == (True, {"user_name": "deploys"})
    assert by_text["by an app"].is_bot is True
    assert (by_text["look"].properties or {})["files"] == [
        {
            "id": "F0PICTURE",
            "name": "tea.png",
            "mimetype": "image/png",
            "size": 9_000,
            "url_private": "https://files.example/F0PICTURE",
        }
    ]
    created = next(event for event in events(export.read(BEGINNING)) if event.type == "channel.created")
    assert created.properties == {"name": "general", "topic": "All of us"}


def test_threads_edits_deletes_and_reactions_name_their_message(export: SlackExport) -> None:
    found = _in(ws.GENERAL, events(export.read(BEGINNING)))
    by_text = {event.text: event for event in found if event.type == "message.sent"}
    root = next(event for text, event in by_text.items() if text and text.startswith("Tea"))
    assert (root.thread_id, root.reply_to) == (None, None)
    for reply in (by_text["Yes!"], by_text["and here"]):
        assert (reply.thread_id, reply.reply_to) == (root.id, root.id)
    assert {event.message_id for event in found if event.type == "reaction.added"} == {root.id}
    edits = [event for event in found if event.type == "message.edited"]
    assert [event.message_id for event in edits] == [by_text["fixed"].id, by_text["and here"].id]
    (deleted,) = [event for event in found if event.type == "message.deleted"]
    assert deleted.message_id == by_text["look"].id


def test_ids_are_unique_carry_their_time_and_sort_as_the_channel_does(export: SlackExport) -> None:
    found = events(export.read(BEGINNING))
    assert len({event.id for event in found}) == len(found)
    assert all(time_of_id(event.id) == event.time for event in found)
    sent = [event.id for event in _in(ws.GENERAL, found) if event.type == "message.sent"]
    assert sent == sorted(sent)


_MICROS = st.integers(0, 10**16 - 1)


@given(_MICROS, _MICROS, st.text(), st.text())
def test_ids_sort_by_microseconds_and_tell_channels_apart(one: int, other: int, here: str, there: str) -> None:
    assert (id_of(here, Moment(one)) < id_of(here, Moment(other))) == (one < other)
    assert (id_of(here, Moment(one)) == id_of(there, Moment(one))) == (here == there)
    assert id_of(here, Moment(one)) < id_of(here, Moment(one), 1, "x") < id_of(here, Moment(one), 2, "x", "y")


def test_a_folder_and_a_zip_with_a_folder_on_top_are_the_same_export(export: SlackExport, tmp_path: Path) -> None:
    found = events(export.read(BEGINNING))
    folder = SlackExport(ws.unpacked(tmp_path / "export", ws.export()))
    topped = SlackExport(ws.zipped(tmp_path / "topped.zip", ws.export(), top="Our workspace/"))
    assert events(folder.read(BEGINNING)) == events(topped.read(BEGINNING)) == found


def test_reading_goes_on_from_any_file(export: SlackExport) -> None:
    passages = list(export.read(BEGINNING))
    assert passages[-1].end.offset == export.size
    for number, passage in enumerate(passages, 1):
        if passage.end != passage.start:
            assert plain(export.read(passage.end)) == plain(passages[number:])


def test_a_later_export_gives_old_messages_their_old_ids(export: SlackExport, tmp_path: Path) -> None:
    later = ws.export()
    later["general/2017-07-17.json"] = [ws.message("1500300000.000000", "more")]
    later["channels.json"] = [{**ws.CHANNELS[0], "name": "everyone"}]
    later = {name.replace("general/", "everyone/"): content for name, content in later.items()}
    after = {event.id for event in events(SlackExport(ws.zipped(tmp_path / "b.zip", later)).read(BEGINNING))}
    before = {event.id for event in events(export.read(BEGINNING))}
    assert before < after
    assert len(after - before) == 1


def test_a_probe_tells_what_has_changed_before_the_offset_or_in_the_lists(tmp_path: Path) -> None:
    files = ws.export()
    first = SlackExport(ws.zipped(tmp_path / "a.zip", files))
    last = max(name for name in files if "/" in name)
    offset = first.size - first._export.entries[last].size

    def changed(name: str) -> SlackExport:
        return SlackExport(ws.zipped(tmp_path / "b.zip", {**files, name: [*files[name], {}]}))

    assert changed(last).probe(offset) == first.probe(offset)
    for name in ("users.json", "channels.json", "general/2017-07-15.json"):
        assert changed(name).probe(offset) != first.probe(offset)


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"type": "message", "text": "x", "user": "U1"}, "missing_field", "ts"),
        (ws.message("yesterday", "x"), "bad_time", "ts"),
        (ws.message("99999999999.000000", "x"), "bad_time", "ts"),
        (ws.message("1500000000.000001", "x", thread_ts="x"), "bad_time", "thread_ts"),
        (ws.message("1500000000.000001", "x", None), "missing_field", "user_id"),
        (ws.message("1500000000.000001", "x" * 9_000), "too_large", "text"),
        (ws.message("1500000000.000001", "x", files=[{"name": "y" * 40_000}]), "too_large", None),
        (ws.message("1500000000.000001", "x", reactions=[{"users": []}]), "missing_field", "name"),
        (ws.message("1500000000.000001", "x", edited={"ts": "now"}), "bad_time", "edited.ts"),
        (ws.message("1500000000.000001", 7), "invalid_field", "text"),  # type: ignore[arg-type]
        (ws.message("1500000000.000001", "", subtype="message_deleted"), "missing_field", "message_id"),
        ({"type": "file", "ts": "1500000000.000001"}, "invalid_field", "type"),
        ("hello", "invalid_field", None),
    ],
)
def test_a_message_that_cannot_be_read_is_named(tmp_path: Path, said: Any, code: str, field: str | None) -> None:
    passages = _read(tmp_path, [ws.message("1500000000.000000", "before"), said, ws.message("1600000000.000000", "z")])
    assert [event.text for event in events(passages)] == ["before", "z"]
    assert [(p.line, one.code, one.field) for p in passages for one in p.problems] == [(2, code, field)]


def test_a_bad_reaction_takes_nothing_else_along(tmp_path: Path) -> None:
    said = ws.message("1500000000.000000", "x", reactions=[{"name": "e" * 65, "users": [ws.BOB]}])
    (passage,) = _read(tmp_path, [said])
    assert [event.type for event in events([passage])] == ["message.sent"]
    assert [(one.code, one.field) for one in passage.problems] == [("invalid_field", "reaction")]


def test_half_an_emoji_costs_no_more_than_itself(tmp_path: Path) -> None:
    passages = _read(tmp_path, [ws.message("1500000000.000000", "tea \ud83c"), ws.message("1500000001.000000", "🍵")])
    assert [event.text for event in events(passages)] == ["tea ?", "🍵"]


def test_an_unknown_subtype_is_a_message(tmp_path: Path) -> None:
    (passage,) = _read(tmp_path, [ws.message("1500000000.000000", "x", subtype="brand_new")])
    (event,) = events([passage])
    assert (event.type, event.properties) == ("message.sent", {"user_name": "Ada", "subtype": "brand_new"})


@pytest.mark.parametrize("content", [{"not": "a list"}, "text", "\ud800"])
def test_a_file_that_is_no_list_is_one_problem(tmp_path: Path, content: Any) -> None:
    later = {"general/2020-01-02.json": [ws.message("1600000000.000000", "z")]}
    export = SlackExport(ws.zipped(tmp_path / "a.zip", {"users.json": [], "general/2020-01-01.json": content, **later}))
    passages = list(export.read(BEGINNING))
    assert [(p.line, one.code) for p in passages for one in p.problems] == [(0, "invalid_field")]
    assert [event.text for event in events(passages)] == ["z"]
    assert passages[-1].end.offset == export.size


def test_files_beyond_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_export, "MAX_FILE_BYTES", 1_000)
    files = {"users.json": [], "c/2020-01-01.json": ["x" * 2_000], "c/2020-01-02.json": []}
    for path in (ws.zipped(tmp_path / "a.zip", files), ws.unpacked(tmp_path / "a", files)):
        problems = [one for passage in SlackExport(path).read(BEGINNING) for one in passage.problems]
        assert [one.message for one in problems] == ["longer than 1,000 bytes"]


def test_exports_of_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_export, "MAX_FILES", 5)
    with pytest.raises(PreconditionError, match="more than 5 files"):
        SlackExport(ws.zipped(tmp_path / "a.zip", ws.export()))


def test_a_damaged_entry_is_one_problem(tmp_path: Path) -> None:
    path = ws.zipped(tmp_path / "a.zip", ws.export())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("general/2017-07-15.json").header_offset + 80
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 20] = bytes(20)
    path.write_bytes(raw)
    passages = list(SlackExport(path).read(BEGINNING))
    ((bad,),) = [passage.problems for passage in passages if passage.problems]
    assert bad.message.startswith("not readable: ")
    assert "and here" in {event.text for event in events(passages)}


def test_names_in_a_zip_lead_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    files = {**ws.export(), "../evil/2020-01-01.json": [ws.message("1600000000.000000", "out")], "/etc/x.json": []}
    passages = list(SlackExport(ws.zipped(folder / "a.zip", files)).read(BEGINNING))
    assert "out" not in {event.text for event in events(passages)}
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.zip", "in"]


@pytest.mark.parametrize("kind", ["text", "empty zip", "empty folder"])
def test_what_is_no_export_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty zip":
        ws.zipped(path, {})
    else:
        path.mkdir()
    with pytest.raises(PreconditionError, match=str(path)):
        SlackExport(path)


def test_an_export_is_sent_in_each_channels_order_and_once(tmp_path: Path) -> None:
    path = ws.zipped(tmp_path / "a.zip", ws.busy_workspace(channels=5, days=4, messages=60))
    ingest = FakeIngest()
    calls = 0

    def run(force: bool = False, stop_after: int = 1 << 30) -> ImportSummary:
        nonlocal calls
        calls = 0

        def handle(request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            return problem(401) if calls > stop_after else ingest.handle(request)

        return import_files(
            [SlackExport(path)],
            url="http://ingest",
            key="backfill",
            state_dir=tmp_path / "state",
            batch_events=25,
            in_flight=3,
            force=force,
            transport=httpx.MockTransport(handle),
            backoff=Backoff(first=0.001, longest=0.01, rng=random.Random(1)),
        )

    with pytest.raises(PreconditionError):
        run(stop_after=20)
    before = len(ingest.stored)
    summary = run()
    assert 0 < before < len(ingest.stored)
    assert 0 < summary.lines < 5 * 4 * 60
    assert summary.accepted + before == len(ingest.stored)
    assert run().skipped == 1
    forced = run(force=True)
    assert (forced.accepted, forced.duplicates) == (0, len(ingest.stored))
    assert forced.events == {"message.sent": 1_200, "reaction.added": 5 * 4 * 18}
    said: dict[str, list[int]] = {}
    for event in ingest.stored.values():
        if event["type"] == "message.sent":
            said.setdefault(event["channel_id"], []).append(int(event["text"]))
    assert said == {f"C{c:08d}": list(range(240)) for c in range(5)}
