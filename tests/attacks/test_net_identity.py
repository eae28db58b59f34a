"""A DID document leads neither into our network nor past our rate limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.contract.web_faults import flood
from tests.contract.web_server import serving
from tests.environments import new_settings
from tests.fixtures import Opener
from worker.core.clock import after
from worker.core.documents import Account
from worker.core.errors import AccountError, WaitError
from worker.core.secrets import Secret, Vault
from worker.dev.stack import Stack
from worker.pds.account_cache import AccountCache
from worker.pds.directory_pause import DirectoryError, DirectoryPauses
from worker.pds.host_slots import HostSlots
from worker.pds.identity import DidResolver
from worker.pds.pds_cache import PdsCache

_DID = "did:plc:" + "c" * 24
_EVIL = "did:web:plc.directory.evil.example"
_OWN = "https://own.example.com"


def document(did: str, url: str) -> bytes:
    """Return a DID document that names a PDS."""
    service = {"id": "#atproto_pds", "serviceEndpoint": url}
    return json.dumps({"id": did, "service": [service]}).encode()


@pytest.fixture(autouse=True)
def unknown_accounts(redis: Redis) -> None:
    """Delete what Redis has of the attacker's accounts."""
    for did in (_DID, _EVIL):
        AccountCache(redis).delete_all(did)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory, and the resolver that uses it."""

    proxy: Proxy
    resolver: DidResolver

    def resolve(self, url: str) -> str:
        """Return the PDS of an account whose document names a URL."""
        self.proxy.answer(Reply(200, document(_DID, url)))
        return self.resolver.pds_of(_DID)


def open_resolver(redis: Redis, plc: str, foreign: httpx.Client | None = None) -> DidResolver:
    """Open a resolver for a platform with one PDS of its own."""
    cache = PdsCache(redis, Vault([Secret(Fernet.generate_key().decode())]))
    return DidResolver(
        cache,
        plc,
        {_OWN},
        slots=HostSlots(redis, calls=2),
        pauses=DirectoryPauses(redis),
        foreign=foreign,
    )


@pytest.fixture
def directory(stack: Stack, redis: Redis) -> Iterator[Directory]:
    """Run a directory in front of that of the stack."""
    with (
        open_proxy(stack.environment["DID_RESOLVER"]) as proxy,
        closing(open_resolver(redis, proxy.url)) as resolver,
    ):
        yield Directory(proxy, resolver)


@pytest.fixture
def inside(stack: Stack) -> Iterator[Proxy]:
    """Run a PDS in our own network."""
    with open_proxy(stack.environment["PDS_URL"]) as proxy:
        yield proxy


def test_a_directory_that_limits_its_callers_names_the_time_to_call_again(
    directory: Directory,
) -> None:
    """HTTP 429 is a wait, which uses no attempt."""
    directory.proxy.answer(Reply(429, b"{}", headers={"Retry-After": "600"}))
    with pytest.raises(WaitError) as caught:
        directory.resolver.pds_of(_DID)
    assert after(590) < caught.value.until < after(610)
    assert caught.value.step == "account"


def test_document_names_no_host_of_our_network_with_allow_http(
    stack: Stack,
    directory: Directory,
    inside: Proxy,
    open_services: Opener,
    *,
    redis: Redis,
    shared_user: Account,
) -> None:
    """ALLOW_HTTP is for the URLs of the settings, such as that of PDS_URL in compose."""
    urls = {"PDS_URL": "http://pds:3000", "DID_RESOLVER": directory.proxy.url, "ALLOW_HTTP": "1"}
    services = open_services(new_settings(stack, **urls))
    AccountCache(redis).delete_all(shared_user.did)
    directory.proxy.answer(Reply(200, document(shared_user.did, inside.url)))
    repo = services.pds.repo(shared_user)
    with pytest.raises(DirectoryError, match="public host name"):
        repo.put(repo.key("computer.aesthetic.mood", "a"), {"text": "calm"}, None)
    assert inside.count() == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://pds.example.com",
        "https://localhost",
        "https://pds",
        "https://10.0.0.1",
        "https://127.1",
        "https://1.0x1",
        "https://[::1]",
        "https://pds.example.com:8080",
        "https://pds.example.com:0443",
        "https://pds.example.com:",
        "https://pds.example.com.",
        "https://user@pds.example.com",
        "https://pds.example.com/path",
        "https://pds.example.com//",
        "https://pds.example.com?",
        "https://pds.example.com#",
        "https://pds.example.com\n",
        "https://pds.exa\tmple.com",
        "\x1bhttps://pds.example.com",
        " https://pds.example.com",
        "https://pds.example.com\\@own.example.com",
        "https://pds.ex\u0430mple.com",
        "https://pds.example.com:port",
        "ftp://pds.example.com",
        "https://xn--a.example.com",
        "https://" + "a." * 200 + "com",
        "https://" + "a" * 90_000,
    ],
)
def test_document_names_public_hosts_only_in_one_form(directory: Directory, url: str) -> None:
    """Each other form would be another host for rate limits, or an address of our network."""
    with pytest.raises(DirectoryError, match="public host name"):
        directory.resolve(url)


@pytest.mark.parametrize(
    "url", ["https://PDS.Example.com", "https://pds.example.com:443", "https://pds.example.com/"]
)
def test_spellings_of_one_host_share_its_rate_limits(directory: Directory, url: str) -> None:
    """Their key is the host of the URL that calls are made to."""
    assert directory.resolve(url) == "https://pds.example.com"


def test_spelling_of_our_own_pds_is_our_own_pds(directory: Directory) -> None:
    """Its sessions and rate limits are those of PDS_URL."""
    assert directory.resolve("https://OWN.example.com:443") == _OWN


def test_host_that_is_named_like_the_directory_is_foreign(redis: Redis) -> None:
    """The client is chosen by the method of the DID, not by how a URL begins."""
    called: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url)
        return httpx.Response(200, content=document(_EVIL, "https://pds.example.com"))

    foreign = httpx.Client(transport=httpx.MockTransport(answer))
    with closing(open_resolver(redis, "https://plc.directory", foreign)) as resolver:
        assert resolver.pds_of(_EVIL) == "https://pds.example.com"
    assert called == ["https://plc.directory.evil.example/.well-known/did.json"]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.1", "evil.example%3A8080", "Evil.example", "a.b:c", "a b"),
        *("xn--a.example", "xn--0.example"),
    ],
)
def test_did_web_names_public_hosts_only_in_one_form(directory: Directory, host: str) -> None:
    """Without a document, there is no account."""
    with pytest.raises(AccountError, match="no DID document"):
        directory.resolver.pds_of(f"did:web:{host}")


def test_endless_document_is_cut_off(redis: Redis, tmp_path: Path) -> None:
    """A document has 100 KB at most."""
    with serving(tmp_path) as site, closing(open_resolver(redis, site.url)) as resolver:
        site.faults[_DID] = flood
        with pytest.raises(DirectoryError, match="ResponseTooLargeError"):
            resolver.pds_of(_DID)


def test_redirect_of_the_directory_is_not_followed(directory: Directory, tmp_path: Path) -> None:
    """It could lead into our network."""
    with serving(tmp_path) as inside:
        directory.proxy.answer(Reply(302, headers={"Location": inside.url}))
        with pytest.raises(DirectoryError, match="302"):
            directory.resolver.pds_of(_DID)
        assert inside.server.connections == 0
