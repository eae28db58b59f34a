"""The options of Flower (https://flower.readthedocs.io/en/latest/config.html)."""

from __future__ import annotations

import ast
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery.events.state import Task

read_only = True
enable_events = False  # needs remote control of the workers, which is disabled
persistent = True
max_tasks = 5_000  # saving the tasks blocks all pages: for seconds with 20,000 tasks
purge_offline_workers = 86_400  # seconds: a container has a new name at each start
natural_time = True
tasks_columns = "name,state,args,result,runtime,retries,received,worker,uuid"
_WITH_EXCEPTION = ("FAILURE", "RETRY")


def format_task(task: Task) -> Task:
    """Show the exception of a failed or retried task in the result column."""
    result: Any = task.exception if task.state in _WITH_EXCEPTION else task.result
    task.result = _plain(result or "").removeprefix(f"{task.args}: ")
    return task


def _plain(text: str) -> str:
    """Extract the text from the repr of a string, or of an exception with one text."""
    inner = text.partition("(")[2].removesuffix(")") if text.endswith(")") else text
    for candidate in (text, inner):
        with suppress(SyntaxError, ValueError):
            value = ast.literal_eval(candidate)
            if isinstance(value, str):
                return value
    return text
