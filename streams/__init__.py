"""The router that judges and routes events in flight, and the history writer behind it."""
