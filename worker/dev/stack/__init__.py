"""Run MongoDB, Valkey and a PDS from Python wheels and npm, without Docker.

These embedded services are for tests, demos and development. They keep their data on disk, but
use no TLS, and MongoDB and Valkey require no authentication.
"""

from __future__ import annotations

from worker.dev.stack.errors import StackError
from worker.dev.stack.service import Service
from worker.dev.stack.stack import Stack

__all__ = ["Service", "Stack", "StackError"]
