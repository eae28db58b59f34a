"""The demo: a small platform with users, files and documents, and a worker."""
