"""Check that everything is set up: services, credentials, indexes, lexicons, clocks, limits.

`checks.py` has a table of all checks: each has a function that fetches facts, a frozen value, and a
pure function that evaluates them.
"""

from worker.operations.doctor.results import CheckResult, Level
from worker.operations.doctor.runner import examine

__all__ = ["CheckResult", "Level", "examine"]
