"""Errors of the embedded services."""

from __future__ import annotations

from worker.core.errors import MediaError
from worker.core.text import printable_lines


class StackError(MediaError):
    """The stack cannot run; the message describes the cause and what to do."""

    step = "stack"

    def _clean(self, message: str) -> str:
        return printable_lines(message)  # it may end with lines of a service's log


class PortTakenError(StackError):
    """Another process took the port of a service before the service started."""

    code = "port_taken"

    def __init__(self, message: str, *, service: str) -> None:
        super().__init__(message)
        self.service = service
