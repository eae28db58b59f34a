"""Stores from which images and programs are read, and thumbnails."""
