"""Sync items and batches with the PDS, retry failures, and balance the queues."""
