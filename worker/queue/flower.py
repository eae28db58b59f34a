"""The options of Flower (https://flower.readthedocs.io/en/latest/config.html)."""

from __future__ import annotations

import ast
from typing import Any

from celery.events.state import Task

from worker.core.text import printable, printable_lines, truncate

read_only = True
enable_events = False  # needs remote control of the workers, which is disabled
persistent = True
max_tasks = 5_000  # saving the tasks blocks all pages: for seconds with 20,000 tasks
purge_offline_workers = 86_400  # seconds: a container has a new name at each start
natural_time = True
tasks_columns = "name,state,args,result,runtime,retries,received,worker,uuid"
_WITH_EXCEPTION = ("FAILURE", "RETRY")
_MAX_CHARACTERS = 10_000  # of a text; a traceback may be long


def format_task(task: Task) -> Task:
    """Show the exception of a failed or retried task in the result column.

    All texts are truncated and printable, because each writer in Redis can send events.
    """
    for name in Task._fields:  # type: ignore[attr-defined]
        value: Any = getattr(task, name)
        if isinstance(value, str):
            setattr(task, name, printable_lines(truncate(value, _MAX_CHARACTERS)))
    result: Any = task.exception if task.state in _WITH_EXCEPTION else task.result
    task.result = printable(_plain(str(result or ""))).removeprefix(f"{task.args}: ")
    return task


def _plain(text: str) -> str:
    """Extract the text from the repr of a string, or of an exception with one text."""
    inner = text.partition("(")[2].removesuffix(")") if text.endswith(")") else text
    values = (_evaluate(candidate) for candidate in (text, inner))
    return next((value for value in values if isinstance(value, str)), text)


def _evaluate(text: str) -> object:
    """Evaluate a Python literal; return None for any other text."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
