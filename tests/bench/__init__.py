"""Measurements that can be repeated: each prints its figures as JSON."""
