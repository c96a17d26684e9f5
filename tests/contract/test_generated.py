"""What is checked in is what the types say, and nothing else lies beside it."""

import msgspec
import pytest

from infra.contracts import codec, events, generated
from infra.contracts.control import Control
from infra.contracts.ledger import Minute
from infra.contracts.records import Accounting, Held, Judged
from infra.contracts.review import Decision

FILES = generated.files()
GOLDEN_REPLIES = generated.ROOT / "examples" / "replies"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(generated.ROOT)))
def test_file_is_as_generated(path):
    assert path.read_bytes() == FILES[path], "run `python -m infra.contracts.generated`"


def test_no_orphan_files():
    found = {p for folder in ("schemas", "examples") for p in (generated.ROOT / folder).rglob("*") if p.is_file()}
    assert {p for p in found if GOLDEN_REPLIES not in p.parents} == set(FILES)


@pytest.mark.parametrize("event_type", sorted(events.KNOWN_TYPES))
def test_every_example_event_decodes_to_itself(event_type):
    path = generated.ROOT / "examples" / "events" / f"{event_type}.json"
    assert codec.decode(path.read_bytes()) == generated.example_events()[event_type]


def test_an_example_frame_splits_into_events():
    raw = (generated.ROOT / "examples" / "records" / "ingest.json").read_bytes()
    assert [codec.decode(part).text for part in codec.split(raw)] == [
        "Güten Morgen! Has anyone tried the new build?",
        "Yes.",
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("records/held.json", Held),
        ("records/decision.json", Decision),
        ("records/verdicts.json", Judged),
        ("records/accounting.json", Accounting),
        ("records/ledger_minute.json", Minute),
        ("control/tenant.json", Control),
        ("control/key.json", Control),
        ("control/rules.json", Control),
    ],
)
def test_every_example_record_decodes(name, kind):
    raw = (generated.ROOT / "examples" / name).read_bytes()
    assert msgspec.json.decode(raw, type=kind) == generated.examples()[name]


def test_example_accounting_balances():
    assert generated.examples()["records/accounting.json"].balanced
