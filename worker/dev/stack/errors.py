"""Errors of the embedded services."""

from __future__ import annotations

from worker.core.errors import MediaError


class StackError(MediaError):
    """The stack cannot run; the message names the service, its log and the way out."""

    step = "stack"


class PortTakenError(StackError):
    """Another process took a service's port between the choice and the bind."""

    code = "port_taken"

    def __init__(self, message: str, *, service: str) -> None:
        super().__init__(message)
        self.service = service
