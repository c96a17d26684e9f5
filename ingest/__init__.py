"""Takes chat events in: the ingest role, its client, importers and simulator."""
