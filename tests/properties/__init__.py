"""Tests over generated values."""
