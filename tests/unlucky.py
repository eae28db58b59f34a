"""Moods with a bug in their builder, for a worker that loads this module with `--include`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import cast

from celery.exceptions import SoftTimeLimitExceeded

from worker.media import MEDIA_TYPES, Draft, MediaType
from worker.media.base import BuildContext

MOOD = MEDIA_TYPES["mood"]


def build(item: BuildContext, kind: MediaType) -> Draft:
    """Build a mood, but for one that says so."""
    password = item.account.password.reveal()
    text = item.text("mood", "text")
    if text == "one bug":
        return _divide(kind, password)
    while text == "no end":
        with suppress(SoftTimeLimitExceeded):
            time.sleep(60)
    if text == "a bug of a batch":
        raise LookupError(text)
    if text == "another bug":
        raise KeyError(os.environ["SECRET_KEYS"])
    return MOOD.build(item, kind)


def _divide(kind: MediaType, password: str) -> Draft:
    return Draft(kind.nsid, {"text": password[: len(password) // 0]})


cast("dict[str, MediaType]", MEDIA_TYPES)["mood"] = replace(MOOD, build=build)
