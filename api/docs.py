"""The OpenAPI document, and the same as one plain page: no script, no file from elsewhere, readable in any browser."""

from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import FastAPI

from api.auth import COOKIE

_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A read key, or a channel token"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Reads only, on the same origin"},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, with how to authenticate. An operation that needs no key says `security: []` itself."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    document["security"] = [{name: []} for name in _SCHEMES]
    return document


def page(document: Mapping[str, Any]) -> str:
    """An HTML page of every operation with its parameters and replies."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"></head><body><main>'
        f"<h1>{title} {escape(info['version'])}</h1>"
        '<p>The whole of it is in <a href="/openapi.json">openapi.json</a>.</p>'
        f"{operations}</main></body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{'required' if p.get('required') else ''}</td><td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    table = f"<table><tbody>{parameters}</tbody></table>" if parameters else ""
    replies = "".join(
        f"<li><code>{escape(status)}</code> {escape(reply.get('description', ''))}</li>"
        for status, reply in operation["responses"].items()
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('description', ''))}</p>{table}<ul>{replies}</ul></section>"
    )
