"""How much past each tenant has for a model of who leaves, and why that may be too little."""

from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.reports.outcomes import HISTORY, HORIZON, TODAY, Weeks, weeks

#: People who left, and as many who stayed, below which nothing is predicted.
PEOPLE: Final = 100
#: Columns of the report; what it leaves out is null.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What there is of one tenant to learn from."""

    history: int = 0
    """Days."""
    people: int = 0
    left: int = 0
    stayed: int = 0

    @property
    def weeks(self) -> Weeks:
        return weeks(self.history)

    @property
    def missing(self) -> str | None:
        """Why nothing can be learned from it."""
        if self.history < HISTORY:
            return f"{self.history} days of history; {HISTORY} are needed, three times {HORIZON}"
        if min(self.left, self.stayed) < PEOPLE:
            return f"{self.left} people left and {self.stayed} stayed in training weeks; {PEOPLE} of each are needed"
        return None

    def figures(self) -> Row:
        return {
            "people": self.people,
            "history": self.history,
            "left": self.left,
            "stayed": self.stayed,
            "training_weeks": len(self.weeks.training),
            "held_out_weeks": len(self.weeks.held_out),
            "outcomes": 0,
        }


def pasts(known: DataFrame) -> dict[str, Past]:
    """By tenant how much past there is, and how many people left or stayed in its training weeks.

    `known` is as `outcomes` gives it.
    """
    ref, spark = fn.col("ref"), known.sparkSession
    found = known.groupBy("tenant").agg(
        (fn.max("since") + 1).alias("history"), fn.count(fn.when(ref == TODAY, True)).alias("people")
    )
    of_tenant = {row.tenant: Past(history=row.history, people=row.people) for row in found.orderBy("tenant").collect()}
    training = [(tenant, day) for tenant, past in of_tenant.items() for day in past.weeks.training]
    if training:
        counted = (
            known.join(fn.broadcast(spark.createDataFrame(training, "tenant string, ref int")), ["tenant", "ref"])
            .groupBy("tenant")
            .agg(
                fn.count_distinct(fn.when(fn.col("left"), fn.col("author"))).alias("left"),
                fn.count_distinct(fn.when(~fn.col("left"), fn.col("author"))).alias("stayed"),
            )
        )
        for row in counted.collect():
            past = of_tenant[row.tenant]
            of_tenant[row.tenant] = Past(history=past.history, people=past.people, left=row.left, stayed=row.stayed)
    return of_tenant
