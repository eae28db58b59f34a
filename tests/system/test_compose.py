"""The commands of docker-compose.yml, run as they stand on the embedded services."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.deployed_valkey import DeployedValkey, deployed_valkey
from tests.deployment import SECRETS, Service, elsewhere, procfile, services
from tests.fleet import stopped
from tests.scene import Scene, open_scene
from tests.waiting import wait_for
from tests.world import Worlds
from worker.dev.stack.data_folder import Ports
from worker.operations.watch.checkpoint import read_checkpoint
from worker.queue.names import BULK, LIVE, SWEEP

WITH_HEARTBEAT = ("worker-live", "worker-bulk", "beat", "watch")
METRICS = "9100"
PATIENCE = 120.0
_LOGIN = ("ops", "password-of-ops")
_REDIS = "redis_url_"
_SECRETS = ("MONGODB_CONNECTION_STRING", "REDIS_URL", "SECRET_KEYS")
_ALIVE = {"30": "8"}  # seconds of `alive --within`; a heartbeat comes every 5


@dataclass
class Container:
    """What stands in for a container: a service's command, its folders and its environment."""

    service: Service
    folder: Path
    environ: dict[str, str]
    places: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Run the service's command."""
        command = elsewhere(self.service.command, self.places)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environ,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_healthy(self) -> bool:
        """Run the service's health check."""
        command = elsewhere(self.service.health, self.places | _ALIVE)
        done = subprocess.run(
            command, check=False, env=self.environ, capture_output=True, timeout=60
        )
        return done.returncode == 0

    def await_health(self, *, healthy: bool = True) -> None:
        """Wait until the health check says so."""
        wait_for(
            lambda: self.is_healthy() is healthy,
            every=0.5,
            what=f"{self.service.name} to be {'' if healthy else 'un'}healthy; {self.log[-2000:]}",
        )

    @property
    def log(self) -> str:
        """Return what it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its processes, all of them, as to a container's."""
        os.killpg(self.process.pid, number)

    def stop(self) -> int:
        """Stop it as Docker does: SIGTERM to its first process; return its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(self.service.grace + 50)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedValkey]:
    """Run the Valkey of docker-compose.yml, with a user for each program."""
    with deployed_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running
        assert running.denials() == []


@pytest.fixture(scope="module")
def scene(
    worlds: Worlds, valkey: DeployedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Open a platform whose workers are those of docker-compose.yml."""
    folder = tmp_path_factory.mktemp("compose")
    with open_scene(worlds, folder, REDIS_URL=valkey.url("operator")) as opened:
        yield opened


@pytest.fixture(scope="module")
def fleet(scene: Scene, valkey: DeployedValkey) -> Iterator[dict[str, Container]]:
    """Run every service of ours that goes on."""
    with ExitStack() as undo:
        running = {
            name: undo.enter_context(container(scene, valkey, services()[name]))
            for name in procfile()
        }
        for each in running.values():
            each.await_health()
        yield running


@contextmanager
def container(scene: Scene, valkey: DeployedValkey, service: Service) -> Iterator[Container]:
    """Run a service in a folder of its own until the block ends."""
    folder = scene.folder / service.name
    for name in ("tmp", "state", "secrets"):
        (folder / name).mkdir(parents=True)
    hand_over(scene, valkey, service, folder / "secrets")
    places = places_in(folder, service)
    made = Container(service, folder, environment_of(scene, service, places), places)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def places_in(folder: Path, service: Service) -> dict[str, str]:
    """Return what stands for a container's folders, address and ports."""
    ports = {port for port in ("5555", "8700") if port in service.command} | {METRICS}
    return {
        "/tmp/": f"{folder}/tmp/",
        "/var/lib/media-atproto/": f"{folder}/state/",
        SECRETS: f"{folder}/secrets/",
        "0.0.0.0": "127.0.0.1",
        **{port: str(Ports(folder / "ports.json").claim(service.name)) for port in ports},
    }


def environment_of(scene: Scene, service: Service, places: dict[str, str]) -> dict[str, str]:
    """Return a service's environment, where the embedded services are in place of Docker's.

    Its secrets are in files, and it has no others.
    """
    told = service.environment_at(places)
    kept = {name: value for name, value in scene.environ.items() if name not in _SECRETS}
    own = ("MONGODB_NAME", "PDS_URL", "DID_RESOLVER", "MEDIA_STORE_URL")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **told, **{name: scene.environ[name] for name in own}, "PATH": path}


