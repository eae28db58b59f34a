"""Tests that run against real services."""
