"""The keyspace: its ordered migrations, and every CQL statement by name. No other module writes CQL."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from infra.contracts.interactions import COUNTS as INTERACTION_COUNTS
from infra.contracts.metrics import COUNTS, DISTINCTS

#: The ledger of applied migrations; created before any of them.
SCHEMA_MIGRATIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  scope text, version int, name text, checksum text, applied_at timestamp,
  PRIMARY KEY ((scope), version)
)"""
#: One migrator at a time: a row taken with a lightweight transaction, gone by itself after its TTL.
SCHEMA_LEASE: Final = """
CREATE TABLE IF NOT EXISTS schema_lease (scope text, owner text, PRIMARY KEY ((scope)))"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. A step is never edited once released: its checksum is compared."""

    version: int
    name: str
    statements: tuple[str, ...]
    checksum: str


@cache
def migrations() -> tuple[Migration, ...]:
    """Every migration in order, read from `migrations/NNNN_name.cql`."""
    found = []
    folder = resources.files("infra.contracts") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".cql"):
            continue
        number, _, name = file.name.removesuffix(".cql").partition("_")
        text = file.read_text()
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
        steps = tuple(step.strip() for step in code.split(";") if step.strip())
        found.append(Migration(int(number), name, steps, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Statement:
    """One prepared statement. All are idempotent: absolute values, explicit write times, no counters."""

    name: str
    cql: str


def _s(name: str, cql: str) -> Statement:
    return Statement(name, " ".join(cql.split()))


_CELL = "WHERE tenant = ? AND channel_id = ? AND bucket = ? AND sent_at = ? AND message_id = ?"
_MESSAGE = "sent_at, message_id, envelope, src, rule, edit, writetime(edit) AS edited_micros, deleted_at, blocked_at"
_HELD = "held_id, envelope, verdict, src, position, released, rejected"
_REVIEWED = "WHERE tenant = ? AND user_id = ? AND day = ? AND event_id = ?"

# History: writes. UPDATE, not INSERT, so that a row has no marker of its own and lives by its cells alone.
# `envelope` and `edit` hold the whole `message.sent` and `message.edited` event as JSON. A held row has its event's id,
# the UTC day it was received, as verdict the JSON of `records.Verdict`, and as position partition/offset in `held`.
CREATE_MESSAGE: Final = _s(
    "create_message", f"UPDATE messages USING TIMESTAMP ? SET envelope = ?, src = ?, rule = ? {_CELL}"
)
EDIT_MESSAGE: Final = _s("edit_message", f"UPDATE messages USING TIMESTAMP ? SET edit = ? {_CELL}")
DELETE_MESSAGE: Final = _s(
    "delete_message", f"UPDATE messages USING TIMESTAMP ? SET deleted_at = ?, envelope = '', edit = '' {_CELL}"
)
BLOCK_MESSAGE: Final = _s("block_message", f"UPDATE messages USING TIMESTAMP ? SET blocked_at = ? {_CELL}")
ADD_BUCKET: Final = _s("add_bucket", "INSERT INTO channel_buckets (tenant, channel_id, bucket) VALUES (?, ?, ?)")
INDEX_MESSAGE: Final = _s(
    "index_message",
    "UPDATE message_index USING TIMESTAMP ? SET channel_id = ?, sent_at = ? WHERE tenant = ? AND message_id = ?",
)
ADD_PENDING: Final = _s(
    "add_pending",
    "INSERT INTO pending_changes (tenant, message_id, event_id, envelope, src) VALUES (?, ?, ?, ?, ?)"
    " USING TIMESTAMP ?",
)
SET_REACTION: Final = _s(
    "set_reaction",
    "UPDATE reactions USING TIMESTAMP ? SET active = ? WHERE tenant = ? AND channel_id = ? AND bucket = ?"
    " AND message_id = ? AND reaction = ? AND user_id = ?",
)
SET_READ_MARK: Final = _s(
    "set_read_mark",
    "UPDATE read_marks USING TIMESTAMP ? SET sent_at = ?, message_id = ?"
    " WHERE tenant = ? AND user_id = ? AND channel_id = ?",
)
SET_MEMBERSHIP: Final = _s(
    "set_membership",
    "UPDATE channels_by_user USING TIMESTAMP ? SET joined_at = ?, member = ?"
    " WHERE tenant = ? AND user_id = ? AND channel_id = ?",
)
NAME_CHANNEL: Final = _s(
    "name_channel",
    "UPDATE channels USING TIMESTAMP ? SET created_at = ?, name = ? WHERE tenant = ? AND channel_id = ?",
)
TOUCH_CHANNEL: Final = _s(
    "touch_channel", "UPDATE channels USING TIMESTAMP ? SET last_activity = ? WHERE tenant = ? AND channel_id = ?"
)
HOLD_MESSAGE: Final = _s(
    "hold_message",
    "UPDATE held_messages USING TIMESTAMP ? SET envelope = ?, verdict = ?, src = ?, position = ?"
    " WHERE tenant = ? AND day = ? AND held_id = ?",
)

# History: reads. Pages take a bound of (sent_at, message_id), exclusive, and a limit.
MESSAGE: Final = _s("message", f"SELECT {_MESSAGE} FROM messages {_CELL}")
NEWEST: Final = _s(
    "newest", f"SELECT {_MESSAGE} FROM messages WHERE tenant = ? AND channel_id = ? AND bucket = ? LIMIT ?"
)
OLDER: Final = _s(
    "older",
    f"SELECT {_MESSAGE} FROM messages WHERE tenant = ? AND channel_id = ? AND bucket = ?"
    " AND (sent_at, message_id) < (?, ?) LIMIT ?",
)
NEWER: Final = _s(
    "newer",
    f"SELECT {_MESSAGE} FROM messages WHERE tenant = ? AND channel_id = ? AND bucket = ?"
    " AND (sent_at, message_id) > (?, ?) ORDER BY sent_at ASC, message_id ASC LIMIT ?",
)
BUCKETS: Final = _s("buckets", "SELECT bucket FROM channel_buckets WHERE tenant = ? AND channel_id = ?")
FIND_MESSAGE: Final = _s(
    "find_message", "SELECT channel_id, sent_at FROM message_index WHERE tenant = ? AND message_id = ?"
)
PENDING: Final = _s(
    "pending", "SELECT event_id, envelope, src FROM pending_changes WHERE tenant = ? AND message_id = ?"
)
REACTIONS: Final = _s(
    "reactions",
    "SELECT message_id, reaction, user_id, active FROM reactions"
    " WHERE tenant = ? AND channel_id = ? AND bucket = ? AND message_id IN ?",
)
READ_MARKS: Final = _s(
    "read_marks", "SELECT channel_id, sent_at, message_id FROM read_marks WHERE tenant = ? AND user_id = ?"
)
MEMBERSHIPS: Final = _s(
    "memberships", "SELECT channel_id, joined_at, member FROM channels_by_user WHERE tenant = ? AND user_id = ?"
)
CHANNELS: Final = _s("channels", "SELECT channel_id, created_at, name, last_activity FROM channels WHERE tenant = ?")
CHANNEL: Final = _s(
    "channel",
    "SELECT channel_id, created_at, name, last_activity FROM channels WHERE tenant = ? AND channel_id = ?",
)
HELD_OF_DAY: Final = _s("held_of_day", f"SELECT {_HELD} FROM held_messages WHERE tenant = ? AND day = ? LIMIT ?")
HELD_MESSAGE: Final = _s(
    "held_message", f"SELECT {_HELD} FROM held_messages WHERE tenant = ? AND day = ? AND held_id = ?"
)
BUCKET_PLAN: Final = _s("bucket_plan", "SELECT effective_from, width_ms FROM bucket_plan WHERE plan = 'messages'")
ADD_BUCKET_EPOCH: Final = _s(
    "add_bucket_epoch", "INSERT INTO bucket_plan (plan, effective_from, width_ms) VALUES ('messages', ?, ?)"
)

# Review. `released`, `rejected` and `decision` are the JSON of a `review.Entry`; of several that are the same the first
# counts. A user's row is one of their events, by the UTC day it was received: what a rule did to it, and when a
# moderator released, rejected or blocked it. A dirty day's numbers changed after the fact, last at
# `marked_at`, and what became of its messages at `removed_at`.
RELEASE_HELD: Final = _s(
    "release_held",
    "UPDATE held_messages USING TIMESTAMP ? SET released = ? WHERE tenant = ? AND day = ? AND held_id = ?",
)
REJECT_HELD: Final = _s(
    "reject_held",
    "UPDATE held_messages USING TIMESTAMP ? SET rejected = ? WHERE tenant = ? AND day = ? AND held_id = ?",
)
KEEP_DECISION: Final = _s(
    "keep_decision",
    "UPDATE review_decisions USING TIMESTAMP ? SET decision = ? WHERE tenant = ? AND day = ? AND decision_id = ?",
)
DECISIONS_OF_DAY: Final = _s(
    "decisions_of_day", "SELECT decision FROM review_decisions WHERE tenant = ? AND day = ? LIMIT ?"
)
NOTE_STOPPED: Final = _s("note_stopped", f"UPDATE user_reviews USING TIMESTAMP ? SET action = ? {_REVIEWED}")
NOTE_RELEASED: Final = _s("note_released", f"UPDATE user_reviews USING TIMESTAMP ? SET released = ? {_REVIEWED}")
NOTE_REJECTED: Final = _s("note_rejected", f"UPDATE user_reviews USING TIMESTAMP ? SET rejected = ? {_REVIEWED}")
NOTE_BLOCKED: Final = _s("note_blocked", f"UPDATE user_reviews USING TIMESTAMP ? SET blocked = ? {_REVIEWED}")
USER_REVIEWS: Final = _s(
    "user_reviews",
    "SELECT action, released, rejected, blocked FROM user_reviews WHERE tenant = ? AND user_id = ? AND day >= ?"
    " LIMIT ?",
)
MARK_DIRTY: Final = _s(
    "mark_dirty", "UPDATE dirty_days USING TIMESTAMP ? SET marked_at = ? WHERE tenant = ? AND day = ?"
)
MARK_REMOVED: Final = _s(
    "mark_removed", "UPDATE dirty_days USING TIMESTAMP ? SET removed_at = ? WHERE tenant = ? AND day = ?"
)
DIRTY_DAYS: Final = _s("dirty_days", "SELECT day, marked_at, removed_at FROM dirty_days WHERE tenant = ?")

# Metrics. The columns follow the registry's measures.
_MEASURES = (*(m.name for m in COUNTS), *(c for m in DISTINCTS for c in (m.name, f"{m.name}_sketch")))
#: The measure columns of `metric_windows`, in the order the statements below bind and return them.
MEASURE_COLUMNS: Final = _MEASURES
_WINDOW_KEY = "tenant = ? AND scope = ? AND grain = ? AND period = ? AND source = ?"

PUT_WINDOW: Final = _s(
    "put_window",
    f"UPDATE metric_windows SET {', '.join(f'{c} = ?' for c in _MEASURES)}, revision = ?, updated_at = ?"
    f" WHERE {_WINDOW_KEY} AND window_start = ?",
)
WINDOWS: Final = _s(
    "windows",
    f"SELECT window_start, {', '.join(_MEASURES)}, revision, updated_at FROM metric_windows"
    f" WHERE {_WINDOW_KEY} AND window_start >= ? AND window_start < ?",
)
#: The same without sketches, for who shows numbers.
NUMBER_COLUMNS: Final = tuple(measure.name for measure in (*COUNTS, *DISTINCTS))
NUMBERS: Final = _s(
    "numbers",
    f"SELECT window_start, {', '.join(NUMBER_COLUMNS)}, revision, updated_at FROM metric_windows"
    f" WHERE {_WINDOW_KEY} AND window_start >= ? AND window_start < ?",
)
# A member's kind is `channel` or `user`.
PUT_MEMBER: Final = _s(
    "put_member",
    "UPDATE window_members SET sent = ?, reactions = ?, contributors = ?"
    " WHERE tenant = ? AND kind = ? AND grain = ? AND window_start = ? AND member = ?",
)
MEMBERS: Final = _s(
    "members",
    "SELECT member, sent, reactions, contributors FROM window_members"
    " WHERE tenant = ? AND kind = ? AND grain = ? AND window_start = ?",
)
# `offsets` is JSON: topic, as named on the cluster, to partition to the next offset to be read, as Spark writes it.
PUT_PROGRESS: Final = _s(
    "put_progress",
    "INSERT INTO analytics_progress (query, batch_id, watermark, offsets, first_day, late_events, duplicate_events,"
    " written_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
)
PROGRESS: Final = _s(
    "progress",
    "SELECT batch_id, watermark, offsets, first_day, late_events, duplicate_events, written_at"
    " FROM analytics_progress WHERE query = ?",
)

# Interactions. `responses` is a map of bucket to count; a board is the JSON of an `interactions.Board`.
#: The columns of `interaction_windows` that are numbers, in the order the statements below bind and return them.
INTERACTION_COLUMNS: Final = (*INTERACTION_COUNTS, "responses", "revision")
_INTERACTION_KEY = "tenant = ? AND scope = ? AND grain = ? AND period = ?"
PUT_INTERACTIONS: Final = _s(
    "put_interactions",
    f"UPDATE interaction_windows SET {', '.join(f'{c} = ?' for c in INTERACTION_COLUMNS)}, updated_at = ?"
    f" WHERE {_INTERACTION_KEY} AND window_start = ?",
)
INTERACTIONS: Final = _s(
    "interactions",
    f"SELECT window_start, {', '.join(INTERACTION_COLUMNS)}, updated_at FROM interaction_windows"
    f" WHERE {_INTERACTION_KEY} AND window_start >= ? AND window_start < ?",
)
PUT_WAITING: Final = _s("put_waiting", "INSERT INTO waiting (tenant, scope, board, updated_at) VALUES (?, ?, ?, ?)")
WAITING: Final = _s("waiting", "SELECT board, updated_at FROM waiting WHERE tenant = ? AND scope = ?")

# The ledger. A row is a `ledger.Minute`, by the UTC day of its start; `ledger_progress` has one row.
PUT_LEDGER_MINUTE: Final = _s(
    "put_ledger_minute",
    "INSERT INTO ledger_minutes (tenant, day, minute, accepted, events, signals, held, blocked, dlq, duplicates,"
    " state, stage, expected, found, src, checked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
LEDGER_MINUTES: Final = _s(
    "ledger_minutes",
    "SELECT minute, accepted, events, signals, held, blocked, dlq, duplicates, state, stage, expected, found, src"
    " FROM ledger_minutes WHERE tenant = ? AND day = ? AND minute >= ? AND minute < ?",
)
PUT_LEDGER_PROGRESS: Final = _s(
    "put_ledger_progress",
    "INSERT INTO ledger_progress (ledger, resume_from, read_until, checked_at) VALUES ('minutes', ?, ?, ?)",
)
LEDGER_PROGRESS: Final = _s(
    "ledger_progress", "SELECT resume_from, read_until, checked_at FROM ledger_progress WHERE ledger = 'minutes'"
)

# Reports. `archive` is the JSON of `reports.Extent`; a period is its day, ISO 8601. Starting a run leaves the one that
# finished before it readable, and finishing it comes after its documents.
START_REPORT_RUN: Final = _s(
    "start_report_run",
    "UPDATE report_runs SET state = 'running', started_at = ? WHERE tenant = ? AND period = ? AND report = ?",
)
PUT_REPORT_DOCUMENT: Final = _s(
    "put_report_document",
    "INSERT INTO report_documents (tenant, report, period, format, body) VALUES (?, ?, ?, ?, ?)",
)
FINISH_REPORT_RUN: Final = _s(
    "finish_report_run",
    "UPDATE report_runs SET state = 'finished', finished_at = ?, as_of = ?, complete = ?, final = ?, revision = ?,"
    " digest = ?, archive = ? WHERE tenant = ? AND period = ? AND report = ?",
)
_RUN = "period, report, state, started_at, finished_at, as_of, complete, final, revision, digest, archive"
REPORT_RUNS: Final = _s(
    "report_runs",
    f"SELECT {_RUN} FROM report_runs WHERE tenant = ? AND period >= ? AND period <= ?",
)
NEWEST_REPORT_RUNS: Final = _s("newest_report_runs", f"SELECT {_RUN} FROM report_runs WHERE tenant = ? LIMIT ?")
REPORT_DOCUMENT: Final = _s(
    "report_document",
    "SELECT body FROM report_documents WHERE tenant = ? AND report = ? AND period = ? AND format = ?",
)

STATEMENTS: Final = {value.name: value for value in list(globals().values()) if isinstance(value, Statement)}

#: The metrics query whose windows are published; a new version starts a new checkpoint.
METRICS_QUERY: Final = "metrics-v3"
