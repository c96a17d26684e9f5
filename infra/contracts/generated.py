"""The JSON Schemas and example events that are checked in: made from the types, so they cannot drift from them.

`python -m infra.contracts.generated` rewrites the files; a contract test fails while they differ.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from infra.contracts import events as e
from infra.contracts.control import ApiKey, Scope, Tenant
from infra.contracts.ledger import Minute, Stage, State
from infra.contracts.problems import Accepted, Problem
from infra.contracts.records import Accounting, Action, Held, Judged, Severity, Verdict
from infra.contracts.review import Decision, Verb, decision_id
from infra.contracts.rules import BlockList, Flood, Links, Rules, RuleSet
from infra.contracts.rules import Scope as RuleScope

ROOT = Path(__file__).parent
_SCHEMAS: dict[str, Any] = {
    "event": e.Event,
    "held": Held,
    "decision": Decision,
    "judged": Judged,
    "accounting": Accounting,
    "ledger_minute": Minute,
    "rules": Rules,
    "rule_set": RuleSet,
    "tenant": Tenant,
    "api_key": ApiKey,
    "accepted": Accepted,
    "problem": Problem,
}
_AT = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)
_MESSAGE = "019cebd1-1c55-7b2e-8d46-5b1f3f9a0c11"
_REPLY = "019cebd1-33a0-7c11-9a52-0f6d1f0b7e22"


def example_events() -> dict[str, e.Event]:
    """One event of each known type, as a client sends it, by type."""
    specific: dict[str, dict[str, Any]] = {
        e.MESSAGE_SENT: {"id": _MESSAGE, "text": "Güten Morgen! Has anyone tried the new build?"},
        e.MESSAGE_EDITED: {"message_id": _MESSAGE, "text": "Guten Morgen! Has anyone tried the new build?"},
        e.MESSAGE_DELETED: {"message_id": _MESSAGE},
        e.REACTION_ADDED: {"message_id": _MESSAGE, "reaction": "👍"},
        e.REACTION_REMOVED: {"message_id": _MESSAGE, "reaction": "👍"},
        e.RECEIPT_READ: {"message_id": _MESSAGE},
        e.RECEIPT_DELIVERED: {"message_id": _MESSAGE},
        e.TYPING_STARTED: {},
        e.CHANNEL_CREATED: {"properties": {"name": "General"}},
        e.CHANNEL_JOINED: {},
        e.CHANNEL_LEFT: {},
        e.SESSION_STARTED: {"channel_id": None, "context": {"app": "web", "os": "linux", "locale": "de-DE"}},
        e.SESSION_ENDED: {"channel_id": None},
    }
    found = {}
    for number, event_type in enumerate(sorted(e.KNOWN_TYPES)):
        fields: dict[str, Any] = {
            "id": f"019cebd1-4000-7000-8000-{number:012x}",
            "type": event_type,
            "time": _AT + timedelta(seconds=number),
            "channel_id": "general",
            "user_id": "ada",
            **specific[event_type],
        }
        found[event_type] = e.Event(**fields)
    return found


def examples() -> dict[str, Any]:
    """Every example by the path of its file under `examples/`."""
    sent = example_events()[e.MESSAGE_SENT]
    stamped = msgspec.structs.replace(
        sent, tenant="demo", received_at=_AT + timedelta(milliseconds=42), source="http", request_id="req-1"
    )
    verdict = Verdict(action=Action.HOLD, rule="block-list", version=1, reason="listed word")
    return {
        **{f"events/{event_type}.json": event for event_type, event in example_events().items()},
        "records/ingest.json": [stamped, msgspec.structs.replace(stamped, id=_REPLY, reply_to=_MESSAGE, text="Yes.")],
        "records/events.json": stamped,
        "records/held.json": Held(event=stamped, verdict=verdict),
        "records/decision.json": Decision(
            id=decision_id("demo", Verb.RELEASE, "general", sent.id),
            tenant="demo",
            verb=Verb.RELEASE,
            decided_at=_AT + timedelta(hours=1),
            decided_by="desk 2cf24dba5fb0",
            channel_id=sent.channel_id,
            message_id=sent.id,
            held=Held(event=stamped, verdict=verdict),
            moderator="eve",
            reason="a quotation",
        ),
        "records/verdicts.json": Judged(
            tenant="demo",
            event_id=sent.id,
            channel_id=sent.channel_id,
            received_at=_AT + timedelta(milliseconds=42),
            verdict=verdict,
        ),
        "records/accounting.json": Accounting(
            appended_at=_AT + timedelta(milliseconds=47),
            accepted=3,
            tenants={"demo": {"events": 1, "held": 1}, "": {"dlq": 1}},
        ),
        "records/ledger_minute.json": Minute(
            tenant="demo",
            start=_AT.replace(second=0, microsecond=0),
            accepted=482,
            events=401,
            signals=73,
            held=4,
            blocked=1,
            dlq=0,
            duplicates=2,
            state=State.DIFFERENT,
            stage=Stage.TOPICS,
            expected=480,
            found=479,
            src="ingest/3/1042",
        ),
        "control/rules.json": RuleSet(
            tenant="demo",
            version=3,
            note="no more coupon links",
            rules=(
                BlockList(
                    id="threats",
                    version=1,
                    action="block",
                    severity=Severity.CRITICAL,
                    reason="tells somebody to harm themselves",
                    terms=("kill yourself", "kys"),
                ),
                Links(
                    id="coupons",
                    version=2,
                    action="hold",
                    reason="a link to coupons",
                    blocked=("coupons.example",),
                    scope=RuleScope(except_channels=("deals*",)),
                ),
                Flood(
                    id="flood",
                    version=1,
                    action="hold",
                    reason="more messages than anybody reads",
                    messages=10,
                    seconds=10,
                    scope=RuleScope(bots="never"),
                    shadow=True,
                ),
            ),
        ),
        "control/tenant.json": Tenant(id="demo", name="Demo community", timezone="Europe/Berlin"),
        "control/key.json": ApiKey(
            hash="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            tenant="demo",
            scopes=(Scope.WRITE,),
            name="mobile app",
            created_at=_AT,
        ),
    }


def files() -> dict[Path, bytes]:
    """Every generated file and its content."""
    found = {ROOT / "schemas" / f"{name}.json": _pretty(msgspec.json.schema(kind)) for name, kind in _SCHEMAS.items()}
    found |= {ROOT / "examples" / name: _pretty(value) for name, value in examples().items()}
    return found


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"


def write() -> None:
    """Write every generated file."""
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    write()
