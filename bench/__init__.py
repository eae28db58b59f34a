"""Measurements: every figure beside its ceiling and its baseline, from the same run."""
