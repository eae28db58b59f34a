"""A Valkey and a MongoDB that want TLS, a user and a password."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from tests.contract.certificates import make_certificate
from tests.fleet import logged
from tests.tls_tunnel import tls_tunnel
from tests.waiting import wait_for
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.packages import MONGOD, VALKEY

_USER, _WATCHER = "media", "watcher"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A running service: its address for a client that knows the password and whom to trust."""

    host: str
    password: str
    ca: Path
    url: str

    @property
    def as_watcher(self) -> str:
        """Return the address for a user who may do everything, of Valkey."""
        return self.url.replace(f"//{_USER}:", f"//{_WATCHER}:")

    def with_password(self, password: str) -> str:
        """Return the address with another password."""
        return self.url.replace(quote(self.password, safe=""), password)

    def with_ca(self, ca: Path) -> str:
        """Return the address for a client that trusts somebody else."""
        return self.url.replace(str(self.ca), str(ca))


@contextmanager
def guarded_valkey(folder: Path, password: str) -> Iterator[Guarded]:
    """Run a Valkey with an ACL user, behind TLS."""
    ca = folder / "localhost.pem"
    context, _ = make_certificate(folder)
    port = Ports(folder / "ports.json").claim("valkey")
    (folder / "acl").write_text(
        "user default off\n"
        f"user {_USER} on ~* &* +@all -@dangerous +info >{password}\n"
        f"user {_WATCHER} on ~* &* +@all >{password}\n"
    )
    options = ("--bind", "127.0.0.1", "--port", str(port), "--aclfile", folder / "acl")
    command = (VALKEY.locate(), *options, "--dir", folder, "--save", "")
    with logged(command, folder / "valkey.log"):
        with closing(Redis(port=port, username=_USER, password=password)) as client:
            wait_for(lambda: answers(client), within=30, what="Valkey to answer")
        with tls_tunnel(context, port) as outside:
            host = f"localhost:{outside}"
            url = f"rediss://{_USER}:{quote(password, safe='')}@{host}/0?ssl_ca_certs={ca}"
            yield Guarded(host, password, ca, url)


@contextmanager
def guarded_mongod(folder: Path, password: str) -> Iterator[Guarded]:
    """Run a MongoDB, a replica set of one, that speaks TLS only and knows one user."""
    ca = folder / "localhost.pem"
    make_certificate(folder)
    host = f"localhost:{Ports(folder / 'ports.json').claim('mongod')}"
    key = folder / "set.key"
    key.write_text(secrets.token_urlsafe(64).replace("-", "x").replace("_", "y"))
    key.chmod(0o600)
    (folder / "data").mkdir()
    options: list[str | Path] = [
        *("--bind_ip", "127.0.0.1", "--port", host.rpartition(":")[2], "--nounixsocket"),
        *("--dbpath", folder / "data", "--replSet", "guarded", "--wiredTigerCacheSizeGB", "0.25"),
        *("--auth", "--keyFile", key, "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", ca),
        *("--tlsCAFile", ca, "--tlsAllowConnectionsWithoutCertificates"),
    ]
    options_of_url = f"tls=true&tlsCAFile={ca}"
    with logged([MONGOD.locate(), *options], folder / "mongod.log"):
        _initiate(f"mongodb://{host}/?{options_of_url}&directConnection=true", host, password)
        login = f"{_USER}:{quote(password, safe='')}"
        yield Guarded(host, password, ca, f"mongodb://{login}@{host}/?{options_of_url}")


def _initiate(url: str, host: str, password: str) -> None:
    """Make the set, and its first user, which whoever is on the same machine may."""
    members = {"_id": "guarded", "members": [{"_id": 0, "host": host}]}
    with closing(MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=30_000)) as client:
        client.admin.command("replSetInitiate", members)
    with closing(MongoClient[dict[str, object]](url)) as client:
        wait_for(lambda: _is_primary(client), within=60, what="MongoDB to be primary")
        client.admin.command("createUser", _USER, pwd=password, roles=["readWriteAnyDatabase"])


def _is_primary(client: MongoClient[dict[str, object]]) -> bool:
    try:
        return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False


def answers(client: Redis) -> bool:
    """Tell whether Redis answers."""
    try:
        return bool(client.ping())
    except RedisError:
        return False
