"""How many examples the property tests try: `HYPOTHESIS_PROFILE` is `quick` or `thorough`.

`quick`, the default, tries the same examples on each run. `thorough` tries many new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: no example has a deadline.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", patient, max_examples=50, derandomize=True)
settings.register_profile("thorough", patient, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
