"""Every report, by name. Another one is a module with its query and its `Report`, a line here, and a test."""

from typing import Final

from analytics.reports import activity, daily, parity, response_times

REPORTS: Final = {
    report.name: report
    for report in (
        daily.DAILY,
        activity.WEEKLY,
        activity.MONTHLY,
        response_times.RESPONSE_TIMES,
        parity.PARITY,
    )
}
