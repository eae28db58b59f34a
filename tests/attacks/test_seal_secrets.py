"""Sealed values that are copied to another account or purpose are not opened there."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.secrets import Purpose, Secret, StoredSecret, UnreadableSecretError, Vault
from worker.dev.stack import Stack
from worker.operations.key_rotation import inspect, re_encrypt
from worker.pds.account_cache import AccountCache
from worker.pds.client import PdsClient, Session
from worker.pds.sessions import Sessions


@dataclass(frozen=True)
class Attack:
    """A victim, an attacker with write access to Redis or `users`, and the attacker's PDS."""

    redis: Redis
    vault: Vault
    pds: Proxy
    victim: Account
    attacker: Account

    def log_in(self, account: Account, *, url: str = "", did: str = "", by: str = "") -> Session:
        """Get a session of an account at a PDS that answers with a DID and with tokens `by`."""
        tokens = {"did": did or account.did, "accessJwt": by or account.did, "refreshJwt": "r"}
        self.pds.answer(Reply(200, json.dumps(tokens).encode()))
        client = PdsClient(url or self.pds.url)
        try:
            return Sessions(self.redis, self.vault, client, parked=60).get(account)
        finally:
            client.close()

    def session_key(self, account: Account) -> str:
        (name,) = self.redis.scan_iter(f"media-atproto:session:{account.did}:*", count=1000)
        return str(name.decode())

    def copy_session(self, source: str, target: str) -> None:
        value = self.redis.get(source)
        assert isinstance(value, bytes)
        self.redis.set(target, value)


@pytest.fixture
def attack(stack: Stack) -> Iterator[Attack]:
    """Two accounts that Redis does not know, and a PDS that accepts every login."""
    with ExitStack() as undo:
        redis = undo.enter_context(Redis.from_url(stack.environment["REDIS_URL"]))
        pds = undo.enter_context(open_proxy(stack.environment["PDS_URL"]))
        vault = Vault([Secret(Fernet.generate_key().decode())])
        victim, attacker = (
            Account(f"auth0|{role}", f"did:plc:{role}{uuid4().hex}", f"{role}.test", Secret(role))
            for role in ("victim", "attacker")
        )
        for account in (victim, attacker):
            undo.callback(AccountCache(redis).delete_all, account.did)
        yield Attack(redis, vault, pds, victim, attacker)


def seal_password(attack: Attack) -> str:
    """Return the victim's password, sealed as `rotate-keys` does it."""
    return attack.vault.seal("canary", Purpose.PASSWORD, attack.victim.did)


def test_sealed_password_copied_to_another_did_is_not_sent_to_its_pds(attack: Attack) -> None:
    """The error names the next step, and the PDS is not called."""
    copied = replace(attack.attacker, password=Secret(seal_password(attack)))
    with pytest.raises(AccountError, match="sealed for another account") as caught:
        attack.log_in(copied)
    assert caught.value.code == "password_unreadable"
    assert attack.pds.calls == []


@pytest.mark.parametrize("purpose", [each for each in Purpose if each is not Purpose.PASSWORD])
def test_other_sealed_values_are_not_sent_as_a_password(attack: Attack, purpose: Purpose) -> None:
    """For example a session that was copied from Redis to `users`."""
    value = attack.vault.seal("canary", purpose, attack.attacker.did)
    with pytest.raises(AccountError, match="sealed for another account"):
        attack.log_in(replace(attack.attacker, password=Secret(value)))
    assert attack.pds.calls == []


def test_session_copied_to_another_account_is_not_used(attack: Attack) -> None:
    """The account logs in again."""
    attack.log_in(attack.victim)
    attack.log_in(attack.attacker)
    attack.copy_session(attack.session_key(attack.victim), attack.session_key(attack.attacker))
    session = attack.log_in(attack.attacker)
    assert (session.did, session.access.reveal()) == (attack.attacker.did,) * 2


def test_session_copied_to_another_pds_is_not_sent_there(attack: Attack) -> None:
    """An account that moves to the attacker's PDS must not bring its old token along."""
    attack.log_in(attack.victim, by="old PDS")
    old = attack.session_key(attack.victim)
    moved = attack.pds.url.replace("127.0.0.1", "localhost")
    attack.log_in(attack.victim, url=moved, by="new PDS")
    pattern = f"media-atproto:session:{attack.victim.did}:*"
    (new,) = {name.decode() for name in attack.redis.scan_iter(pattern, count=1000)} - {old}
    attack.copy_session(old, new)
    assert attack.log_in(attack.victim, url=moved, by="new PDS").access.reveal() == "new PDS"


def test_pds_that_answers_a_login_with_another_did_is_an_error_that_names_it(
    attack: Attack,
) -> None:
    """The session is not stored."""
    with pytest.raises(AccountError, match=attack.victim.did):
        attack.log_in(attack.attacker, did=attack.victim.did)
    pattern = f"media-atproto:session:{attack.attacker.did}:*"
    assert list(attack.redis.scan_iter(pattern, count=1000)) == []


def test_copied_password_stays_unreadable_after_a_rotation(attack: Attack) -> None:
    """It is reported with the name of the user, and rotating keys does not bind it anew."""
    new = Vault([Secret(Fernet.generate_key().decode()), *attack.vault._keys])
    copied = StoredSecret(attack.attacker.subject, seal_password(attack), attack.attacker.did)
    own = StoredSecret(attack.victim.subject, seal_password(attack), attack.victim.did)
    store = _Store([copied, own])
    assert re_encrypt(store, new) == 1
    usage = inspect(store.secrets, new)
    assert (usage.by_key, usage.unreadable) == ({1: 1}, [attack.attacker.subject])
    with pytest.raises(UnreadableSecretError):
        new.open_password(new.reseal(copied.text), attack.attacker.did)


class _Store:
    """Stored passwords in memory."""

    def __init__(self, secrets: list[StoredSecret]) -> None:
        self.secrets = secrets

    def read_all(self) -> Iterator[StoredSecret]:
        yield from list(self.secrets)

    def swap(self, stored: StoredSecret, sealed: str) -> bool:
        self.secrets = [
            replace(each, text=sealed) if each is stored else each for each in self.secrets
        ]
        return True


def test_opened_value_is_not_opened_for_another_account_or_purpose() -> None:
    """Although it is in memory."""
    vault = Vault([Secret(Fernet.generate_key().decode())])
    sealed = vault.seal("token", Purpose.SESSION, "did:plc:ada")
    assert vault.open(sealed, Purpose.SESSION, "did:plc:ada").reveal() == "token"
    for purpose, subject in [(Purpose.SESSION, "did:plc:bob"), (Purpose.PASSWORD, "did:plc:ada")]:
        with pytest.raises(UnreadableSecretError):
            vault.open(sealed, purpose, subject)


def test_opened_values_take_a_bounded_part_of_the_memory() -> None:
    """However many accounts there are, and however long the tokens of a hostile PDS."""
    vault = Vault([Secret(Fernet.generate_key().decode())])
    tracemalloc.start()
    try:
        for number, size in product(range(1000), (500, 5_000)):
            sealed = vault.seal("x" * size, Purpose.SESSION, str(number))
            vault.open(sealed, Purpose.SESSION, str(number))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 2_000_000
