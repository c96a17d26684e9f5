"""A model of who leaves: fitted to a tenant's past weeks, calibrated on people it has not seen, judged on later weeks.

Logistic regression, so that a probability is a sum in which each feature has its share; then Platt's scaling. The same
rows in any order give the same model.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from analytics.reports.outcomes import FEATURES

#: One person in so many is left out of the fit, for the calibration.
_PARTS: Final = 4
#: Against features that say the same thing: they share a weight in place of cancelling out.
_RIDGE: Final = 0.01
#: Bins of the calibration, of equal width.
BINS: Final = 10
#: Reasons given of a probability.
REASONS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Log-odds of leaving: a weight for each feature, and how they are stretched and shifted into calibrated ones."""

    means: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    stretch: float
    shift: float

    def probability(self) -> Column:
        """Of leaving, from 0 to 1, by the columns named in `FEATURES`."""
        odds = fn.lit(self.stretch) * self.score() + fn.lit(self.shift)
        return 1 / (1 + fn.exp(-odds))

    def score(self) -> Column:
        """Log-odds before calibration."""
        terms = (fn.lit(w) * fn.col(f.name) for w, f in zip(self.weights, FEATURES, strict=True))
        return reduce(add, terms, fn.lit(self.intercept))

    def reasons(self, values: Sequence[float]) -> list[str]:
        """What moves this person's probability most from that of somebody average, and which way, strongest first."""
        shares = [
            (self.stretch * weight * (value - mean), feature, value, mean)
            for weight, mean, value, feature in zip(self.weights, self.means, values, FEATURES, strict=True)
        ]
        shares.sort(key=lambda share: -abs(share[0]))
        return [
            f"{'↑' if share > 0 else '↓'} {feature.words(*(_plain(v, feature.is_log) for v in (value, mean)))}"
            for share, feature, value, mean in shares[:REASONS]
            if share
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """People of one held-out week whose probabilities lie near each other: sums, that several bins add up to one."""

    ref: int
    number: int
    people: int
    left: int
    expected: float
    squares: float
    """Of what separates the probabilities from what came true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How right a model was on the held-out weeks, which have come after all it was made from."""

    bins: Sequence[Bin]
    auc: Mapping[int | None, float | None]
    """By reference day, and of all under None: the chance that who left was given more than who stayed."""

    def merged(self, key: str) -> dict[int, Bin]:
        """The bins added up by their `ref` or `number`, in order."""
        found: dict[int, list[Bin]] = {}
        for one in self.bins:
            found.setdefault(getattr(one, key), []).append(one)
        return {name: total(bins) for name, bins in sorted(found.items())}

    @property
    def brier(self) -> float:
        """The mean square of what separates a probability from what came true."""
        whole = total(self.bins)
        return whole.squares / whole.people

    @property
    def error(self) -> float:
        """The expected calibration error: how far a bin's mean lies from its share of leavers, weighted by people."""
        bins = self.merged("number").values()
        return sum(abs(one.expected - one.left) for one in bins) / total(self.bins).people


def total(bins: Sequence[Bin]) -> Bin:
    """Several bins as one; of those that differ the first names it."""
    return Bin(
        ref=bins[0].ref,
        number=bins[0].number,
        people=sum(one.people for one in bins),
        left=sum(one.left for one in bins),
        expected=math.fsum(one.expected for one in bins),
        squares=math.fsum(one.squares for one in bins),
    )


def fit(rows: DataFrame) -> Model:
    """The model of these rows of `outcomes`, of one tenant. Both outcomes have to be among them many times."""
    names = [feature.name for feature in FEATURES]
    apart = fn.pmod(fn.xxhash64("author"), fn.lit(_PARTS)) == 0
    fitted = LogisticRegression(regParam=_RIDGE, labelCol="label").fit(_ordered(rows.where(~apart), names))
    means = rows.where(~apart).agg(*(fn.avg(name) for name in names)).first()
    assert means is not None  # an aggregate of everything has a row
    plain = Model(
        means=tuple(means),
        weights=tuple(map(float, fitted.coefficients)),
        intercept=float(fitted.intercept),
        stretch=1.0,
        shift=0.0,
    )
    others = rows.where(apart).withColumn("score", plain.score())
    scaled = LogisticRegression(labelCol="label").fit(_ordered(others, ["score"]))
    return Model(
        means=plain.means,
        weights=plain.weights,
        intercept=plain.intercept,
        stretch=float(scaled.coefficients[0]),
        shift=float(scaled.intercept),
    )


def judge(model: Model, rows: DataFrame) -> Judgement:
    """How right the model is about these rows of `outcomes`, which are of later weeks than it was fitted to."""
    predicted = rows.select("ref", fn.col("left").cast("double").alias("label"), model.probability().alias("risk"))
    risk, label = fn.col("risk"), fn.col("label")
    number = fn.least(fn.floor(risk * BINS), fn.lit(BINS - 1)).cast("int")
    found = (
        predicted.groupBy("ref", number.alias("number"))
        .agg(
            fn.count("*").alias("people"),
            fn.sum("label").cast("int").alias("left"),
            fn.sum("risk").alias("expected"),
            fn.sum((risk - label) ** 2).alias("squares"),
        )
        .orderBy("ref", "number")
        .collect()
    )
    bins = [Bin(**row.asDict()) for row in found]
    return Judgement(bins=bins, auc=dict(_auc(predicted, bins)))


def _auc(predicted: DataFrame, bins: Sequence[Bin]) -> Iterator[tuple[int | None, float | None]]:
    # Bins of the evaluator's own would make it an estimate.
    evaluator = BinaryClassificationEvaluator(rawPredictionCol="risk", numBins=0)
    for ref in (None, *sorted({one.ref for one in bins})):
        of_week = [one for one in bins if ref in (None, one.ref)]
        left = sum(one.left for one in of_week)
        if 0 < left < sum(one.people for one in of_week):
            yield ref, evaluator.evaluate(predicted if ref is None else predicted.where(fn.col("ref") == ref))
        else:
            yield ref, None


def _ordered(rows: DataFrame, names: list[str]) -> DataFrame:
    """Features and label in one order, which sums of floating point depend on."""
    kept = rows.repartition(1).sortWithinPartitions("author", "ref").withColumn("label", fn.col("left").cast("double"))
    return VectorAssembler(inputCols=names, outputCol="features").transform(kept).select("features", "label")


def _plain(value: float, is_log: bool) -> float:
    return math.expm1(value) if is_log else value
