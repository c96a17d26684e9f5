"""Runs the real Kafka, Cassandra and every role as child processes of one command, without Docker."""
