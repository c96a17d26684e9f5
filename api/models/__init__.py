"""Shapes of replies and request bodies, as the OpenAPI document shows them. Replies are written with msgspec."""
