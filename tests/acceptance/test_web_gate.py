"""What stands before the status page, and what of it is there when services are away."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from bson import ObjectId
from prometheus_client.parser import text_string_to_metric_families

from tests.environments import changed
from tests.scene import LISTS, Scene
from tests.terminal import run
from tests.waiting import wait_for
from tests.webpage import LOGIN, PASSWORD, USER, WebPage, serving
from worker.core.documents import DocumentId

NOWHERE = "127.0.0.1:9"
PAGES = ("/", "/failures", "/accounts", "/item?type=mood&id=1", "/picture", "/search?q=1")
_TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')


@pytest.fixture
def client(site: WebPage) -> Iterator[httpx.Client]:
    """A client that knows the password."""
    with site.client() as client:
        yield client


@pytest.fixture
def item(scene: Scene) -> ObjectId:
    """A mood that failed; nothing is on the queue."""
    item = scene.world.platform.save_mood("x" * 5001, scene.world.ada)
    scene.world.sync("mood", item)
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as queue:
        queue.delete(*LISTS)
    return item


def waiting(scene: Scene) -> int:
    """Return how many messages are on the queue."""
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as queue:
        return sum(queue.llen(name) for name in LISTS)


def form_of(client: httpx.Client, item: ObjectId) -> dict[str, str]:
    """Open an item's page; return its form."""
    found = _TOKEN.search(client.get(f"/item?type=mood&id={item}").text)
    assert found is not None
    return {"token": found[1], "type": "mood", "id": str(item)}


def test_the_pages_name_the_reason_for_which_an_item_is_not_published(
    scene: Scene, client: httpx.Client
) -> None:
    """On the overview, and on the page of the item."""
    platform, ada = scene.world.platform, scene.world.ada
    draft, incomplete, nuked = (platform.save_painting("-", ada) for _ in range(3))
    platform.edit("painting", draft, slug=f"wip/{draft}", status="wip")
    platform.edit("painting", incomplete, code=None)
    scene.world.sync("painting", nuked)
    platform.edit("painting", nuked, nuked=True)
    told = {draft: "skipped draft", incomplete: "skipped no_code", nuked: "removed nuked"}
    for item, words in told.items():
        scene.world.sync("painting", item)
        page = client.get(f"/item?type=painting&id={item}").text
        assert words in _words(page)
        assert "No faults found." in page
    wait_for(lambda: _counts_reasons(_words(client.get("/").text)), what="the reasons to be there")


def test_a_partial_item_is_not_shown_as_right(scene: Scene, client: httpx.Client) -> None:
    """Its page shows its fault, since when it has been failing, and the last confirmation."""
    item = scene.world.platform.save_painting("never-arrived", scene.world.ada)
    scene.world.sync("painting", item)
    page = client.get(f"/item?type=painting&id={item}").text
    assert "1 fault found." in page
    assert "verdict good" not in page
    words = _words(page)
    for text in ("failing since", "last confirmed", "Last confirmed: the last run that"):
        assert text in words
    assert "last right" not in words


def _counts_reasons(overview: str) -> bool:
    """Return whether the overview counts the skipped and the removed items by reason."""
    skipped, removed = overview.partition(" Skipped ")[2].split(" Removed ")
    return "draft 1" in skipped and "no_code 1" in skipped and "nuked 1" in removed


def _words(page: str) -> str:
    """Return the text of a page without its tags."""
    return " ".join(re.sub("<[^>]*>", " ", page).split())


@pytest.mark.parametrize("path", [*PAGES, "/metrics", "/static/style.css", "/retry", "/nowhere"])
@pytest.mark.parametrize(
    "auth", [None, (USER, "wrong"), ("wrong", PASSWORD), (USER, ""), (USER, PASSWORD + "x")]
)
def test_nobody_gets_in_without_the_password(
    site: WebPage, path: str, auth: tuple[str, str] | None
) -> None:
    """Whatever is asked for: 401, a question for the password, and nothing of the page."""
    answer = httpx.get(site.url + path, auth=auth, timeout=60, trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="media-atproto"')
    assert answer.text == "log in first\n"


@pytest.mark.parametrize("sent", ["Basic", "Basic !", "Basic /w==", "Bearer x", "Basic é"])
def test_credentials_that_are_none_are_refused(site: WebPage, sent: str) -> None:
    """And end nothing."""
    headers = {b"Authorization": sent.encode()}
    answer = httpx.get(site.url, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 401


def test_anyone_may_ask_whether_it_is_alive(site: WebPage) -> None:
    """Without a password, and told nothing else."""
    answer = httpx.get(f"{site.url}/healthz", timeout=60, trust_env=False)
    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize("path", [*PAGES, "/healthz", "/static/style.css", "/nowhere"])
def test_every_answer_says_how_little_a_browser_may_do_with_it(
    client: httpx.Client, path: str
) -> None:
    """No script, no frame, no guess at types, nothing kept; and not which server it is."""
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_metrics_are_served_in_the_format_of_prometheus(client: httpx.Client) -> None:
    """Their values are those of the overview."""
    answer = client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"media_atproto_documents", "media_atproto_up"} <= names


def test_form_of_our_own_page_is_taken(scene: Scene, client: httpx.Client, item: ObjectId) -> None:
    """The control of all refusals below: one message, and back to the item's page."""
    origin = str(client.base_url).rstrip("/")
    form = form_of(client, item)
    answer = client.post("/retry", data=form, headers={"Origin": origin})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/item?type=mood&id={item}&told=enqueued"
    assert waiting(scene) == 1
    assert scene.world.platform.state("mood", item)["status"] == "pending"


# How a form differs from that of our page: the status of the answer, fields, headers.
FORGED: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
    "without a token": (403, {"token": ""}, {}),
    "a wrong token": (403, {"token": "0" * 16}, {}),
    "a token of other letters": (403, {"token": "é"}, {}),
    "another site": (403, {}, {"Origin": "https://evil.example"}),
    "a hidden site": (403, {}, {"Origin": "null"}),
    "no site": (403, {}, {"Origin": ""}),
    "no URL": (403, {}, {"Origin": "http://["}),
    "a page of another site": (403, {}, {"Sec-Fetch-Site": "cross-site"}),
    "a page of a neighbour": (403, {}, {"Sec-Fetch-Site": "same-site"}),
    "a made up session": (403, {}, {"Cookie": "media_atproto_session=short"}),
    "another encoding": (415, {}, {"Content-Type": "text/plain"}),
    "a long form": (413, {"id": "x" * 20_000}, {}),
    "an unknown type": (400, {"type": "nothing"}, {}),
    "no item": (400, {"id": ""}, {}),
}


