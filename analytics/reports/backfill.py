"""`backfill`: the windows of a UTC day counted exactly from the archive, to correct those that were streamed.

What the stream could not know is in them: what came behind the watermark, what moderators decided later, and history
that was imported. A window is counted once it is over and all that belongs in it is archived.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.engagement import counts_in
from analytics.reports import facts
from analytics.reports.coverage import final_until
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS, HELD
from infra.contracts.metrics import COUNTS, DISTINCTS, SKETCH_LG_K, TENANT_SCOPE, channel_scope
from infra.contracts.windows import GRAINS

#: The section with a row a grain, and that with a row a metric.
GRAIN: Final = "grain"
METRIC: Final = "metric"
RULE: Final = (
    "Where the exact count of a window is not what readers see of it, it is stored beside the streamed one under a "
    "higher revision, and readers get it from then on."
)

COLUMNS: Final = (
    reports.Column(name="windows", label="Windows", meaning="windows of tenant and channels", unit="windows"),
    reports.Column(
        name="corrected", label="Corrected", meaning="windows whose exact counts are not the streamed", unit="windows"
    ),
    reports.Column(
        name="streamed", label="Streamed", meaning="the tenant's streamed minutes, added up", unit=reports.OWN
    ),
    reports.Column(name="exact", label="Exact", meaning="the same minutes as counted exactly", unit=reports.OWN),
)


def windows(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, scope, grain, start_ms), counts, exact distincts and their sketches, ordered by tenant and scope.

    One row for each window of tenant or channel that is over and in which anything has counted.
    """
    width = {grain.name: grain.width // timedelta(milliseconds=1) for grain in GRAINS}
    time = fn.unix_millis("time")
    grains = fn.array(
        *(
            fn.struct(fn.lit(name).alias("grain"), (time - time % ms).alias("start_ms"), fn.lit(ms).alias("width"))
            for name, ms in width.items()
        )
    )
    scopes = fn.array_compact(
        fn.array(fn.lit(TENANT_SCOPE), fn.concat(fn.lit(channel_scope("")), fn.col("channel_id")))
    )
    over = int(final_until(as_of).timestamp() * 1000)
    counts = {measure.name: counts_in(measure) for measure in COUNTS}
    flags = {measure.name: counts_in(measure) for measure in DISTINCTS}
    place = ("tenant", "scope", "grain", "start_ms")
    return (
        facts.moderated(facts.happened(tables, span))
        .withColumn("scope", fn.explode(scopes))
        .select("*", fn.inline(grains))
        .where(fn.col("start_ms") + fn.col("width") <= over)
        .groupBy(*place, "author")
        .agg(
            *(fn.count(fn.when(condition, True)).alias(name) for name, condition in counts.items()),
            *(fn.max(condition).alias(name) for name, condition in flags.items()),
        )
        .groupBy(*place)
        .agg(
            *(fn.sum(name).alias(name) for name in counts),
            *(fn.count_if(fn.col(name) & fn.col("author").isNotNull()).alias(name) for name in flags),
            *(
                fn.hll_sketch_agg(fn.when(fn.col(name), fn.col("author")), SKETCH_LG_K).alias(f"{name}_sketch")
                for name in flags
            ),
        )
        .where(" OR ".join(f"{name} > 0" for name in (*counts, *flags)))
        .orderBy("tenant", "scope")
    )


BACKFILL: Final = Report(
    name="backfill",
    title="Backfill",
    meaning="Counts the windows of a UTC day exactly, and corrects those whose streamed numbers differ.",
    calendar="UTC",
    tables=(EVENTS, HELD),
    query=windows,
    columns=COLUMNS,
    headline=("corrected", "windows"),
    figures=("corrected", "windows"),
    shapes=(
        Shape(
            name="grains",
            section=GRAIN,
            title="Grain by grain",
            kind="table",
            key="grain",
            columns=("windows", "corrected"),
            order=("windows",),
            most=10,
        ),
        Shape(
            name="metrics",
            section=METRIC,
            title="Metric by metric",
            kind="table",
            key="metric",
            columns=("streamed", "exact"),
            order=("exact",),
            most=100,
        ),
    ),
    corrects=True,
    settle=timedelta(minutes=1),
    rule=RULE,
)
