"""Enqueue what MongoDB's change stream reports, for programs that cannot enqueue it themselves.

Several watchers may run at the same time. They share one saved position in MongoDB.
"""
