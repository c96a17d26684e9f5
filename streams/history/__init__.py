"""The history writer: events of the log to converging cells in Cassandra, committed only once confirmed."""
