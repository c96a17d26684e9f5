"""Names every Prometheus metric of the roles once, with its kind and meaning."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

ACCEPTED: Final = Counter("hubbub_ingest_events_total", "Events of requests by outcome code", ["outcome"])
LIMITED: Final = Counter("hubbub_ingest_limited_events_total", "Events refused for a limit, by which one", ["limit"])
SLOWED: Final = Counter("hubbub_ingest_slow_mode_total", "Times a channel went into slow mode")
SLOW_CHANNELS: Final = Gauge("hubbub_ingest_slow_channels", "Channels in slow mode")
BURIED: Final = Counter("hubbub_ingest_dead_letters_total", "Items of Segment's clients stored as dead letters")
SKEWED: Final = Counter("hubbub_ingest_skewed_events_total", "Events whose time lay after their receipt")
INGEST_SECONDS: Final = Histogram("hubbub_ingest_seconds", "From request read to reply ready", buckets=_SECONDS)
FRAME_EVENTS: Final = Histogram(
    "hubbub_ingest_frame_events",
    "Events in one produced frame",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500),
)
QUEUED_EVENTS: Final = Gauge("hubbub_ingest_queued_events", "Events accepted and not yet confirmed by Kafka")

ROUTED: Final = Counter("hubbub_router_events_total", "Elements routed by outcome", ["outcome"])
VERDICTS: Final = Counter(
    "hubbub_router_verdicts_total", "Verdicts by rule and action; `shadow` is only noted", ["rule", "action"]
)
RULES_VERSION: Final = Gauge(
    "hubbub_router_rules_version",
    "Version of the rule set that judged last, by input topic and whose set it is; 0 is the built-in one",
    ["lane", "tenant"],
)
RULES_WAITS: Final = Counter(
    "hubbub_router_rules_waits_total", "Times routing waited until the rules in force were certainly known"
)
REMEMBERED: Final = Gauge(
    "hubbub_router_remembered_messages", "Messages remembered for rules that count, by partition", ["partition"]
)
RECALL_SECONDS: Final = Histogram(
    "hubbub_router_recall_seconds", "Reading again what rules that count must remember", buckets=_SECONDS
)
ROUTER_IN_FLIGHT: Final = Gauge("hubbub_router_in_flight_records", "Input records whose outputs are not confirmed yet")
UNEXPECTED: Final = Counter("hubbub_unexpected_errors_total", "Exceptions that no rule foresaw", ["where"])

WRITTEN: Final = Counter("hubbub_history_rows_total", "Rows confirmed by Cassandra by table", ["table"])
HISTORY_SECONDS: Final = Histogram("hubbub_history_write_seconds", "One batch to Cassandra", buckets=_SECONDS)
HISTORY_PAUSED: Final = Gauge("hubbub_history_paused_partitions", "Partitions paused because Cassandra is slow")

ARCHIVED: Final = Counter("hubbub_archive_rows_total", "Rows committed by table", ["table"])
ARCHIVE_SECONDS: Final = Histogram("hubbub_archive_commit_seconds", "One commit to a table", buckets=_SECONDS)
ARCHIVE_BUFFERED: Final = Gauge("hubbub_archive_buffered_bytes", "Rows read and not yet committed")
ARCHIVE_BYTES: Final = Gauge("hubbub_archive_table_bytes", "Data files of a table, seen each hour", ["table"])
ARCHIVE_FILES: Final = Gauge("hubbub_archive_table_files", "Number of data files of a table, seen each hour", ["table"])
ARCHIVE_UNREADABLE: Final = Counter("hubbub_archive_unreadable_records_total", "Records left out", ["topic"])
ARCHIVE_GAP: Final = Gauge(
    "hubbub_archive_gap_records", "Records that are gone from the topic and not archived", ["topic", "partition"]
)

LAG: Final = Gauge(
    "hubbub_lag_records", "Records between what is done and the end of the partition", ["topic", "partition"]
)

LIVE_SUBSCRIBERS: Final = Gauge("hubbub_live_subscribers", "Open live streams by protocol", ["protocol"])
LIVE_SENT: Final = Counter("hubbub_live_events_total", "Events put to live streams")
LIVE_DROPPED: Final = Counter("hubbub_live_disconnects_total", "Live streams closed by reason", ["reason"])
PAGE_SECONDS: Final = Histogram("hubbub_api_page_seconds", "One history page, cache included", buckets=_SECONDS)
CACHE: Final = Counter("hubbub_api_cache_total", "History page look-ups by result", ["result"])

WINDOW_ROWS: Final = Counter("hubbub_analytics_rows_total", "Metric window rows written by grain", ["grain"])
WATERMARK_SECONDS: Final = Gauge("hubbub_analytics_watermark_lag_seconds", "How far the watermark is behind the clock")
TRIGGER_SECONDS: Final = Histogram("hubbub_analytics_trigger_seconds", "One micro-batch", buckets=_SECONDS)
LATE: Final = Counter("hubbub_analytics_late_events_total", "Events behind the watermark")

INTERACTIONS_EVENTS: Final = Gauge(
    "hubbub_interactions_events",
    "Events left out as late or as copies since the log was first read, and waits forgotten among too many",
    ["kind"],
)
INTERACTIONS_KEPT: Final = Gauge("hubbub_interactions_kept", "What is kept in memory, by kind", ["kind"])
INTERACTIONS_LAG: Final = Gauge(
    "hubbub_interactions_lag_seconds", "How far the newest event counted is behind the clock"
)

LEDGER_MINUTES: Final = Gauge(
    "hubbub_ledger_minutes", "Minutes in which a stage is late or different, over all tenants", ["state", "stage"]
)
LEDGER_OPEN: Final = Gauge("hubbub_ledger_open_records", "Input records of which not everything has been seen yet")
LEDGER_LAG: Final = Gauge("hubbub_ledger_lag_seconds", "How far what the ledger has read is behind the clock")

CANARY_SECONDS: Final = Histogram(
    "hubbub_canary_seconds", "From sending the canary until a stage has it", ["stage"], buckets=_SECONDS
)
CANARY_LOST: Final = Counter(
    "hubbub_canary_lost_total", "Canaries by the first stage they did not reach in time", ["stage"]
)
