"""Whether everything is set up right: services, credentials, indexes, lexicons, clocks, limits.

Each module has what it looks at as a frozen value (facts), a function that finds it out, and a pure
one that judges it.
"""

from worker.operations.doctor.results import CheckResult, Level
from worker.operations.doctor.runner import examine

__all__ = ["CheckResult", "Level", "examine"]
