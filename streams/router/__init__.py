"""The router: reads what ingest accepted, judges it and puts it where it belongs."""