def hand_over(scene: Scene, valkey: DeployedValkey, service: Service, folder: Path) -> None:
    """Write the secrets that a service is given into files, as Docker does."""
    known = {
        "mongodb_connection_string": scene.environ["MONGODB_CONNECTION_STRING"],
        "secret_keys": scene.environ["SECRET_KEYS"],
        "flower_basic_auth": ":".join(_LOGIN),
        "web_basic_auth": ":".join(_LOGIN),
    }
    for name in service.secrets:
        is_redis = name.startswith(_REDIS)
        value = valkey.url(name.removeprefix(_REDIS)) if is_redis else known[name]
        (folder / name).write_text(f"{value}\n")


def test_a_save_is_published(fleet: dict[str, Container], scene: Scene) -> None:
    """By the worker for saves, its settings from the files of secrets."""
    mood = scene.world.platform.save_mood("in a container", scene.world.ada)
    scene.enqueue("mood", mood)
    scene.wait_for_status("mood", mood, "synced")
    assert scene.world.record("mood", mood)["text"] == "in a container"
    assert fleet["watch"].process.poll() is None


def test_a_batch_is_published_by_the_worker_for_bulk(
    fleet: dict[str, Container], scene: Scene
) -> None:
    """Which runs with a lower priority for the processor, and the one for saves does not."""
    for mood in scene.enqueue_batch(scene.world.bob, 3):
        scene.wait_for_status("mood", mood, "synced")
    # A sweep may have been there before: then the batch finds nothing left to do, and says so.
    wait_for(lambda: "batch of moods" in fleet["worker-bulk"].log, what="the batch")
    bulk, live = (
        psutil.Process(fleet[name].process.pid).nice() for name in ("worker-bulk", "worker-live")
    )
    assert bulk == min(live + 10, 19)


def test_beat_sends_the_sweeps(fleet: dict[str, Container], scene: Scene) -> None:
    """So an item whose message was lost is published all the same."""
    mood = scene.world.platform.save_mood("nobody told the queue", scene.world.ada)
    scene.wait_for_status("mood", mood, "synced")
    assert "Sending due task sweep" in fleet["beat"].log


@pytest.mark.parametrize(
    ("name", "port", "path"), [("flower", "5555", "/tasks"), ("web", "8700", "")]
)
def test_pages_need_the_password_of_the_file_of_secrets(
    fleet: dict[str, Container], name: str, port: str, path: str
) -> None:
    """Without it, or with another one, the answer is 401."""
    url = f"http://127.0.0.1:{fleet[name].places[port]}{path}"
    assert httpx.get(url).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(url, auth=("ops", "guessed")).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(url, auth=_LOGIN).status_code == httpx.codes.OK


def test_workers_tell_their_figures(fleet: dict[str, Container]) -> None:
    """To whoever is in the networks of the containers."""
    for name in ("worker-live", "worker-bulk"):
        url = f"http://127.0.0.1:{fleet[name].places[METRICS]}/metrics"
        assert "media_atproto_sweeps_total" in httpx.get(url).raise_for_status().text


def test_the_watcher_enqueues_changes(fleet: dict[str, Container], scene: Scene) -> None:
    """Its secrets are the connection string and a URL of Redis."""
    assert fleet["watch"].service.secrets == {"mongodb_connection_string", "redis_url_watch"}
    database = scene.world.services.storage.database

    def enqueued() -> int:
        checkpoint = read_checkpoint(database)
        return checkpoint.enqueued if checkpoint else 0

    before = enqueued()
    scene.world.platform.save_mood("seen by the watcher", scene.world.ada)
    wait_for(lambda: enqueued() > before, what="the watcher to enqueue")


def test_flower_shows_workers_and_queues(fleet: dict[str, Container]) -> None:
    """It has no access to MongoDB, and no secret keys."""
    url = f"http://127.0.0.1:{fleet['flower'].places['5555']}"
    with httpx.Client(base_url=url, auth=_LOGIN, timeout=30) as flower:
        workers = flower.get("/workers", params={"json": "1"}).raise_for_status().json()["data"]
        assert {str(each["hostname"]).partition("@")[0] for each in workers} == {"live", "bulk"}
        assert flower.get("/api/tasks").raise_for_status().json()
        lengths = flower.get("/api/queues/length").raise_for_status().json()
        assert {each["name"] for each in lengths["active_queues"]} >= {LIVE, SWEEP, BULK}


