"""The read API: history, metrics, the live stream and the dashboard. It only reads."""
