"""The one shared vocabulary: events, topics, tables, placement, windows and metrics, each defined once."""
