"""What every shape is made of, and how a refusal looks."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Fields not named here do not occur."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ProblemBody(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


_REFUSALS = {
    400: "The request cannot be answered as put",
    401: "No valid key",
    403: "The key may not do this",
    404: "Not found, or not yours",
    406: "In no form that Accept takes",
    413: "Too large",
    422: "Invalid request",
    429: "Too many at once",
    503: "Unavailable, try again",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem replies of a route, for its documentation."""
    schema = ProblemBody.model_json_schema()
    return {
        status: {"description": _REFUSALS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
