"""Tests that run the project as its users do: make targets, programs, tutorials, browsers."""
