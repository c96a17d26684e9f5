"""Thin adapters over the outside world. No business rule lives here."""
