"""A small platform to try things on: users, files and documents like the real one's."""
