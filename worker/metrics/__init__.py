"""Figures for Prometheus: what workers count, and how the platform as a whole stands."""
