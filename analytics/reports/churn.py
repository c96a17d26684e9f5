"""`churn`: how likely each active person is to stay away from now on, why, and how right such predictions were.

Each tenant has a model of its own, made anew from its own past weeks; where those say too little there is none.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.reports import facts, leaving
from analytics.reports.leaving import BINS, REASONS, Bin, Judgement, Model
from analytics.reports.outcomes import BEFORE, FEATURES, HISTORY, HORIZON, TODAY, outcomes
from analytics.reports.pasts import PEOPLE, Past, Row, pasts
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS

#: A model that tells leavers from others less well than this on held-out weeks is not used: 0.5 is chance.
AUC: Final = 0.6
#: The sections with a row for each band of probabilities, and for each held-out week.
CALIBRATION: Final = "calibration"
WEEK: Final = "week"
RULE: Final = f"""\
This is a prediction about people, and may be wrong about any of them. It is for those who look after the \
community, to see where to reach out; it is no ground for a decision against somebody. Give the key that reads \
reports to nobody else.

Somebody who was active in the {HORIZON} days that end with the day leaves if they are not active in the \
{HORIZON} days after it. What is known of them is from those first {HORIZON} days alone: how long ago they were \
last active, also against their own rhythm, on how many days, in how many channels, how many fewer days than the \
week before, messages, replies, reactions, and the replies and reactions that they received. A reason is a \
feature's weight times its distance from the mean, ↑ towards leaving, ↓ towards staying; "others" is that mean. \
Reasons say what the model goes by, not what caused anything.

The model is a logistic regression of past weeks, calibrated by Platt's scaling on a quarter of the people, who \
take no part in the fit. It is judged on the latest weeks whose outcome is known, one to four of them; what it \
is made from was known before the first of them. AUC is the chance that somebody who left was given a higher \
probability than somebody who stayed; the Brier score the mean square of what separates probabilities from what \
came true. The model that is judged is the one that predicts. A tenant's model sees nothing of another's.

Nothing is predicted, and the report says why, of less than {HISTORY} days of history (three times {HORIZON}), \
from fewer than {PEOPLE} people who left or {PEOPLE} who stayed in the training weeks, or where the AUC is below \
{AUC}. Somebody can be among both. It knows nothing of holidays, of what was said, or of reading that clients do \
not report; who has just come looks like who comes seldom."""

_OF_A_PERSON: Final = (
    reports.Column(
        name="risk",
        label="Risk, %",
        meaning=f"the probability of not being active in the {HORIZON} days after the day",
        unit="percent",
        optional=True,
    ),
    *(
        reports.Column(
            name=f"reason_{n}",
            label=f"Reason {n}",
            meaning="what moves it most from that of somebody average: ↑ raises, ↓ lowers it"
            if n == 1
            else "the next, in the same way",
            unit="text",
            optional=True,
        )
        for n in range(1, REASONS + 1)
    ),
)
_OF_OUTCOMES: Final = (
    reports.Column(name="outcomes", label="Outcomes", meaning="people whose outcome is known", unit="people"),
    reports.Column(
        name="predicted", label="Predicted, %", meaning="the mean of their probabilities", unit="percent", optional=True
    ),
    reports.Column(
        name="observed", label="Observed, %", meaning="how many of them did leave", unit="percent", optional=True
    ),
)
_WHOLE: Final = (
    reports.Column(name="abstained", label="No prediction", meaning="why there is none", unit="text", optional=True),
    reports.Column(
        name="people", label="People", meaning=f"active in the {HORIZON} days that end with the day", unit="people"
    ),
    reports.Column(
        name="at_risk", label="At risk", meaning="more likely to leave than to stay", unit="people", optional=True
    ),
    reports.Column(
        name="expected",
        label="Expected to leave",
        meaning="the sum of the probabilities",
        unit="people",
        optional=True,
    ),
    reports.Column(
        name="auc",
        label="AUC",
        meaning="held-out weeks: the chance that who left was given more than who stayed; 0.5 is guessing",
        unit="share",
        optional=True,
    ),
    reports.Column(
        name="calibration_error",
        label="Calibration error, %",
        meaning="held-out weeks: predicted less observed, either way, on the average of the bands weighted by outcomes",
        unit="percent",
        optional=True,
    ),
    reports.Column(
        name="brier",
        label="Brier score",
        meaning="held-out weeks: the mean square of what separates probabilities from what came true",
        unit="share",
        optional=True,
    ),
    reports.Column(name="history", label="History", meaning="days since the first activity that is read", unit="days"),
    reports.Column(name="left", label="Left", meaning="different people who left in training weeks", unit="people"),
    reports.Column(
        name="stayed", label="Stayed", meaning="different people who stayed in training weeks", unit="people"
    ),
    reports.Column(name="training_weeks", label="Training weeks", meaning="weeks it is fitted to", unit="weeks"),
    reports.Column(name="held_out_weeks", label="Held-out weeks", meaning="later weeks it is judged by", unit="weeks"),
    *_OF_OUTCOMES,
)
FIGURES: Final = tuple(column.name for column in _WHOLE)
COLUMNS: Final = (*_WHOLE, *_OF_A_PERSON)

_TYPES: Final = {"text": "string", "percent": "double", "share": "double"}
_SCHEMA: Final = ", ".join(
    (
        "tenant string, section string, key string",
        *(f"{c.name} {_TYPES.get(c.unit, 'bigint')}" for c in COLUMNS),
    )
)
_KEY: Final = ("tenant", "section", "key")


#: Of a tenant of whom nothing at all is known.
SILENT: Final = {**Past().figures(), "abstained": Past().missing}


def churn(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`. Fits a model for each tenant that has enough past."""
    # Read many times, once from the archive; as an RDD it goes when nothing refers to it.
    known = outcomes(tables, span).localCheckpoint()
    rows: list[Row] = []
    people: list[DataFrame] = []
    for tenant, past in pasts(known).items():
        place = {"tenant": tenant, "section": facts.TOTAL, "key": ""}
        if past.missing is not None:
            rows.append({**place, **past.figures(), "abstained": past.missing})
            continue
        of_tenant = known.where(fn.col("tenant") == tenant)
        model = leaving.fit(of_tenant.where(fn.col("ref").isin(list(past.weeks.training))))
        judgement = leaving.judge(model, of_tenant.where(fn.col("ref").isin(list(past.weeks.held_out))))
        why = unreliable(judgement)
        at_present = of_tenant.where(fn.col("ref") == TODAY)
        rows += [
            {
                **place,
                **past.figures(),
                **judged(judgement),
                "abstained": why,
                **({} if why else _sums(at_present, model)),
            },
            *({"tenant": tenant, **row} for row in lists(judgement, span)),
        ]
        if why is None:
            people.append(_predicted(at_present, model))
    found = known.sparkSession.createDataFrame([_complete(row) for row in rows], _SCHEMA)
    for rows_of_tenant in people:
        found = found.unionByName(rows_of_tenant, allowMissingColumns=True)
    return found


