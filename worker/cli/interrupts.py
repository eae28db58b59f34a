"""How a command that runs until it is told to stop hears that."""

from __future__ import annotations

import signal


def interrupt_on_every_request_to_end() -> None:
    """Treat SIGTERM and a closed terminal like Ctrl-C, which a background job may have off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
