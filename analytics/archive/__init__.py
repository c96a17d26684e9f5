"""The archive writer: events, held messages and verdicts of the log to Delta tables, each record exactly once."""
