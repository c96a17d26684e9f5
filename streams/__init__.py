"""The router that judges and routes events in flight, the history writer behind it, and the ledger beside both."""
