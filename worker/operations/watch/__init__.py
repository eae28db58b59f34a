"""Enqueue changes from MongoDB's change stream, for programs that do not.

Several watchers may run at the same time. They share one saved position in MongoDB.
"""
