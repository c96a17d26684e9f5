"""Finished batch reports: which there are, and each as JSON, CSV or a page, as it was stored."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.auth import TenantReader
from api.errors import Refused, not_found
from api.history.messages import utc
from api.models.base import refusals
from api.models.reports import ReportBody, ReportsBody
from api.replies import json
from api.state import Shared
from infra.contracts import tables
from infra.contracts.reports import FORMATS, Format, State

router = APIRouter(tags=["reports"])

#: A page has one style sheet of its own, which it pins itself by hash, and no script. It may be framed by nobody.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NAMES: dict[str, Format] = {"application/json": "json", "text/csv": "csv", "text/html": "html"}


@router.get("/v1/reports", response_model=ReportsBody, responses=refusals(401, 403, 422, 503))
async def reports(principal: TenantReader, state: Shared, limit: Annotated[int, Query(ge=1, le=400)] = 60) -> Response:
    """The reports that are finished, the newest day first."""
    rows = await state.database.execute(tables.NEWEST_REPORT_RUNS, (principal.tenant, limit + 1))
    found = [_entry(row) for row in rows[:limit] if row[4] is not None]
    return json({"reports": found, "more": len(rows) > limit})


@router.get(
    "/v1/reports/{name}/{period}",
    response_model=ReportBody,
    responses={
        200: {
            "description": "As JSON, CSV or a page, as `format` or Accept asks",
            "content": {"text/csv": {}, "text/html": {}},
        },
        **refusals(401, 403, 404, 406, 422, 503),
    },
)
async def report(
    name: Annotated[str, Path(max_length=100)],
    period: Annotated[date, Path(description="Its day, as 2026-03-14")],
    principal: TenantReader,
    state: Shared,
    request: Request,
    chosen: Annotated[Format | None, Query(alias="format")] = None,
) -> Response:
    """One finished report. `format` comes before Accept; JSON when neither chooses."""
    wanted = chosen or preferred(request.headers.get("accept", "*/*"))
    if wanted is None:
        raise Refused(406, f"A report is {', '.join(_NAMES)}.")
    day = period.isoformat()
    runs = await state.database.execute(tables.REPORT_RUNS, (principal.tenant, day, day))
    # What a first run has stored and not finished is not there yet.
    if not any(row[1] == name and row[4] is not None for row in runs):
        raise not_found("report")
    rows = await state.database.execute(tables.REPORT_DOCUMENT, (principal.tenant, name, day, wanted))
    if not rows:
        raise not_found("report")
    headers = {"Vary": "Accept"}
    if wanted == "html":
        headers["Content-Security-Policy"] = _PAGE_POLICY
    if wanted == "csv":
        headers["Content-Disposition"] = f'attachment; filename="{name}-{day}.csv"'
    return Response(rows[0][0], headers=headers, media_type=FORMATS[wanted])


def preferred(accept: str) -> Format | None:
    """The format an Accept header asks for first; of equals the one it names first. None when it takes none."""
    best: tuple[float, Format | None] = (0.0, None)
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            quality = float(weight)
        except ValueError:
            continue
        found = _NAMES.get(kind.lower()) or ("json" if kind in ("*/*", "application/*") else None)
        if found is not None and quality > best[0]:
            best = (quality, found)
    return best[1]


def _entry(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of `tables.REPORT_RUNS` as a reply shows it."""
    period, report, state, _, finished_at, as_of, complete, final, revision, _, _ = row
    return {
        "report": report,
        "period": period,
        "as_of": None if as_of is None else utc(as_of),
        "complete": bool(complete),
        "final": bool(final),
        "revision": revision,
        "finished_at": utc(finished_at),
        "running": state == State.RUNNING,
    }
