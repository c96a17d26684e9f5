"""Report runs and documents."""

from datetime import datetime

from api.models.base import Model


class ReportRunBody(Model):
    """A finished report of one day."""

    report: str
    period: str
    """Its day, in the tenant's time zone."""
    as_of: datetime | None
    """Everything accepted before this moment is counted; null when that is not known."""
    complete: bool
    """Nothing is missing but what was accepted in the two minutes before it was made."""
    final: bool
    """What comes for this day now is a correction."""
    revision: int
    """Grows when its numbers change."""
    finished_at: datetime
    running: bool
    """It is being made again, or that was killed."""


class ReportsBody(Model):
    """Finished reports, the newest day first."""

    reports: list[ReportRunBody]
    more: bool


class ReportColumnBody(Model):
    """A number of a report."""

    name: str
    label: str
    meaning: str
    unit: str
    optional: bool = False
    """It is null where there is nothing to say."""


class ReportSectionBody(Model):
    """A list within a report: a row has a cell named `key`, and one for each of `columns`."""

    name: str
    title: str
    kind: str
    """`series`: a row an hour, `ranking`, or `table`."""
    key: str
    columns: list[str]
    rows: list[dict[str, int | float | str | None]]
    omitted: int
    """Rows beyond the list's bound."""


class ReportSourceBody(Model):
    """What a report was counted from: the versions of the archive's tables."""

    versions: dict[str, int]


class ReportBody(Model):
    """A report. It explains itself: `columns` says what each number means."""

    report: str
    title: str
    meaning: str
    tenant: str
    period: str
    start: datetime
    end: datetime
    """Exclusive."""
    timezone: str
    as_of: datetime | None
    complete: bool
    final: bool
    revision: int
    archive: ReportSourceBody
    columns: list[ReportColumnBody]
    headline: list[str]
    figures: dict[str, int | float | str | None]
    sections: list[ReportSectionBody]
