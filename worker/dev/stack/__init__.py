"""Embedded services: MongoDB, Valkey and a PDS from Python wheels and npm, without Docker.

For tests, demos and development: data on disk, but no authentication and no TLS.
"""

from __future__ import annotations

from worker.dev.stack.errors import StackError
from worker.dev.stack.service import Service
from worker.dev.stack.stack import Stack

__all__ = ["Service", "Stack", "StackError"]
