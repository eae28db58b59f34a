"""Rotating keys: everything comes under the first key, whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from tests.contract.proxy import Proxy, open_proxy
from tests.terminal import run_on_terminal
from tests.world import World, Worlds
from worker.cli import main
from worker.core.documents import Account
from worker.core.secrets import Purpose, Secret, StoredSecret, Vault
from worker.core.settings import Settings
from worker.operations.key_rotation import inspect, re_encrypt
from worker.pds.account_cache import AccountCache
from worker.services import build


@dataclass
class Keyring:
    """A platform with sessions of its own in Redis, whose keys change."""

    world: World
    proxy: Proxy
    keys: list[str] = field(default_factory=list)

    @property
    def vault(self) -> Vault:
        """Return the vault of the present keys."""
        return Vault(map(Secret, self.keys))

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment with the present keys."""
        return {**self.world.environ, "SECRET_KEYS": ",".join(self.keys)}

    @property
    def passwords(self) -> dict[object, str]:
        """Return the passwords as they are stored, by subject."""
        return {each.name: each.text for each in self.world.services.storage.accounts.read_all()}

    def seal(self, subject: str, password: str, vault: Vault) -> str:
        """Seal a password for the DID of a user."""
        return vault.seal(password, Purpose.PASSWORD, self.world.dids[subject])

    def store(self, subject: str, password: str) -> None:
        """Store a password as it is to rest."""
        users = self.world.services.storage.database["users"]
        users.update_one({"_id": subject}, {"$set": {"atproto.password": password}})

    def rotate(self, *options: str) -> Result:
        """Run the command with the present keys, as a script does."""
        return self.run("rotate-keys", "--yes", *options)

    def run(self, *arguments: str, **environ: str) -> Result:
        """Run a command with the present keys and without a terminal."""
        return CliRunner().invoke(main, arguments, env={**self.environ, **environ})

    def use_sessions(self) -> int:
        """Have a new worker get the sessions of ada and bob; return how many logins it took."""
        services = build(Settings.load(self.environ))
        before = self.proxy.count("createSession")
        for subject in (self.world.ada, self.world.bob):
            account = services.storage.accounts.find(subject)
            assert isinstance(account, Account)
            services.pds.hosts.for_did(account.did).sessions.get(account)
        services.close()
        return self.proxy.count("createSession") - before


@pytest.fixture(scope="module")
def proxied(worlds: Worlds) -> Iterator[tuple[World, Proxy]]:
    """Three users, a Redis database for them alone, and a proxy that counts logins."""
    with (
        open_proxy(worlds.stack.environment["PDS_URL"]) as proxy,
        worlds.open_with_redis(PDS_URL=proxy.url) as world,
    ):
        yield world, proxy


@pytest.fixture
def keyring(proxied: tuple[World, Proxy]) -> Iterator[Keyring]:
    """The users, their passwords plain, with one key and a session each for two of them."""
    world, proxy = proxied
    world.services.storage.redis.flushdb()
    keyring = Keyring(world, proxy, [new_key()])
    plain = keyring.passwords
    assert keyring.use_sessions() == 2
    yield keyring
    for subject, password in plain.items():
        keyring.store(str(subject), password)


def new_key() -> str:
    """Return a key that nobody has had before."""
    return Fernet.generate_key().decode()


def test_everything_comes_under_the_new_key_and_nobody_logs_in_again(keyring: Keyring) -> None:
    """Plain, under the old key, in MongoDB and in Redis; then the old key is needed no more."""
    plain = keyring.passwords
    old = keyring.vault
    ada = keyring.world.ada
    keyring.store(ada, keyring.seal(ada, plain[ada], old))
    keyring.keys.insert(0, new_key())
    dry = keyring.rotate("--dry-run")
    assert "Key 2 of SECRET_KEYS is still needed." in dry.stdout
    assert dry.exit_code == 0
    assert keyring.passwords == plain | {ada: keyring.passwords[ada]}

    done = keyring.rotate()
    assert "3 passwords, 2 sessions" in done.stdout
    assert "Key 2 of SECRET_KEYS is no longer needed" in done.stdout
    assert done.exit_code == 0
    alone = Vault([Secret(keyring.keys[0])])
    opened = {
        each.name: alone.open_password(each.text, str(each.did)).reveal()
        for each in keyring.world.services.storage.accounts.read_all()
    }
    assert opened == plain
    cache = AccountCache(keyring.world.services.storage.redis)
    assert inspect(cache.read_all(), alone).by_key == {1: 2}
    assert keyring.use_sessions() == 0
    assert "0 passwords, 0 sessions" in keyring.rotate().stdout


def test_with_the_old_key_withdrawn_each_account_logs_in_once(keyring: Keyring) -> None:
    """Sessions bear names made with the last key: a new last key, a new name."""
    keyring.keys.insert(0, new_key())
    keyring.rotate()
    keyring.keys.pop()
    assert keyring.use_sessions() == 2
    assert keyring.use_sessions() == 0
    assert keyring.rotate().exit_code == 0


