"""What a message must look like to be taken, and what is said of one that is not."""

from __future__ import annotations

import json

import pytest

from tests.messages import ITEM, call, envelope
from tests.poison import POISON
from worker.app import app
from worker.queue.messages import InvalidMessage, TaskCall, validate


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_in_few_words(name: str) -> None:
    """They say what is wrong, and quote nothing that is long."""
    item, fault = POISON[name]
    refused = validate(item, app.task_functions())
    assert isinstance(refused, InvalidMessage)
    assert fault in refused.fault
    assert len(refused.id + refused.task + refused.fault) < 500


@pytest.mark.parametrize(
    "item",
    [
        call("mood", ITEM),
        call("mood", 7),
        call("mood", ITEM, "auth0|ada"),
        call("mood", id=ITEM, user=None),
        call("mood", "auth0|ada", [ITEM, 7], "backfill", task="sync_batch"),
        call("mood", "auth0|ada", "3jzfcijpj2z2a", task="delete_media"),
        call(task="sweep"),
        envelope(of_the_future={"protocol": 3}),
    ],
)
def test_messages_of_ours_are_taken(item: bytes) -> None:
    """By position or by name; what is there in addition does not matter."""
    assert isinstance(validate(item, app.task_functions()), TaskCall)


def test_refused_message_is_named_as_far_as_it_can_be() -> None:
    """By the id and the task that it says, cut, and in ASCII."""
    headers = {"id": "a" * 100 + "\n", "task": "t\u00fcr\n", "retries": 0}
    refused = validate(envelope(headers=headers, body=5), app.task_functions())
    assert refused == InvalidMessage(
        "a" * 64, "t\\xfcr\\n", "its part 'body' is a number, not a text"
    )


def test_message_that_is_given_out_again_is_taken() -> None:
    """The transport marks it, in two places."""
    message = json.loads(call("mood", ITEM))
    message["headers"]["redelivered"] = True
    message["properties"]["delivery_info"]["redelivered"] = True
    assert isinstance(validate(json.dumps(message).encode(), app.task_functions()), TaskCall)
