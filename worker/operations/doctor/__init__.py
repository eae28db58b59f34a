"""Check that everything is set up: services, credentials, indexes, lexicons, clocks, limits.

`checks.py` lists all checks. Each has a function that fetches facts as a frozen value, and a pure
function that evaluates them.
"""

from worker.operations.doctor.results import CheckResult, Level
from worker.operations.doctor.runner import examine

__all__ = ["CheckResult", "Level", "examine"]
