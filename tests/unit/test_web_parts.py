"""The parts of the status page that need no service: plots, boxes, texts and its settings."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.waiting import wait_for
from worker.core.documents import ItemRef, Status
from worker.core.errors import PermanentError
from worker.core.settings import WebSettings
from worker.core.settings.reader import SettingsError
from worker.operations.status import Counts, QueueLengths, RemovalCounts, Series, Throughput
from worker.web.charts import HEIGHT, WIDTH, draw
from worker.web.snapshots import CachedValue, StatusSnapshot, Unavailable, try_fetch
from worker.web.templates import Templates, format_text, format_time, item_url, mark_code

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def series(*counts: int) -> Series:
    """Return a series of these counts, a minute each."""
    left = iter(counts)
    return Series.until(NOON, MINUTE, len(counts), lambda _start, _end: next(left))


def test_bars_are_as_high_as_their_counts() -> None:
    """The highest fills the drawing, the lowest is seen, and none has no bar."""
    plot = draw(series(0, 1, 500, 1000))
    assert [bar.height for bar in plot.bars] == [2.0, HEIGHT / 2, HEIGHT]
    assert all(bar.y + bar.height == HEIGHT for bar in plot.bars)
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in plot.bars)
    assert plot.top == 1000
    assert [bar.label for bar in plot.bars] == ["12:28: 1", "12:29: 500", "12:30: 1,000"]


def overview(status: Status, failed_removals: int = 0) -> str:
    """Return the overview of a platform with one item."""
    counts = Counts(total=1, statuses=Counter({status: 1}))
    empty = Series.until(NOON, MINUTE, 60, lambda _start, _end: 0)
    snapshot = StatusSnapshot(
        at=NOON,
        types={"mood": counts},
        every=counts,
        removals=RemovalCounts(pending=0, failed=failed_removals),
        throughput=Throughput(empty, empty),
        queues=QueueLengths(0, 0, 0, 0),
    )
    values = {"snapshot": snapshot, "plots": (draw(empty), draw(empty))}
    return bytes(Templates().render("overview.html", values).body).decode()


@pytest.mark.parametrize(
    ("status", "failed_removals", "verdict"),
    [
        (Status.SYNCED, 0, '<p class="verdict good">No item is failed or partial.'),
        (Status.PARTIAL, 0, '<p class="verdict warn">1 item is partial'),
        (Status.FAILED, 0, '<p class="verdict bad">1 item failed'),
        (Status.SYNCED, 1, '<p class="verdict bad">1 removal of deleted documents failed'),
    ],
)
def test_overview_is_green_only_if_nothing_is_failed_or_partial(
    status: Status, failed_removals: int, verdict: str
) -> None:
    """The verdict names what is wrong."""
    page = overview(status, failed_removals)
    assert verdict in page
    assert page.count('class="verdict') == 1


def test_plot_says_what_it_shows() -> None:
    """In a sentence, for those who do not see it."""
    assert draw(series(0, 1)).summary == (
        "1 item published in the last 2 minutes; the most in one minute: 1, from 12:30 UTC."
    )
    assert draw(series(0, 0)).summary == "No item was published in the last 2 minutes."
    assert draw(series(0, 0)).bars == ()


def test_what_is_asked_for_by_many_at_once_is_made_once() -> None:
    """Ten reloading tabs cost one query."""
    made: list[int] = []
    begun, end = threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        end.wait(60)
        made.append(1)
        return len(made)

    shared = CachedValue(make, seconds=3600)
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(shared.get) for _ in range(10)]
        assert begun.wait(60)
        end.set()
        assert [answer.result(60) for answer in answers] == [1] * 10
    assert made == [1]


def test_what_is_too_old_is_made_anew() -> None:
    """As it is each time when nothing is kept."""
    numbers = iter(range(100))
    shared = CachedValue(lambda: next(numbers), seconds=0)
    first = shared.get()
    assert wait_for(lambda: shared.get() > first, within=60, what="it to be made anew")


def test_part_that_fails_is_missing_and_a_bug_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither hides the other parts; the text of an unexpected error may hold a secret."""

    def fails() -> int:
        raise PermanentError("it is away")

    missing = try_fetch(fails)
    assert isinstance(missing, Unavailable)
    assert missing.message == "it is away"
    bug = try_fetch(lambda: 1 // 0)
    assert isinstance(bug, Unavailable)
    assert "unexpected ZeroDivisionError" in bug.message
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("value", "html"),
    [
        ("<b>&\"'", "<bdi>&lt;b&gt;&amp;&#34;&#39;</bdi>"),
        ("a\u202eb\x00\n", "<bdi>a\\u202eb\\x00\\n</bdi>"),
        (["<i>"], "<bdi>[&#34;&lt;i&gt;&#34;]</bdi>"),
        (None, "<bdi>None</bdi>"),
        ("x" * 400, f"<bdi>{'x' * 300}... (400 characters)</bdi>"),
    ],
)
def test_texts_of_others_are_escaped(value: object, html: str) -> None:
    """Markup, controls, and what would turn a line around."""
    assert format_text(value) == html


def test_moments_are_told_in_utc_and_from_now() -> None:
    """For a person, and for a program in `datetime`."""
    html = format_time(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert html.startswith('<time datetime="2020-01-02T03:04:05.000Z">2020-01-02 03:04:05 UTC</')
    assert "days ago" in html


def test_texts_of_ours_may_have_code() -> None:
    """And nothing else."""
    assert mark_code("correct `A_B` <or> `C`") == (
        "correct <code>A_B</code> &lt;or&gt; <code>C</code>"
    )


def test_ids_have_their_place_in_addresses() -> None:
    """Whatever they hold."""
    assert item_url(ItemRef("mood", "a/b?c#d&e=f ..")) == (
        "/item?type=mood&id=a%2Fb%3Fc%23d%26e%3Df+.."
    )
    assert item_url(ItemRef("mood", 0)) == "/item?type=mood&id=0"


@pytest.mark.parametrize("value", ["ops", "ops:", ":secret", "ops:se\x7fcret"])
def test_login_that_is_none_is_refused_without_being_quoted(value: str) -> None:
    """The name of the variable is told, and its form."""
    with pytest.raises(SettingsError) as refused:
        WebSettings.load({"WEB_BASIC_AUTH": value})
    assert "WEB_BASIC_AUTH must be of the form user:password" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_password_may_hold_colons_and_is_not_printed() -> None:
    """The first one ends the user's name."""
    settings = WebSettings.load({"WEB_BASIC_AUTH": "ops:a:b"})
    assert (settings.user, settings.password.reveal()) == ("ops", "a:b")
    assert "a:b" not in repr(settings)
