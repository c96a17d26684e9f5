"""Engagement numbers: counts the log with Spark and keeps the windows that are published."""
