"""Flower's options (https://flower.readthedocs.io/en/latest/config.html)."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery.events.state import Task

read_only = True
enable_events = False  # needs remote control of the workers, which is off
persistent = True
max_tasks = 5_000  # pages are blocked while they are saved, for seconds with 20,000
purge_offline_workers = 86_400  # seconds: a container has a new name at each start
natural_time = True
tasks_columns = "name,state,args,result,runtime,retries,received,worker,uuid"
_WITH_EXCEPTION = ("FAILURE", "RETRY")


def format_task(task: Task) -> Task:
    """Show a task's exception in the result column, which is empty otherwise."""
    result: Any = task.exception if task.state in _WITH_EXCEPTION else task.result
    task.result = _plain(result or "").removeprefix(f"{task.args}: ")
    return task


def _plain(text: str) -> str:
    """Return the text in a repr of a string, or of an exception with one argument."""
    inner = text.partition("(")[2].removesuffix(")") if text.endswith(")") else text
    for candidate in (text, inner):
        with suppress(SyntaxError, ValueError):
            value = ast.literal_eval(candidate)
            if isinstance(value, str):
                return value
    return text
