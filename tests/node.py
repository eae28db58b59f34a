"""The Node example, installed where a test may run it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.packages import NODE, Packages
from worker.dev.stack.stack import to_stderr
from worker.dev.stack.supervisor import Reaper

EXAMPLE = Path(__file__).parents[1] / "examples" / "node"
# A process that goes on, as a server does: an item a line in, an answer a line out.
_SERVER = """
import { createInterface } from "node:readline";
import { enqueue } from "./enqueue.mjs";
for await (const line of createInterface({ input: process.stdin })) {
  const [type, id] = JSON.parse(line);
  const start = performance.now();
  const enqueued = await enqueue(type, id);
  console.log(JSON.stringify({ enqueued, milliseconds: performance.now() - start }));
}
"""
Answer = dict[str, object]


@dataclass(frozen=True)
class Server:
    """A Node process that enqueues what it is asked to."""

    process: subprocess.Popen[str]

    def enqueue(self, type_name: str, item: object) -> Answer:
        """Have it enqueue an item; returns `enqueued` and `milliseconds`."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([type_name, item]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def end(self) -> int:
        """Close its input, and return how it ended: nothing may keep it from ending."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(60)


@dataclass(frozen=True)
class Example:
    """The example in a folder with its packages."""

    folder: Path

    def upload(
        self,
        type_name: str,
        document: Mapping[str, object],
        environ: Mapping[str, str],
        **server: object,
    ) -> tuple[Answer, str]:
        """Save a document and enqueue it, in a process of its own; returns its answer and log.

        `document` is what the client sent, `server` what the upload function knows.
        """
        upload = json.dumps({"type": type_name, "document": document, **server})
        return self._run("upload.mjs", upload, environ=environ)

    def run(self, program: str, argument: str, environ: Mapping[str, str] | None = None) -> Answer:
        """Run a module of a few lines beside the example; returns the object that it prints."""
        return self._run("--input-type=module", "--eval", program, argument, environ=environ)[0]

    @contextmanager
    def server(self, environ: Mapping[str, str]) -> Iterator[Server]:
        """Run a process that goes on until the block ends."""
        (self.folder / "server.mjs").write_text(_SERVER)
        with subprocess.Popen(
            (NODE.locate(), "server.mjs"),
            cwd=self.folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield Server(process)
            finally:
                process.kill()

    def _run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> tuple[Answer, str]:
        """Run Node to its end; return the object that it prints, and its log."""
        done = subprocess.run(
            (NODE.locate(), *arguments),
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer, done.stderr


def install(environ: Mapping[str, str], folder: Path) -> Example:
    """Return the example with the packages of its lock file, in a new folder."""
    packages = Packages("example", EXAMPLE, environ)
    reaper = Reaper(DataFolder(folder / "lock").lock)
    try:
        installed = packages.install(reaper, to_stderr)
    finally:
        reaper.release()
    for file in EXAMPLE.glob("*.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return Example(folder)