def test_the_page_shows_and_retries_an_item(fleet: dict[str, Container], scene: Scene) -> None:
    """It reads the record from the PDS, the accounts and the queues, and enqueues the item."""
    mood = scene.world.platform.save_mood("on the page", scene.world.ada)
    scene.wait_for_status("mood", mood, "synced")
    url = f"http://127.0.0.1:{fleet['web'].places['8700']}"
    with httpx.Client(base_url=url, auth=_LOGIN, timeout=30) as page:
        for path in ("/", "/accounts", "/failures", "/metrics"):
            assert page.get(path).status_code == httpx.codes.OK
        item = page.get("/item", params={"type": "mood", "id": str(mood)})
        (token,) = re.findall(r'name="token" value="([^"]+)"', item.text)
        form = {"type": "mood", "id": str(mood), "token": token}
        answer = page.post("/retry", data=form, headers={"Origin": url})
    assert "told=enqueued" in answer.headers["location"]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "doctor --accounts all",
        "accounts",
        "enqueue mood {}",
        "show mood {}",
        "sync mood {} --force",
        "retry {}",
        "backfill --wait",
        "audit",
        "rotate-keys --yes",
    ],
)
def test_commands_run_in_the_service_operator(
    fleet: dict[str, Container], scene: Scene, valkey: DeployedValkey, command: str
) -> None:
    """With its secrets, in place of `status`."""
    assert fleet["worker-live"].process.poll() is None
    mood = scene.world.publish_mood("for the operator")
    folder = scene.folder / f"operator-{uuid4().hex}"
    folder.mkdir()
    service = services()["operator"]
    hand_over(scene, valkey, service, folder)
    environ = environment_of(scene, service, {SECRETS: f"{folder}/"})
    words = ["media-atproto", *command.format(mood).split()]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.command[0] == words[0]


def test_a_producer_enqueues(
    fleet: dict[str, Container], scene: Scene, valkey: DeployedValkey
) -> None:
    """Its environment is its URL of Redis."""
    assert fleet["worker-live"].process.poll() is None
    mood = scene.world.platform.save_mood("by a producer", scene.world.ada)
    program = f"import sys, tasks; sys.exit(not tasks.enqueue('mood', '{mood}'))"
    environ = {"REDIS_URL": valkey.url("producer")}
    assert subprocess.run([sys.executable, "-c", program], env=environ, check=False).returncode == 0


def test_no_program_was_denied_a_command_or_a_key(
    fleet: dict[str, Container], valkey: DeployedValkey
) -> None:
    """In all tests above, as Valkey has logged."""
    assert all(each.process.poll() is None for each in fleet.values())
    assert valkey.denials() == []


def test_what_stands_still_is_unhealthy_and_recovers(fleet: dict[str, Container]) -> None:
    """Its processes exist, but do nothing until they are continued."""
    stuck = [fleet[name] for name in WITH_HEARTBEAT]
    for each in stuck:
        each.await_health()
        each.signal(signal.SIGSTOP)
    for each in stuck:
        each.await_health(healthy=False)
        each.signal(signal.SIGCONT)
    for each in stuck:
        each.await_health()


def test_a_worker_without_redis_is_unhealthy_until_it_is_back(
    fleet: dict[str, Container], valkey: DeployedValkey
) -> None:
    """It takes no messages meanwhile; it goes on by itself, and is not restarted."""
    pid = fleet["worker-live"].process.pid
    with stopped(valkey):
        fleet["worker-live"].await_health(healthy=False)
    fleet["worker-live"].await_health()
    assert fleet["worker-live"].process.poll() is None
    assert fleet["worker-live"].process.pid == pid


def test_what_was_killed_is_unhealthy_and_healthy_once_restarted(
    fleet: dict[str, Container],
) -> None:
    """`restart: unless-stopped` does the second."""
    killed = [fleet[name] for name in (*WITH_HEARTBEAT, "flower")]
    for each in killed:
        each.signal(signal.SIGKILL)
        each.process.wait()
    for each in killed:
        each.await_health(healthy=False)
        each.start()
    for each in killed:
        each.await_health()


def test_all_of_it_stops_in_order(fleet: dict[str, Container]) -> None:
    """SIGTERM to its first process, as Docker does, leaves no process behind."""
    children = [
        child
        for each in fleet.values()
        for child in psutil.Process(each.process.pid).children(recursive=True)
    ]
    logged = {name: len(each.log) for name, each in fleet.items()}
    codes = {name: each.stop() for name, each in fleet.items()}
    assert set(codes.values()) == {0}, codes
    assert not psutil.wait_procs(children, timeout=PATIENCE)[1]
    assert not [name for name, each in fleet.items() if "Traceback" in each.log[logged[name] :]]
