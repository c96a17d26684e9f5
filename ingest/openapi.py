"""The OpenAPI document."""

from typing import Any


def document() -> dict[str, Any]:
    """Draft."""
    return {"openapi": "3.1.0", "info": {"title": "Hubbub ingest", "version": "1"}, "paths": {}}


def page(document: dict[str, Any]) -> str:
    """Draft."""
    return str(document["info"]["title"])
