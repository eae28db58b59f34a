"""Producers that cannot be changed: MongoDB's change stream says what they saved.

One process of many watches at a time, by a lease in MongoDB; how far it has come is kept beside it.
"""
