"""The auditor: counts what went in and what came out, by tenant and minute, and names what differs."""
