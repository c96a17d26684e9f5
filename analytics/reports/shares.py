"""Shares, ratios and percentiles as reports show them: rounded, and null where there is nothing to divide by."""

from pyspark.sql import Column
from pyspark.sql import functions as fn


def ratio(number: Column, of: Column, digits: int = 2) -> Column:
    """One number divided by another."""
    return fn.round(number / fn.nullif(of, fn.lit(0)), digits)


def percent(number: Column, of: Column, digits: int = 1) -> Column:
    """One number as a share of another."""
    return ratio(100 * number, of, digits)


def percentile(name: str, share: float) -> Column:
    """An aggregate: what this share of the column's values are not above, exactly; between two, in proportion."""
    return fn.round(fn.percentile(name, share), 1)
