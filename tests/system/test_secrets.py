"""Secrets stay where they are: nothing that is written has them, whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sentry_sdk
from click.testing import CliRunner
from cryptography.fernet import Fernet
from kombu import Connection
from pymongo import MongoClient

from tasks import enqueue
from tests.canaries import Net
from tests.contract.certificates import make_certificate
from tests.contract.proxy import open_proxy
from tests.fleet import running
from tests.guarded_services import Guarded, guarded_mongod, guarded_valkey
from tests.sentry_server import KEY, sentry_server
from tests.system import secret_places as places
from tests.system import secret_stage as stages
from tests.system.flower_api import FlowerApi
from tests.system.secret_stage import PATIENCE, Stage
from tests.waiting import wait_for
from tests.world import Worlds
from worker.app import app
from worker.cli import main
from worker.core.redis_errors import RedisUnavailableError
from worker.core.settings import Settings
from worker.database.mongo import RawDocument, StoreUnavailableError, mongo_errors
from worker.dev.stack.data_folder import Ports
from worker.pds.account_cache import AccountCache
from worker.services import build

DEBUG = ("--loglevel", "DEBUG")
WORKER = (*DEBUG, "--concurrency", "2", "--include", "tests.unlucky")
SECRETS = {
    "password of Redis": "Canary/of+redis@%41:7k",
    "password of MongoDB": "Canary/of+mongodb@%41:9q",
    "password of Flower": "canary-of-flower-3z",
    "wrong password": "canary-that-is-wrong-5x",
    "key": Fernet.generate_key().decode(),
    "old key": Fernet.generate_key().decode(),
    "key of Sentry": KEY,
}


@pytest.fixture(scope="module")
def stage(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run everything that an operator runs, at DEBUG, and beside it workers set up wrongly."""
    with ExitStack() as run:
        folders = [tmp_path_factory.mktemp(name) for name in ("valkey", "mongod", "logs")]
        valkey = run.enter_context(guarded_valkey(folders[0], SECRETS["password of Redis"]))
        mongod = run.enter_context(guarded_mongod(folders[1], SECRETS["password of MongoDB"]))
        proxy = run.enter_context(open_proxy(worlds.stack.environment["PDS_URL"]))
        sentry = run.enter_context(sentry_server())
        own = {
            "MONGODB_CONNECTION_STRING": mongod.url,
            "REDIS_URL": valkey.url,
            "PDS_URL": proxy.url,
            "DID_RESOLVER": "off",
            "SECRET_KEYS": f"{SECRETS['key']},{SECRETS['old key']}",
            "SENTRY_DSN": sentry.dsn,
            "RETRY_BASE_SECONDS": "0.5",
            "SWEEP_INTERVAL_SECONDS": "1",
        }
        run.enter_context(pytest.MonkeyPatch.context()).setenv("REDIS_URL", valkey.url)
        heard = run.enter_context(places.eavesdropping(valkey.as_watcher))
        environ = {**os.environ, **worlds.stack.environment, **own}
        misfits = {
            name: run.enter_context(
                running("worker", environ | wrong, folders[2], *DEBUG, "-c", "1")
            )
            for name, wrong in misfits_of(valkey, mongod).items()
        }
        world = run.enter_context(worlds.open(**own))
        environ |= world.environ
        port = Ports(folders[2] / "ports.json").claim("flower")
        flower = FlowerApi(f"http://127.0.0.1:{port}", "demo", SECRETS["password of Flower"])
        login = {"FLOWER_BASIC_AUTH": f"{flower.user}:{flower.password}"}
        options = (f"--port={port}", "--enable_events=False", "--logging=debug")
        others = [
            *misfits.values(),
            run.enter_context(running("flower", environ | login, folders[2], *options)),
            run.enter_context(
                running("beat", environ, folders[2], *DEBUG, "-s", f"{folders[2]}/beat")
            ),
        ]
        process = run.enter_context(running("worker", environ, folders[2], *WORKER))
        for other in (process, *others):
            run.callback(other.popen.terminate)  # all at once, and then each is waited for
        net = Net(dict(SECRETS))
        for stored in world.services.storage.accounts.read_all():
            net.canaries[f"password of {stored.name}"] = stored.text
        stage = Stage(
            world=world,
            valkey=valkey,
            mongod=mongod,
            environ=environ,
            folder=folders[2],
            proxy=proxy,
            sentry=sentry,
            worker=process,
            flower=flower,
            heard=heard,
            misfits=misfits,
            net=net,
        )
        stage.wait_for_log(" ready.")
        wait_for(flower.answers, within=PATIENCE, what="Flower to answer")
        yield stage


