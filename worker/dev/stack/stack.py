"""Start MongoDB, Valkey, a PLC directory and a PDS together on the loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from worker.core.settings.profiles import PROFILES
from worker.dev.stack.data_folder import DataFolder, Keys, Ports
from worker.dev.stack.databases import Mongod, Valkey
from worker.dev.stack.environment import (
    PLATFORM_VARIABLES,
    SERVICE_CHECKS,
    STACK_VARIABLES,
    check_service,
    inherit,
    unset_variables,
)
from worker.dev.stack.errors import PortTakenError, StackError
from worker.dev.stack.packages import MONGOD, NODE, VALKEY, Binary, Packages
from worker.dev.stack.pds import MANIFEST, Node, PdsProgram, PlcProgram
from worker.dev.stack.service import Program, Service
from worker.dev.stack.supervisor import Reaper
from worker.dev.stack.worker import WorkerProgram

_RETRIES = 4
_PLATFORM = PROFILES["aesthetic-computer"]
_WORKER = "worker"
_VARIABLES = {"mongod": "MONGODB_CONNECTION_STRING", "valkey": "REDIS_URL", "pds": "PDS_URL"}


def to_stderr(line: str) -> None:
    """Write a progress message to stderr."""
    sys.stderr.write(f"{line}\n")


class Stack:
    """The services that a worker needs, and the environment variables to use them.

        with Stack.start(Path(".stack"), os.environ) as stack:
            Settings.load({**os.environ, **stack.environment})

    If `environ` has the URL of a service (MONGODB_CONNECTION_STRING, REDIS_URL, PDS_URL), the stack
    only checks this service, and its property raises StackError. The other services listen on the
    loopback, keep data and port in the data folder, and end with this process, even after SIGKILL.
    """

    def __init__(
        self, data: DataFolder, reaper: Reaper, environ: Mapping[str, str], extra: Mapping[str, str]
    ) -> None:
        self._data = data
        self._reaper = reaper
        self._environ = environ
        self._extra = extra
        self._keys = Keys.load(data.path / "keys.json")
        self._ports = Ports(data.path / "ports.json")
        self._services: dict[str, Service] = {}
        self._undo = ExitStack()

    @classmethod
    def start(
        cls,
        data: Path,
        environ: Mapping[str, str],
        *,
        pds_environment: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = to_stderr,
    ) -> Self:
        """Start the services without a URL in `environ`, and wait until all are ready.

        They keep their data in the folder `data`. The PDS also gets `pds_environment`. Raises
        StackError if a service, a package or the folder fails, after stopping all services.
        """
        with ExitStack() as undo:
            folder = DataFolder(data)
            undo.callback(folder.release)
            reaper = Reaper(folder.lock)
            undo.callback(reaper.release)
            undo.callback(reaper.kill_group)  # a killed worker leaves children
            stack = cls(folder, reaper, environ, pds_environment or {})
            undo.callback(stack._stop_services)
            stack._boot(progress)
            stack._undo = undo.pop_all()
            return stack

    @property
    def mongod(self) -> Service:
        return self._service("mongod")

    @property
    def valkey(self) -> Service:
        return self._service("valkey")

    @property
    def plc(self) -> Service:
        return self._service("plc")

    @property
    def pds(self) -> Service:
        return self._service("pds")

    @property
    def pds_admin_password(self) -> str:
        """The password of the PDS's user `admin`."""
        return self._keys.pds_admin_password

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which a worker uses these services."""
        values = {"MONGODB_NAME": "media", "SECRET_KEYS": self._keys.fernet}
        if not self._environ.get("MEDIA_PROFILE"):
            # Visible in the environment, so that no record links to this site unnoticed.
            values |= {name: _PLATFORM.settings[name] for name in PLATFORM_VARIABLES}
        values |= {_VARIABLES[n]: s.url for n, s in self._services.items() if n in _VARIABLES}
        if "pds" in self._services:
            is_limited = self._extra.get("PDS_RATE_LIMITS_ENABLED") == "1"
            values["DID_RESOLVER"] = self.plc.url
            values["RATE_LIMITS"] = "reference" if is_limited else "off"
        if not self._environ.get("MEDIA_STORE_URL"):
            values["MEDIA_STORE_URL"] = self._data.subfolder("media").as_uri()
        values |= {name: value for name in STACK_VARIABLES if (value := self._environ.get(name))}
        return {name: values[name] for name in STACK_VARIABLES if name in values}

    def start_worker(self) -> None:
        """Start a worker with beat, and wait until it can receive messages."""
        environment = {**unset_variables(self._environ), **self.environment}
        worker = self._launch(WorkerProgram(self._data.subfolder("worker"), environment), port=0)
        worker.await_ready()

    def log(self, name: str) -> Path:
        """Return the path of the log of a service."""
        return self._data.subfolder("logs") / f"{name}.log"

    def check(self) -> None:
        """Raise StackError if a service or the guard ended without being stopped."""
        for service in self._services.values():
            service.check()
        if not self._reaper.alive:
            raise StackError("The guard of the services was killed; they cannot go on without.")

    def stop(self) -> None:
        """Stop every service and release the data folder; a second call does nothing."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise StackError(f"{name} is not run by this stack: the environment names it.")
        return self._services[name]

    def _boot(self, progress: Callable[[str], None]) -> None:
        for variable in SERVICE_CHECKS:
            if url := self._environ.get(variable):
                progress(f"Using the service that {variable} names.")
                check_service(variable, url)
        programs = {
            binary: binary.locate()
            for binary in (MONGOD, VALKEY, NODE)
            if not self._environ.get(binary.variable)
        }
        node = self._install_node(programs[NODE], progress) if NODE in programs else None
        for _ in range(_RETRIES):
            try:
                self._start_services(programs, node)
            except PortTakenError as error:
                progress(f"{error.service} lost its port to another process; trying again.")
                self._stop_services()
            else:
                return
        self._start_services(programs, node)

    def _install_node(self, binary: Path, progress: Callable[[str], None]) -> Node:
        instead = ", or name a PDS of your own with PDS_URL"
        packages = Packages("PDS", MANIFEST, self._environ, instead)
        return Node(binary, packages.install(self._reaper, progress), inherit(self._environ))

    def _start_services(self, programs: Mapping[Binary, Path], node: Node | None) -> None:
        """Launch all services, each on a free port, and wait until they are ready."""
        self._services = {}
        inherited = inherit(self._environ)
        if node is not None:
            plc = self._launch(PlcProgram(node, self._data.subfolder("plc")))
            data = self._data.subfolder("pds")
            self._launch(PdsProgram(node, data, plc.url, self._keys, self._extra))
        if mongod := programs.get(MONGOD):
            self._launch(Mongod(mongod, self._data.subfolder("mongod"), inherited))
        if valkey := programs.get(VALKEY):
            self._launch(Valkey(valkey, self._data.subfolder("valkey"), inherited))
        for service in self._services.values():
            service.await_ready()

    def _launch(self, program: Program, port: int | None = None) -> Service:
        """Start a program on `port`, by default the port saved for it."""
        claimed = self._ports.claim(program.name) if port is None else port
        service = Service(program, claimed, self.log(program.name), self._reaper)
        self._services[program.name] = service
        return service

    def _stop_services(self) -> None:
        """Stop the worker, which finishes its tasks, and then the services that it uses."""
        if worker := self._services.pop(_WORKER, None):
            worker.stop()
        for service in self._services.values():
            service.terminate()
        for service in self._services.values():
            service.await_end()
