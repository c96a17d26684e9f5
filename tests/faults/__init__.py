"""Faults under load, and the oracle that says whether the promises held. `python -m tests.faults --help`."""
