"""Errors of the embedded services."""

from __future__ import annotations

from worker.core.errors import MediaError


class StackError(MediaError):
    """The stack cannot run; the message names the service, its log and the remedy."""

    step = "stack"


class PortTakenError(StackError):
    """Another process bound a service's port after the stack chose it."""

    code = "port_taken"

    def __init__(self, message: str, *, service: str) -> None:
        super().__init__(message)
        self.service = service
