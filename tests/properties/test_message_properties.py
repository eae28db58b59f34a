"""Whatever lies on the queue, looking at it ends well."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.messages import call
from worker.app import app
from worker.queue.messages import InvalidMessage, TaskCall, validate

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_is_refused(item: bytes) -> None:
    """Bytes, and JSON of any kind."""
    assert isinstance(validate(item, app.task_functions()), InvalidMessage)


@given(st.data(), _JSON)
def test_any_part_of_a_message_may_be_anything(data: st.DataObject, value: object) -> None:
    """It is taken or refused, and nothing else happens."""
    message = json.loads(call("mood", "f" * 24))
    part = data.draw(st.sampled_from([message, message["headers"], message["properties"]]))
    part[data.draw(st.sampled_from(sorted(part)))] = value
    refused = validate(json.dumps(message).encode(), app.task_functions())
    assert isinstance(refused, TaskCall) or refused.fault


@given(_JSON, _JSON)
def test_any_argument_may_be_anything(first: object, second: object) -> None:
    """Only a text and a text or a whole number are taken."""
    fits = isinstance(first, str) and type(second) in {str, int}
    assert isinstance(validate(call(first, second), app.task_functions()), TaskCall) == fits
