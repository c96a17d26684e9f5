"""Every report, by name. Another one is a module with its query and its `Report`, a line here, and a test."""

from typing import Final

from analytics.reports import (
    activity,
    backfill,
    channels,
    churn,
    daily,
    lifecycle,
    moderation,
    next_channel,
    parity,
    response_times,
    retention,
    sessions,
)

REPORTS: Final = {
    report.name: report
    for report in (
        daily.DAILY,
        activity.WEEKLY,
        activity.MONTHLY,
        *retention.RETENTION,
        *lifecycle.LIFECYCLE,
        response_times.RESPONSE_TIMES,
        sessions.SESSIONS,
        channels.CHANNELS,
        moderation.MODERATION,
        churn.CHURN,
        next_channel.NEXT_CHANNEL,
        parity.PARITY,
        backfill.BACKFILL,
    )
}
