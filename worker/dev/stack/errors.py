"""Errors of the embedded services."""

from __future__ import annotations

from worker.core.errors import MediaError


class StackError(MediaError):
    """The stack cannot run; the message describes the cause and what to do."""

    step = "stack"


class PortTakenError(StackError):
    """Another process took the port of a service before the service started."""

    code = "port_taken"

    def __init__(self, message: str, *, service: str) -> None:
        super().__init__(message)
        self.service = service
