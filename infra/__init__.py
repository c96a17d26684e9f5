"""What every role shares: contracts, adapters to Kafka and Cassandra, local engines, the command line."""
