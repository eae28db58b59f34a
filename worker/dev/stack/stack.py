"""MongoDB, Valkey, a PLC directory and a PDS, started together on the loopback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.dev.stack import environment
from worker.dev.stack.data_folder import DataFolder, Keys, Ports
from worker.dev.stack.databases import Mongod, Valkey
from worker.dev.stack.environment import inherit
from worker.dev.stack.errors import PortTakenError, StackError
from worker.dev.stack.packages import ALL, MONGOD, NODE, NPM, VALKEY, Binary, Packages, cache_folder
from worker.dev.stack.pds import MANIFEST, Node, PdsProgram, PlcProgram
from worker.dev.stack.service import Program, Service
from worker.dev.stack.supervisor import Reaper

_ROUNDS = 5


def to_stderr(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Stack:
    """Every service that the pipeline needs, and the environment that names them.

        with Stack.start(Path(".stack"), os.environ) as stack:
            Settings.load({**os.environ, **stack.environment})

    A service that `environ` already names (MONGODB_CONNECTION_STRING, REDIS_URL, PDS_URL) is
    asked whether it answers, and used. All others listen on the loopback alone, keep their data
    and port in the data folder, and end with this process, even if it is killed.
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
        """Start what `environ` does not name, its data in the folder `data`, until all answers.

        `pds_environment` is added to the PDS's. Raises StackError if a service, a package or
        the folder does not play along; nothing is left running then.
        """
        with ExitStack() as undo:
            folder = DataFolder(data)
            undo.callback(folder.release)
            reaper = Reaper(folder.lock)
            undo.callback(reaper.release)
            stack = cls(folder, reaper, environ, pds_environment or {})
            undo.callback(stack._stop_services)
            stack._boot(progress)
            stack._undo = undo.pop_all()
            return stack

    @property
    def mongod(self) -> Service:
        """The MongoDB server; raises StackError if the environment named another."""
        return self._service("mongod")

    @property
    def valkey(self) -> Service:
        """The Redis server; raises StackError if the environment named another."""
        return self._service("valkey")

    @property
    def plc(self) -> Service:
        """The PLC directory; raises StackError if the environment named a PDS."""
        return self._service("plc")

    @property
    def pds(self) -> Service:
        """The PDS; raises StackError if the environment named another."""
        return self._service("pds")

    @property
    def pds_admin_password(self) -> str:
        """The password of the PDS's administrator, whose user name is `admin`."""
        return self._keys.pds_admin_password

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs to know to use these services, as environment variables."""
        named = self._environ
        return {
            "MONGODB_CONNECTION_STRING": self._url("MONGODB_CONNECTION_STRING", "mongod"),
            "MONGODB_NAME": named.get("MONGODB_NAME") or "media",
            "REDIS_URL": self._url("REDIS_URL", "valkey"),
            "PDS_URL": self._url("PDS_URL", "pds"),
            **self._pds_settings(),
            "MEDIA_STORE_URL": named.get("MEDIA_STORE_URL")
            or self._data.subfolder("media").as_uri(),
            "SECRET_KEYS": named.get("SECRET_KEYS") or self._keys.fernet,
        }

    def _pds_settings(self) -> dict[str, str]:
        """Return what a worker needs to know of the PDS, as far as it is known here."""
        named = {name: self._environ.get(name, "") for name in ("DID_RESOLVER", "RATE_LIMITS")}
        if "pds" in self._services:
            limited = self._extra.get("PDS_RATE_LIMITS_ENABLED") == "1"
            named["DID_RESOLVER"] = named["DID_RESOLVER"] or self._services["plc"].url
            named["RATE_LIMITS"] = named["RATE_LIMITS"] or ("reference" if limited else "off")
        return {name: value for name, value in named.items() if value}

    def check(self) -> None:
        """Raise StackError if a service has ended without being told to."""
        for service in self._services.values():
            if service.died:
                raise service.failure()
        if not self._reaper.alive:
            raise StackError("The guard of the services was killed; they cannot go on without.")

    def stop(self) -> None:
        """Stop every service and release the data folder; a second call does nothing."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _service(self, name: str) -> Service:
        try:
            return self._services[name]
        except KeyError:
            raise StackError(
                f"{name} is not run by this stack: the environment names it."
            ) from None

    def _url(self, variable: str, service: str) -> str:
        return self._environ.get(variable) or self._services[service].url

    def _boot(self, progress: Callable[[str], None]) -> None:
        for variable in environment.VARIABLES:
            if url := self._environ.get(variable):
                progress(f"Using the service that {variable} names.")
                environment.check_service(variable, url)
        programs = {
            binary: binary.locate() for binary in ALL if not self._environ.get(binary.variable)
        }
        node = self._node(programs, progress) if NODE in programs else None
        for rounds_left in reversed(range(_ROUNDS)):
            try:
                self._start_services(programs, node)
            except PortTakenError as error:
                if not rounds_left:
                    raise
                progress(f"{error.service} lost its port to another process; trying again.")
                self._stop_services()
                self._ports.forget(error.service)
            else:
                break

    def _node(self, programs: Mapping[Binary, Path], progress: Callable[[str], None]) -> Node:
        node, npm = programs[NODE], programs[NPM]
        packages = Packages(
            owner="PDS",
            manifest=MANIFEST,
            cache=cache_folder(self._environ),
            node=node,
            npm=npm,
            environ=self._environ,
            instead=", or name a PDS of your own with PDS_URL",
        )
        return Node(node, packages.install(self._reaper, progress), inherit(self._environ))

    def _start_services(self, programs: Mapping[Binary, Path], node: Node | None) -> None:
        """Launch all at once, then wait for one after the other."""
        self._services = {}
        for program in self._programs(programs, node):
            log = self._data.subfolder("logs") / f"{program.name}.log"
            log.unlink(missing_ok=True)
            port = self._ports.claim(program.name)
            service = self._services[program.name] = Service(program, port, log, self._reaper)
            service.launch()
        for service in self._services.values():
            service.await_ready()

    def _programs(self, programs: Mapping[Binary, Path], node: Node | None) -> Iterator[Program]:
        """Yield what to run; the PDS comes when the address of its PLC directory is known."""
        environment = inherit(self._environ)
        if node is not None:
            yield PlcProgram(node, self._data.subfolder("plc"))
            plc_url = self._services["plc"].url
            yield PdsProgram(node, self._data.subfolder("pds"), plc_url, self._keys, self._extra)
        if mongod := programs.get(MONGOD):
            yield Mongod(mongod, self._data.subfolder("mongod"), environment)
        if valkey := programs.get(VALKEY):
            yield Valkey(valkey, self._data.subfolder("valkey"), environment)

    def _stop_services(self) -> None:
        for service in self._services.values():
            service.terminate()
        for service in self._services.values():
            service.await_end()