def unreliable(judgement: Judgement) -> str | None:
    """Why a model is not used that could be made."""
    auc = judgement.auc.get(None)
    if auc is None:
        return "in held-out weeks nobody left, or nobody stayed, so that no prediction can be judged"
    if auc < AUC:
        return f"the model's AUC on held-out weeks is {auc:.2f}, which is too close to guessing; {AUC:.2f} is needed"
    return None


def judged(judgement: Judgement) -> Row:
    """The figures of how right a model was."""
    if not judgement.bins:
        return {}
    auc = judgement.auc[None]
    return {
        **_observed(leaving.total(judgement.bins)),
        "auc": None if auc is None else round(auc, 3),
        "brier": round(judgement.brier, 4),
        "calibration_error": round(100 * judgement.error, 1),
    }


def lists(judgement: Judgement, span: Span) -> Iterator[Row]:
    """The rows of the bands of probability, and of the held-out weeks by their reference days."""
    for number, one in judgement.merged("number").items():
        low, high = 100 * number // BINS, 100 * (number + 1) // BINS
        yield {"section": CALIBRATION, "key": f"{low:02} to {high} %", **_observed(one)}
    for ref, one in judgement.merged("ref").items():
        auc = judgement.auc[ref]
        day = span.day - timedelta(days=ref)
        yield {
            **{"section": WEEK, "key": day.isoformat(), **_observed(one)},
            "auc": None if auc is None else round(auc, 3),
        }


def _observed(one: Bin) -> Row:
    return {
        "outcomes": one.people,
        "predicted": round(100 * one.expected / one.people, 1),
        "observed": round(100 * one.left / one.people, 1),
    }


def _sums(people: DataFrame, model: Model) -> Row:
    risk = model.probability()
    row = people.agg(
        fn.round(fn.sum(risk)).cast("bigint").alias("expected"),
        fn.count(fn.when(risk > fn.lit(0.5), True)).alias("at_risk"),
    ).first()
    assert row is not None  # an aggregate of everything has a row
    return {"expected": row.expected or 0, "at_risk": row.at_risk}


def _predicted(people: DataFrame, model: Model) -> DataFrame:
    """(tenant, section, key), risk and reasons of each of these people."""
    # PySpark looks for hints of types in what it is given, and a bound method's it does not understand.
    reasons = fn.udf(lambda values: model.reasons(values), "array<string>")  # noqa: PLW0108
    return people.withColumn("reasons", reasons(fn.array(*(f.name for f in FEATURES)))).select(
        "tenant",
        fn.lit(facts.PERSON).alias("section"),
        fn.col("author").alias("key"),
        fn.round(100 * model.probability(), 1).alias("risk"),
        *(fn.get("reasons", fn.lit(n)).alias(f"reason_{n + 1}") for n in range(REASONS)),
    )


def _complete(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in (*_KEY, *(column.name for column in COLUMNS)))


CHURN: Final = Report(
    name="churn",
    title="Churn risk",
    meaning="How likely each active person is to stay away from now on, and how right such predictions were: "
    "a prediction for those who look after people, not a ground to decide about them.",
    calendar="tenant",
    tables=(EVENTS,),
    query=churn,
    columns=COLUMNS,
    headline=("at_risk", "expected", "people", "auc", "calibration_error"),
    figures=FIGURES,
    shapes=(
        Shape(
            name="people",
            section=facts.PERSON,
            title="Who may leave",
            kind="table",
            key="user",
            columns=("risk", *(f"reason_{n + 1}" for n in range(REASONS))),
            order=("risk",),
            most=2_000,
        ),
        Shape(
            name="calibration",
            section=CALIBRATION,
            title="Calibration on held-out weeks",
            kind="table",
            key="band",
            columns=("predicted", "observed", "outcomes"),
            most=BINS,
        ),
        Shape(
            name="held_out",
            section=WEEK,
            title="Held-out weeks",
            kind="table",
            key="known_on",
            columns=("auc", "predicted", "observed", "outcomes"),
            most=10,
        ),
    ),
    rule=RULE,
    silent=SILENT,
    before=BEFORE,
    settle=timedelta(days=1),
)