def misfits_of(valkey: Guarded, mongod: Guarded) -> dict[str, dict[str, str]]:
    """Return environments that are wrong: refused, leading nowhere, and not to be read at all."""
    wrong = SECRETS["wrong password"]
    services = {"REDIS_URL": valkey, "MONGODB_CONNECTION_STRING": mongod}
    refused = {
        name: capture_errors.with_password(wrong) for name, capture_errors in services.items()
    }
    nowhere = {
        name: capture_errors.url.replace(capture_errors.host, "localhost:9")
        for name, capture_errors in services.items()
    } | {"MONGODB_SERVER_SELECTION_SECONDS": "0.2"}
    malformed = {
        "REDIS_URL": f"redis://[{wrong}",
        "MONGODB_CONNECTION_STRING": f"mongodb://media:{wrong}\u2100@localhost",
        "SECRET_KEYS": f"{SECRETS['key']}x,{wrong}",
        "SENTRY_DSN": f"https://{wrong}@",
    }
    return {"refused": refused, "nowhere": nowhere, "malformed": malformed}


def test_an_item_is_published_through_tls_and_passwords(stage: Stage) -> None:
    """`rediss://` and `mongodb://...?tls=true`, with a user each: nothing else is to be set."""
    mood = stage.world.platform.save_mood("behind walls", stage.world.ada)
    # The first handshakes of a producer may take longer than it is ready to wait.
    wait_for(lambda: enqueue("mood", mood), within=PATIENCE, what="the queue to take a message")
    stage.wait_for_log("item synced", str(mood))
    assert stage.environ["REDIS_URL"].startswith("rediss://media:")
    assert "tls=true" in stage.environ["MONGODB_CONNECTION_STRING"]


def test_a_certificate_that_is_not_trusted_names_the_variable(stage: Stage, tmp_path: Path) -> None:
    """Another CA than the service's: nothing is sent, and what is to be corrected is said."""
    make_certificate(tmp_path)
    stranger = tmp_path / "localhost.pem"
    services = build(Settings.load(stage.environ | {"REDIS_URL": stage.valkey.with_ca(stranger)}))
    with pytest.raises(RedisUnavailableError, match="see ssl_ca_certs in REDIS_URL"):
        list(AccountCache(services.storage.redis).read_all())
    services.close()
    url = stage.mongod.with_ca(stranger)
    with (
        closing(MongoClient[RawDocument](url, serverSelectionTimeoutMS=1000)) as client,
        pytest.raises(StoreUnavailableError, match="see tlsCAFile in MONGODB_CONNECTION_STRING"),
        mongo_errors(),
    ):
        client.admin.command("ping")


def test_a_pickle_is_refused_and_never_opened(stage: Stage, tmp_path: Path) -> None:
    """Opening it would make a file; the refusal is in the log, and the next message is served."""
    made = tmp_path / "made"
    assert stages.unpickled(made).exists()
    made.unlink()
    stages.send_pickle(stage, made)
    stage.wait_for_log("is not declared as JSON")
    mood = stage.save_mood("after the pickle", stage.world.ada)
    stage.wait_for_log("item synced", str(mood))
    assert not made.exists()


def test_nobody_can_control_the_worker_through_the_queue(stage: Stage) -> None:
    """Whoever reaches Redis can send work, and nothing else: no shutdown, no look inside."""
    with Connection(stage.environ["REDIS_URL"]) as connection:
        app.control.broadcast("shutdown", connection=connection)
        assert app.control.inspect(timeout=1, connection=connection).conf() is None
    mood = stage.save_mood("still here", stage.world.ada)
    stage.wait_for_log("item synced", str(mood))
    assert stage.worker.popen.poll() is None


@pytest.fixture(scope="module")
def written(stage: Stage) -> Mapping[str, str]:
    """Let all mishaps happen; return everything that was written meanwhile, by place."""
    stages.meet_bugs_and_limits(stage)
    stages.meet_a_gateway_that_quotes(stage)
    stages.meet_an_expired_session(stage)
    stages.meet_a_pds_that_is_down(stage)
    stages.meet_poison(stage)
    stage.wait_for_log("Hard time limit")
    collected = {"commands": call_commands(stage), **collect(stage)}
    stage.worker.stop()
    return {**collected, "logs": places.all_logs(stage.folder)}


def call_commands(stage: Stage) -> str:
    """Return what commands say, in the right environment and in wrong ones."""
    wrong = {**stage.environ, "REDIS_URL": stage.environ["REDIS_URL"].replace("Canary", "canary")}
    asked = [
        *((stage.environ, command) for command in ("rotate-keys --yes", "failures")),
        *((wrong, command) for command in ("status", "rotate-keys --yes")),
    ]
    results = [CliRunner().invoke(main, command.split(), env=environ) for environ, command in asked]
    report = [sys.executable, "-m", "celery", "-A", "worker.app", "report"]
    told = subprocess.run(report, env=stage.environ, capture_output=True, text=True, check=True)
    return "\n".join([*(result.output for result in results), told.stdout, told.stderr])


