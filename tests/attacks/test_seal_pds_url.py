"""A PDS URL that another program writes into Redis never receives a login."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.environments import new_settings
from tests.fixtures import Opener
from worker.core.documents import Account
from worker.core.secrets import Purpose, Secret, Vault
from worker.dev.stack import Stack
from worker.pds.account_cache import AccountCache
from worker.pds.directory_pause import DirectoryError, DirectoryPauses
from worker.pds.host_slots import HostSlots
from worker.pds.identity import DidResolver
from worker.pds.pds_cache import CachedPds, PdsCache
from worker.services import Services

OTHER_DID = "did:plc:" + "c" * 24
Forge = Callable[[Vault, str, str], str]


@dataclass(frozen=True)
class Victim:
    """An account whose DID document names the platform's PDS, and the server of an attacker."""

    services: Services
    account: Account
    directory: Proxy
    attacker: Proxy
    redis: Redis

    def plant(self, value: str) -> None:
        """Write the entry of the account's PDS URL, as if it were new."""
        self.redis.set(f"media-atproto:home:{self.account.did}", value, ex=30 * 86_400)

    def found_url(self) -> str:
        """Return the URL of the PDS that would be called."""
        return self.services.pds.client_of(self.account.did).url


@pytest.fixture
def servers(stack: Stack) -> Iterator[tuple[Proxy, Proxy]]:
    """The directory and the attacker's server; closed after the clients of the services."""
    with (
        open_proxy(stack.environment["DID_RESOLVER"]) as directory,
        open_proxy(stack.environment["PDS_URL"]) as attacker,
    ):
        yield directory, attacker


@pytest.fixture
def victim(
    stack: Stack, servers: tuple[Proxy, Proxy], open_services: Opener, shared_user: Account
) -> Iterator[Victim]:
    """An account of which Redis has nothing."""
    directory, attacker = servers
    urls = {"PDS_URL": stack.environment["PDS_URL"], "DID_RESOLVER": directory.url}
    # The attacker's URL may be called, so that only the seal protects the account.
    services = open_services(new_settings(stack, **urls, TRUSTED_PDS_URLS=attacker.url))
    with Redis.from_url(stack.environment["REDIS_URL"]) as redis:
        AccountCache(redis).delete_all(shared_user.did)
        yield Victim(services, shared_user, directory, attacker, redis)
        AccountCache(redis).delete_all(shared_user.did)


def entry(url: str) -> str:
    """Return the value of a fresh entry for a URL."""
    return json.dumps([url, time.time(), time.time() + 3600])


FORGERIES: dict[str, Forge] = {
    "not sealed": lambda _vault, _did, url: url,
    "an entry that is not sealed": lambda _vault, _did, url: entry(url),
    "sealed for another DID": lambda vault, _did, url: vault.seal(
        entry(url), Purpose.PDS_URL, OTHER_DID
    ),
    "sealed for another purpose": lambda vault, did, url: vault.seal(
        entry(url), Purpose.PARKING, did
    ),
    "sealed with another key": lambda _vault, did, url: Vault(
        [Secret(Fernet.generate_key().decode())]
    ).seal(entry(url), Purpose.PDS_URL, did),
}


def test_login_does_not_go_to_a_planted_pds_url(victim: Victim) -> None:
    """The login is real; the attacker records requests."""
    victim.plant(victim.attacker.url)
    victim.services.pds.repo(victim.account).is_active()
    assert victim.attacker.calls == []


@pytest.mark.parametrize("forgery", FORGERIES)
def test_planted_pds_url_counts_as_absent(victim: Victim, forgery: str) -> None:
    """The directory is asked instead."""
    value = FORGERIES[forgery](victim.services.pds.vault, victim.account.did, victim.attacker.url)
    victim.plant(value)
    assert victim.found_url() == victim.services.settings.pds.url
    assert victim.directory.count() == 1


@pytest.mark.parametrize("age", [3601, 30 * 86_400 + 1], ids=["an hour", "30 days"])
def test_sealed_pds_url_kept_alive_or_replayed_is_as_old_as_it_is(victim: Victim, age: int) -> None:
    """Its age is sealed, and does not depend on the expiry in Redis."""
    now, vault = time.time(), victim.services.pds.vault
    value = json.dumps([victim.attacker.url, now - age, now - age + 3600])
    victim.plant(vault.seal(value, Purpose.PDS_URL, victim.account.did))
    assert victim.found_url() == victim.services.settings.pds.url


def test_replayed_pds_url_is_not_used_after_30_days_without_the_directory(victim: Victim) -> None:
    """Not even as the last known one."""
    now, vault = time.time(), victim.services.pds.vault
    value = json.dumps([victim.attacker.url, now - 31 * 86_400, now - 30 * 86_400])
    victim.plant(vault.seal(value, Purpose.PDS_URL, victim.account.did))
    victim.directory.answer(Reply(503))
    with pytest.raises(DirectoryError):
        victim.found_url()


def test_cached_pds_url_is_checked_again_when_it_is_read(victim: Victim) -> None:
    """Settings may have changed since it was cached."""
    cache = PdsCache(victim.redis, victim.services.pds.vault)
    cache.save(victim.account.did, CachedPds.found(victim.attacker.url))
    pds_url = victim.services.settings.pds.url
    slots = HostSlots(victim.redis, calls=2)
    resolver = DidResolver(
        cache, victim.directory.url, {pds_url}, slots=slots, pauses=DirectoryPauses(victim.redis)
    )
    with closing(resolver):
        assert resolver.pds_of(victim.account.did) == pds_url


def test_planted_entry_for_a_missing_did_does_not_suspend_the_account(victim: Victim) -> None:
    """Such entries are sealed as well."""
    victim.plant("-")
    assert victim.found_url() == victim.services.settings.pds.url
