"""Brings history in from files: one module for each format, and one sender for all of them."""