def collect(stage: Stage) -> dict[str, str]:
    """Return what all places hold now; the tokens seen meanwhile are secrets from now on."""
    for number, token in enumerate({call.authorization for call in stage.proxy.calls}):
        if token:
            _, claims, signature = token.removeprefix("Bearer ").split(".")
            stage.net.canaries |= {
                f"claims {number}": claims,
                f"signature {number}": signature,
            }
    return {
        "commands to Redis": "\n".join(stage.heard),
        "Redis": places.all_of_redis(stage.world.services.storage.redis),
        "MongoDB": places.all_of_mongodb(stage.world.services),
        "Flower": places.all_of_flower(stage.flower),
        "Sentry": b"\n".join(stage.sentry.bodies).decode(),
        "command lines": places.all_command_lines(),
        "logs": places.all_logs(stage.folder),
    }


def test_nothing_that_is_written_has_a_secret(stage: Stage, written: Mapping[str, str]) -> None:
    """Logs, the queue, documents, Flower, Sentry, command lines and what commands say."""
    found = {place: stage.net.caught(text) for place, text in written.items()}
    found["Sentry"] -= {"key of Sentry"}  # which its SDK sends to Sentry itself
    assert {place: names for place, names in found.items() if names} == {}
    assert sum(name.startswith("signature") for name in stage.net.canaries) >= 3


def test_every_mishap_has_happened(stage: Stage, written: Mapping[str, str]) -> None:
    """Else the test above would be no test: each left its trace."""
    told = ("ZeroDivisionError", "pds_refused", "wrong_password", "unknown_type")
    logged = ("TimeLimitExceeded", "no answer from the PDS", "refused a message", "Warm shutdown")
    assert [code for code in told if code not in written["Sentry"]] == []
    assert [text for text in logged if text not in written["logs"]] == []
    assert "no key decrypts" in written["commands"]
    assert "does not accept the user or the password" in written["commands"]


@pytest.mark.parametrize(
    ("misfit", "said"),
    [
        ("refused", "does not accept the user or the password in REDIS_URL"),
        ("refused", "does not accept the user or the password in MONGODB_CONNECTION_STRING"),
        ("nowhere", "MongoDB did not answer ("),
        ("malformed", "REDIS_URL is not a URL"),
        ("malformed", "MONGODB_CONNECTION_STRING is not a URL"),
        ("malformed", "SECRET_KEYS key 2 is not a Fernet key"),
        ("malformed", "SENTRY_DSN must be of the form"),
    ],
)
def test_a_worker_that_is_set_up_wrongly_names_the_variable(
    stage: Stage, misfit: str, said: str
) -> None:
    """And does not quote it, which the test above has seen."""
    wait_for(lambda: said in stage.misfits[misfit].text, within=PATIENCE, what=f"{said!r}")


def test_the_net_catches_each_secret_in_each_place(
    stage: Stage, written: Mapping[str, str]
) -> None:
    """Planted where it must not be, each is found: else nothing above says anything."""
    assert written
    names = set(stage.net.canaries)
    with Connection(stage.environ["REDIS_URL"]) as connection, ExitStack() as planted:
        dispatcher = app.events.Dispatcher(connection)
        for secret in stage.net.canaries.values():
            plant(stage, secret, connection)
            uuid = Fernet.generate_key().decode()
            dispatcher.send("task-received", uuid=uuid, name="x", args=secret)
        sleeper = [sys.executable, "-c", "input()", *stage.net.canaries.values()]
        process = planted.enter_context(subprocess.Popen(sleeper, stdin=subprocess.PIPE))
        planted.callback(process.kill)
        wait_for(
            lambda: stage.net.caught(str(stage.flower.tasks())) == names,
            within=PATIENCE,
            what="Flower to show what was planted",
        )
        now = collect(stage)
    assert {place for place, text in now.items() if stage.net.caught(text) != names} == set()


def plant(stage: Stage, secret: str, connection: Connection) -> None:
    """Put a secret into a message, a document, an event of Sentry and a log."""
    app.send_task("x", args=(secret,), connection=connection, queue="nowhere")
    stage.world.services.storage.database["planted"].insert_one({"secret": secret})
    client = sentry_sdk.Client(stage.sentry.dsn, default_integrations=False)
    client.capture_event({"message": secret})
    client.close(timeout=10)
    with (stage.folder / "planted.log").open("a") as log:
        log.write(repr(secret))