def test_a_password_that_no_key_opens_is_named_and_left(keyring: Keyring) -> None:
    """By its subject, and by nothing that would tell anything of it."""
    lost = keyring.seal(keyring.world.bob, "canary", Vault([Secret(new_key())]))
    keyring.store(keyring.world.bob, lost)
    result = keyring.rotate()
    assert result.exit_code == 1
    assert f"no key decrypts the password of {keyring.world.bob}" in result.stdout
    assert keyring.passwords[keyring.world.bob] == lost
    assert not [word for word in (lost, "canary", *keyring.keys) if word in result.output]
    assert "2 passwords" in result.stdout


def test_what_changed_since_it_was_read_is_left_as_it_is_now(keyring: Keyring) -> None:
    """A password that a user changes, a session that a worker renews: the newer one stays."""
    services = keyring.world.services
    password, *_ = services.storage.accounts.read_all()
    keyring.store(str(password.name), "changed")
    assert not services.storage.accounts.swap(password, "sealed")
    session, *_ = AccountCache(services.storage.redis).read_all()
    services.storage.redis.set(str(session.name), "renewed", ex=1000)
    assert not AccountCache(services.storage.redis).swap(session, "sealed")
    assert keyring.passwords[password.name] == "changed"
    assert services.storage.redis.get(str(session.name)) == b"renewed"


def test_an_interrupted_rotation_is_completed_by_the_next(keyring: Keyring) -> None:
    """It stops between two passwords; sessions keep the time that they had to live."""
    keyring.keys.insert(0, new_key())

    class Interrupted:
        def read_all(self) -> Iterator[StoredSecret]:
            yield next(keyring.world.services.storage.accounts.read_all())
            raise KeyboardInterrupt

        swap = keyring.world.services.storage.accounts.swap

    with pytest.raises(KeyboardInterrupt):
        re_encrypt(Interrupted(), keyring.vault)
    accounts = keyring.world.services.storage.accounts
    assert inspect(accounts.read_all(), keyring.vault).by_key == {1: 1}
    assert "2 passwords, 2 sessions" in keyring.rotate().stdout
    redis = keyring.world.services.storage.redis
    session, *_ = AccountCache(keyring.world.services.storage.redis).read_all()
    assert 0 < redis.ttl(str(session.name)) <= 90 * 86_400


def test_plain_passwords_are_encrypted_only_after_a_warning_and_a_confirmation(
    keyring: Keyring, bare_environ: dict[str, str]
) -> None:
    """The warning names the profile's programs that read them; another word changes nothing."""
    plain = keyring.passwords
    environ = {**bare_environ, **keyring.environ, "MEDIA_PROFILE": "aesthetic-computer"}
    code, shown = run_on_terminal(["rotate-keys"], environ, "yes\n")
    assert code == 1
    shown = " ".join(shown.split())  # without line breaks
    assert "3 passwords are stored in plain text" in shown
    assert shown.index("handle changes, papers, standard.site") < shown.index("type encrypt")
    assert "That is not encrypt: nothing was changed." in shown
    assert keyring.passwords == plain
    code, shown = run_on_terminal(["rotate-keys"], environ, "encrypt\n")
    assert code == 0, shown
    assert all(map(Vault.is_sealed, keyring.passwords.values()))


def test_a_script_must_give_yes_to_encrypt_plain_passwords(keyring: Keyring) -> None:
    """It is warned all the same, on stderr; a dry run and encrypted passwords need no option."""
    plain = keyring.passwords
    refused = keyring.run("rotate-keys")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "give --yes" in refused.stderr
    dry = keyring.run("rotate-keys", "--dry-run")
    assert (dry.exit_code, keyring.passwords) == (0, plain)
    done = keyring.rotate()
    for result in (refused, dry, done):
        assert "Other programs may read `users.atproto.password` in plain text" in result.stderr
    keyring.keys.insert(0, new_key())
    again = keyring.run("rotate-keys")
    assert (again.exit_code, again.stderr) == (0, "")


def test_the_numbers_are_printed_as_json(keyring: Keyring) -> None:
    """By key, counted from 1; `sealed` is null when nothing was changed."""
    dry = json.loads(keyring.run("rotate-keys", "--dry-run", "--json").stdout)
    assert (dry["sealed"], dry["passwords"]["plain"]) == (None, 3)
    done = json.loads(keyring.rotate("--json").stdout)
    assert done["sealed"]["passwords"] == 3
    assert done["passwords"] == {"by_key": {"1": 3}, "plain": 0, "unreadable": []}
    keyring.keys.insert(0, new_key())
    assert json.loads(keyring.rotate("--json").stdout)["unneeded_keys"] == [2]


def test_without_a_profile_no_program_is_named_in_the_warning(keyring: Keyring) -> None:
    """Which programs read passwords is known of a profile only."""
    result = keyring.run("rotate-keys", "--dry-run")
    assert "Other programs may read" in result.stderr
    assert "papers" not in result.stderr
