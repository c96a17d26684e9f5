"""Engagement numbers and rankings, each with its freshness."""
