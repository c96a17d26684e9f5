"""Whose reports are made by themselves."""

from zoneinfo import ZoneInfo

from structlog.testing import capture_logs

from analytics.reports.due import zones
from infra.contracts.control import CANARY, Tenant


def test_each_tenant_in_its_zone_but_the_canary_and_one_whose_zone_nobody_knows() -> None:
    known = [
        Tenant(id="acme", timezone="Asia/Kathmandu"),
        Tenant(id="other"),
        CANARY,
        Tenant(id="lost", timezone="X/Y"),
    ]
    with capture_logs() as logs:
        found = zones({tenant.id: tenant for tenant in known})
    assert found == {"acme": ZoneInfo("Asia/Kathmandu"), "other": ZoneInfo("UTC")}
    assert [(line["event"], line["tenant"]) for line in logs] == [("report.unknown_zone", "lost")]
