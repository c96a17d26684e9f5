"""Batch reports: declared once in the registry, counted exactly from the archive, made once and stored."""
