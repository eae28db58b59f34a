"""Publish the same documents with the bulk worker and with a Node script, in turn."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import cycle, repeat
from typing import Any

import libipld

from bench.documents import Document, insert_archive
from bench.figures import Figure, Section, Target
from bench.harness import Author, Harness
from bench.peer_program import PeerProgram
from bench.processes import Process
from bench.raw import RawItem, RawPds, raw_item
from bench.results import CLOCK, Result, command_result, total
from bench.usage import cpu_seconds, difference, run_command
from worker.core.clock import rfc3339

_SCRIPT = "the Node script"
_METHOD = (
    "In turn, rounds: {rounds}. {load.ours} documents over {accounts} accounts, published by "
    f"`media-atproto backfill --wait` and the bulk worker. {CLOCK} The script publishes the first "
    "{load.peer} of them for as many other accounts, from a file of JSON lines and the pictures, "
    "10 at a time, with {job.calls}; sessions and connections exist already, and its clock runs "
    "from the job to the last answer. Both have published {load.warm_up} others before. CPU times "
    "include the start of the command.{job.aim}"
)


@dataclass(frozen=True, slots=True)
class Load:
    """Numbers of documents: of the warm-up, of each round, and of each round of the script."""

    warm_up: int
    ours: int
    peer: int


@dataclass(frozen=True, slots=True)
class Job:
    """What is published, what the script does for it, and the bound for the ratio of the rates."""

    type: str
    calls: str
    bound: float
    aim: str = ""

    @property
    def name(self) -> str:
        """The name of the documents."""
        return f"{self.type}s"


PAINTINGS = Job("painting", "sharp, uploadBlob and createRecord", 1.7, " The aim is 2.5 times.")
MOODS = Job("mood", "createRecord", 7)


@dataclass(frozen=True, slots=True)
class Contest:
    """Publishes documents of `authors` with a worker, and the same for `others` with a script.

    `startup` is the start-up time of a command.
    """

    harness: Harness
    worker: Process
    script: PeerProgram
    startup: float
    authors: Sequence[Author]
    others: Sequence[Author]

    def log_in(self) -> None:
        """Let the script log in to each account, as the workers have done."""
        names = [
            {"user": other.subject, "handle": other.handle, "password": other.password}
            for other in self.others
        ]
        self.script.run(accounts=names)

    def measure(
        self,
        job: Job,
        load: Load,
        rounds: int,
        documents: Callable[[Sequence[Author], int], Iterator[Document]],
    ) -> Section:
        """Publish in turn, after a warm-up; check what the script has published."""
        ours, peer, items = [], [], list[RawItem]()
        for own, other in ((load.warm_up,) * 2, *repeat((load.ours, load.peer), rounds)):
            originals = list(documents(self.authors, own))
            copies = self._copies(originals[:other])
            ours.append(self._backfill(job, originals))
            peer.append(self._run_script(copies))
            items += [raw_item(self.harness, copy) for copy in copies]
        method = _METHOD.format(rounds=rounds, load=load, accounts=len(self.authors), job=job)
        return _section(job, method, total(ours[1:]), total(peer[1:]), self._problems(items))

    def _copies(self, documents: Sequence[Document]) -> list[Document]:
        return [
            replace(document, author=other, raw={**document.raw, "user": other.subject})
            for document, other in zip(documents, cycle(self.others), strict=False)
        ]

    def _backfill(self, job: Job, documents: Sequence[Document]) -> Result:
        insert_archive(self.harness, documents)
        command = ("backfill", "--type", job.type, "--wait")
        run = run_command(self.harness, *command, worker=self.worker)
        match = {"_id": {"$in": [document.id for document in documents]}}
        return command_result(self.harness, run, self.startup, [job.type], match)

    def _run_script(self, documents: Sequence[Document]) -> Result:
        file = self.harness.processes.folder / "documents.jsonl"
        file.write_text("".join(f"{self._line(document)}\n" for document in documents))
        os.sync()
        before = cpu_seconds(self.harness)
        run = self.script.run(documents=str(file))
        used = difference(cpu_seconds(self.harness), before)
        return Result(len(documents), run.seconds, {**used, "script": run.cpu})

    def _line(self, document: Document) -> str:
        """Return a document as JSON, with the path of its picture, which is saved."""
        line: dict[str, object] = {"type": document.type, "document": document.raw}
        if document.picture is not None:
            name, owner = f"{document.raw['slug']}.png", document.author.subject
            path = self.harness.platform.store(name, document.picture, owner, "painting")
            line["image"] = str(path)
        return json.dumps(line, default=_plain)

    def _problems(self, items: Sequence[RawItem]) -> list[str]:
        """Report accounts of the script without the records and thumbnails of the items."""
        by_author: dict[Author, list[RawItem]] = defaultdict(list)
        for item in items:
            by_author[item.author].append(item)
        return [
            f"The script has not published all documents of {author.handle}."
            for author, own in by_author.items()
            if not self._has(author, own)
        ]

    def _has(self, author: Author, items: Sequence[RawItem]) -> bool:
        """Return whether a repo has the records, and the PDS a thumbnail for each picture."""
        with closing(RawPds(self.harness.pds_url)) as pds:
            _, blocks = libipld.decode_car(pds.export(author.did))
            stored = set(pds.blobs(author.did))
        found = _records(blocks.values(), items[0].collection)
        thumbnails = [record.pop("thumbnail") for record in found.values() if "thumbnail" in record]
        pictures = [item.picture for item in items if item.picture is not None]
        return (
            found == {item.record["ref"]: item.record for item in items}
            and len(thumbnails) == len(pictures)
            and stored.issuperset(libipld.encode_cid(blob["ref"]) for blob in thumbnails)
        )


def _plain(value: object) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


def _records(blocks: Iterable[Any], collection: str) -> dict[object, dict[str, Any]]:
    """Return the records of a collection by the id of their document."""
    return {
        block["ref"]: dict(block)
        for block in blocks
        if isinstance(block, dict) and block.get("$type") == collection
    }


def _section(job: Job, method: str, ours: Result, peer: Result, problems: Sequence[str]) -> Section:
    key = f"{job.name}_vs_node"
    meaning = f"backfill of {job.name}, compared with {_SCRIPT}"
    return Section(
        f"{job.name}_beside_node",
        f"{job.name.capitalize()}, beside a Node script",
        method,
        [
            Figure("backfill", ours.rate, f"{job.name}/s", _SCRIPT, peer.rate),
            Figure("CPU: all processes", _cpu(ours), "ms each", _SCRIPT, _cpu(peer)),
            Figure("CPU: pds", _cpu(ours, "pds"), "ms each", _SCRIPT, _cpu(peer, "pds")),
        ],
        [Target(key, meaning, ours.rate / peer.rate, job.bound, at_least=True)],
        problems,
    )


def _cpu(result: Result, name: str | None = None) -> float:
    """Return the CPU time of a document in ms, of all processes or of one."""
    used = sum(result.cpu.values()) if name is None else result.cpu[name]
    return used / result.documents * 1000