@pytest.mark.parametrize("name", FORGED)
def test_forms_that_our_page_did_not_send_are_refused(
    scene: Scene, client: httpx.Client, item: ObjectId, name: str
) -> None:
    """The password alone, which a browser sends by itself, is not enough; nothing is changed."""
    status, fields, headers = FORGED[name]
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    form = {**form_of(client, item), **fields}
    answer = client.post("/retry", data=form, headers={**own, **headers})
    assert answer.status_code == status
    assert "Nothing was changed" in answer.text
    assert waiting(scene) == 0
    assert scene.world.platform.state("mood", item)["status"] == "failed"


def test_token_of_another_browser_is_refused(
    scene: Scene, site: WebPage, client: httpx.Client, item: ObjectId
) -> None:
    """Who may log in as well cannot have somebody else's browser send what they made."""
    with site.client() as other:
        theirs = form_of(other, item)
    form_of(client, item)
    origin = str(client.base_url).rstrip("/")
    answer = client.post("/retry", data=theirs, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "belongs to another session" in answer.text
    assert waiting(scene) == 0


def test_cookie_is_for_no_script_and_no_other_site(client: httpx.Client, item: ObjectId) -> None:
    """And marked as such behind a proxy, known or not: then it travels by TLS alone."""
    plain = client.get(f"/item?type=mood&id={item}").headers["set-cookie"].lower()
    for proxy in ({"X-Forwarded-Proto": "https"}, {"Host": "media.example"}):
        client.cookies.clear()
        answer = client.get(f"/item?type=mood&id={item}", headers=proxy)
        secure = answer.headers["set-cookie"].lower()
        for cookie in (plain, secure):
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
        assert ("; secure" in plain, "; secure" in secure) == (False, True)


def test_retry_is_nothing_that_a_link_can_do(client: httpx.Client) -> None:
    """A page's address changes nothing."""
    assert client.get("/retry").status_code == 405


@pytest.mark.parametrize(
    "raw", ["a/b?c#d%41&e=f", "..", " blank ", "ünï 🎨", 7, -3, 2**40, "2024", ObjectId(), '"><b>']
)
def test_items_of_any_id_have_a_page(scene: Scene, client: httpx.Client, raw: DocumentId) -> None:
    """Which lists lead to, and which the form is for."""
    moods = scene.world.services.storage.database["moods"]
    moods.delete_many({})
    error = {"step": "document", "code": "odd_id", "message": "m", "permanent": True}
    state = {"status": "failed", "error": error | {"at": ObjectId().generation_time}}
    moods.insert_one({"_id": raw, "mood": "calm", "user": scene.world.ada, "atproto": state})
    link = re.search(r'href="(/item\?[^"]+)"', client.get("/failures?code=odd_id&type=mood").text)
    assert link is not None
    page = client.get(link[1].replace("&amp;", "&"))
    assert page.status_code == 200
    assert "odd_id" in page.text
    moods.delete_many({})


def test_long_lists_are_told_page_by_page(scene: Scene, client: httpx.Client) -> None:
    """Each item once; a page ends at a number, at a text and at an ObjectId."""
    moods = scene.world.services.storage.database["moods"]
    moods.delete_many({})
    at = ObjectId().generation_time
    error = {"step": "s", "code": "many", "message": "m", "permanent": True, "at": at}
    ids: list[DocumentId] = [*range(2**40, 2**40 + 40), *(f"text-{n:02}" for n in range(80))]
    ids += [ObjectId() for _ in range(40)]
    moods.insert_many(
        {"_id": each, "atproto": {"status": ("failed", "partial")[n % 2], "error": error}}
        for n, each in enumerate(ids)
    )
    path, seen, pages = "/failures?code=many&type=mood", list[str](), 0
    while path:
        text = client.get(path).text
        seen += re.findall(r'<a href="/item\?type=mood&amp;id=([^"]+)"', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        path, pages = (following[1].replace("&amp;", "&") if following else ""), pages + 1
    assert pages == 4
    assert client.get("/failures?code=x&after=failed:").status_code == 200  # it has no id
    assert sorted(seen) == sorted(map(str, ids))
    moods.delete_many({})


@pytest.mark.parametrize(
    "path",
    [
        "/item?type=mood&id=65f0c0ffee65f0c0ffee65f0",
        "/item?type=nothing&id=1",
        "/item",
        "/item?type=mood&id=",
        "/picture?type=mood&id=1",
        "/failures?code=x&type=mood&after=odd:id:1",
        "/search?q=nothing-has-this-name",
        "/nowhere",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_what_is_not_there_is_said_to_be_unknown(client: httpx.Client, path: str) -> None:
    """With a page that leads back, and no page of the server's own."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<header>" in answer.text


@contextmanager
def without(scene: Scene, folder: Path, **environ: str) -> Iterator[httpx.Client]:
    """Serve the page with services that are not where it is told."""
    with serving(changed(scene.environ, environ), folder) as site, site.client() as client:
        yield client


def test_without_mongodb_it_says_so(scene: Scene, tmp_path: Path) -> None:
    """With how long it has waited; and it is alive all the same."""
    away = {
        "MONGODB_CONNECTION_STRING": f"mongodb://ops:s3cret@{NOWHERE}/?directConnection=true",
        "MONGODB_SERVER_SELECTION_SECONDS": "0.2",
    }
    with without(scene, tmp_path, **away) as client:
        for path in PAGES[:4]:
            answer = client.get(path)
            assert answer.status_code == 503
            assert "MongoDB did not answer" in answer.text
            assert re.search(r"after \d+\.\d seconds", answer.text)
            assert "s3cret" not in answer.text
        assert client.get("/healthz").status_code == 200


def test_without_redis_all_else_is_told(scene: Scene, tmp_path: Path, item: ObjectId) -> None:
    """And an item that is to be tried again is left to the sweep."""
    with without(scene, tmp_path, REDIS_URL=f"redis://:s3cret@{NOWHERE}/0") as client:
        overview = client.get("/")
        assert overview.status_code == 200
        assert "The queue lengths are unknown:" in overview.text
        assert re.search(r"after \d+\.\d seconds", overview.text)
        assert "lexicon_violation" in overview.text
        page = client.get(f"/item?type=mood&id={item}")
        assert page.status_code == 200
        assert "longer than 5000" in page.text or "lexicon_violation" in page.text
        origin = {"Origin": str(client.base_url).rstrip("/")}
        answer = client.post("/retry", data=form_of(client, item), headers=origin)
        assert answer.headers["location"].endswith("&told=left")
        assert "a sweep will enqueue it" in client.get(answer.headers["location"]).text
        assert client.get("/accounts").status_code == 503
        assert "s3cret" not in overview.text + page.text
    assert scene.world.platform.state("mood", item)["status"] == "pending"


def test_without_the_pds_an_item_is_told_but_for_its_record(scene: Scene, tmp_path: Path) -> None:
    """Whether the PDS does not answer or refuses connections."""
    item = scene.world.platform.save_mood("calm", scene.world.ada)
    scene.world.sync("mood", item)
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    with without(scene, tmp_path, PDS_URL=url) as client:
        with silent:
            hanging = client.get(f"/item?type=mood&id={item}")
        refused = client.get(f"/item?type=mood&id={item}")
    for page in (hanging, refused):
        assert page.status_code == 200
        assert "The record on the PDS is unknown:" in page.text
        assert re.search(r"after \d+\.\d seconds", page.text)
        assert "calm" in page.text


def test_it_does_not_start_without_a_login(scene: Scene) -> None:
    """It says how to make a login; unit/test_web_parts has malformed ones."""
    code, _, error = run(["web", "--port", "0"], scene.environ)
    assert code == 2
    assert "WEB_BASIC_AUTH is missing" in error
    assert "openssl rand" in error


def test_port_that_is_taken_is_named(scene: Scene) -> None:
    """With what to do, and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, error = run(["web", "--port", port], {**scene.environ, **LOGIN})
    assert code == 2
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in error


def test_it_stops_when_it_is_asked_to(scene: Scene, tmp_path: Path) -> None:
    """With exit code 0, also on Ctrl-C; its log has no secret and no address."""
    with serving(scene.environ, tmp_path, "--host", "::1") as site:
        assert site.url.startswith("http://[::1]:")
        with site.client() as client:
            assert client.get("/search?q=somebody-looks-for-this").status_code == 404
        assert site.stop() == 0
        assert site.text.splitlines() == [f"Serving {site.url}"]
    with serving(scene.environ, tmp_path) as site:
        site.popen.send_signal(signal.SIGINT)
        assert site.popen.wait(timeout=60) == 0
