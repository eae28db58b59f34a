"""What a PDS's rate limits are, what calls cost, and what answers tell of them."""

from __future__ import annotations

import pytest

from worker.core.rate_limits import (
    REFERENCE,
    REQUEST,
    UPLOAD,
    Cost,
    Limit,
    RateLimitHeaders,
    Rates,
    Resource,
    charges,
    match_bucket,
    parse_headers,
    parse_keys,
)

_NOW = 1_790_000_000.0
_PUT = (Cost(Resource.POINTS, 2, "did:plc:ada"), REQUEST)


def names(limits: tuple[Limit, ...]) -> list[str]:
    """Return the limits' names."""
    return [limit.name for limit in limits]


@pytest.mark.parametrize("text", ["", "reference", "* reference", "other.example off"])
def test_reference_is_what_holds_where_nothing_else_is_said(text: str) -> None:
    """A PDS that nobody speaks of is like the reference."""
    assert Rates.parse(text).of("pds.example") == REFERENCE


def test_limits_are_set_for_each_host() -> None:
    """One's own PDS has none; another has a number of its own, and the reference's for the rest."""
    rates = Rates.parse(
        "localhost:2583 off; eu.example uploads_day=off requests_5min=60/10 ; * off"
    )
    assert rates.of("localhost:2583") == rates.of("elsewhere.example") == ()
    own = {limit.name: limit for limit in rates.of("eu.example")}
    assert own.keys() == {limit.name for limit in REFERENCE} - {"uploads_day"}
    assert (own["requests_5min"].points, own["requests_5min"].window) == (60, 10.0)
    assert own["points_hour"] in REFERENCE


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("pds.example on", "'on'"),
        ("pds.example points=5", "'points=5'"),
        ("pds.example points_hour=many", "points_hour=many"),
        ("pds.example points_hour=0", "points_hour=0"),
        ("pds.example points_hour=5/0", "points_hour=5/0"),
        ("pds.example points_hour=5/nan", "points_hour=5/nan"),
        ("* reference points_hour", "'reference'"),
    ],
)
def test_what_is_no_limit_is_named(text: str, named: str) -> None:
    """Whoever sets limits reads what is wrong with them."""
    with pytest.raises(ValueError, match="points_hour") as caught:
        Rates.parse(text)
    assert named in str(caught.value)


def test_bypass_keys_are_never_quoted() -> None:
    """A key in the wrong place stays secret."""
    assert parse_keys("a.example one; b.example:444 two;") == {
        "a.example": "one",
        "b.example:444": "two",
    }
    with pytest.raises(ValueError, match="host and a key") as caught:
        parse_keys("one two three")
    assert "three" not in str(caught.value)


def test_call_is_charged_to_every_bucket_of_its_kinds() -> None:
    """A write: to the repo by hour and day, and to our address as one request."""
    charged = [(c.limit.name, c.subject, c.points) for c in charges(REFERENCE, _PUT)]
    assert charged == [
        ("points_hour", "did:plc:ada", 2),
        ("points_day", "did:plc:ada", 2),
        ("requests_5min", "", 1),
    ]
    assert [c.limit.name for c in charges(REFERENCE, (UPLOAD, REQUEST))] == [
        "uploads_day",
        "requests_5min",
    ]
    assert charges(REFERENCE, (Cost(Resource.POINTS, 0, "did:plc:ada"),)) == ()


def test_headers_name_a_bucket() -> None:
    """Policy, what is left, and the end of the window: since 1970, or from now on."""
    headers = {"ratelimit-policy": "5000;w=3600", "ratelimit-remaining": "17"}
    for reset, seconds in ((_NOW + 60, 60.0), (60, 60.0), (_NOW - 5, 0.0)):
        found = parse_headers({**headers, "ratelimit-reset": f"{reset:.0f}"}, _NOW)
        assert found == RateLimitHeaders(5000, 3600.0, 17, seconds)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit-policy": "5000;w=3600"},
        {"ratelimit-policy": "a lot", "ratelimit-remaining": "1", "ratelimit-reset": "1"},
        {"ratelimit-policy": "5;w=6", "ratelimit-remaining": "few", "ratelimit-reset": "1"},
        {"ratelimit-policy": "5;w=6", "ratelimit-remaining": "-1", "ratelimit-reset": "1"},
        {"ratelimit-policy": "5;w=6", "ratelimit-remaining": "1", "ratelimit-reset": "nan"},
        {"ratelimit-policy": "5;w=inf", "ratelimit-remaining": "1", "ratelimit-reset": "1"},
        {"ratelimit-policy": "0;w=6", "ratelimit-remaining": "0", "ratelimit-reset": "1"},
    ],
)
def test_headers_that_cannot_be_read_tell_nothing(headers: dict[str, str]) -> None:
    """Not every server sends them, and not all send the same."""
    assert parse_headers(headers, _NOW) is None


@pytest.mark.parametrize(
    ("points", "window", "name"),
    [
        (5000, 3600, "points_hour"),
        (35_000, 86_400, "points_day"),
        (3000, 300, "requests_5min"),
        (9000, 3600, "points_hour"),  # another number than we believed
        (3000, 60, "requests_5min"),  # another window
        (7, 7, None),
    ],
)
def test_answer_tells_of_the_bucket_that_it_names(
    points: int, window: float, name: str | None
) -> None:
    """By limit and window, or by whichever of them is like only one of ours."""
    charged = charges(REFERENCE, _PUT)
    place = match_bucket(charged, RateLimitHeaders(points, window, 1, 1.0))
    assert (None if place is None else charged[place].limit.name) == name


def test_answer_that_may_tell_of_two_buckets_tells_of_none() -> None:
    """Correcting the wrong one would let through what is refused."""
    both = (
        Limit("points_hour", Resource.POINTS, 10, 60),
        Limit("requests_5min", Resource.REQUESTS, 20, 60),
    )
    assert match_bucket(charges(both, _PUT), RateLimitHeaders(30, 60, 1, 1.0)) is None
