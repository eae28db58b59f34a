"""Benchmarks: each figure is compared with a ceiling or a baseline of the same run."""
