"""What was published of a lexicon: as it is kept in a folder, in a repo, or found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.core.records import RecordKey
from worker.operations.lexicons.names import DnsError, Lookup, did_in, dns_name
from worker.pds.client import Pds

COLLECTION = "com.atproto.lexicon.schema"
Document = Mapping[str, object]
PdsOf = Callable[[str], Pds]


class Published(Protocol):
    """A place where lexicons are published."""

    def find(self, nsid: str) -> Document | None:
        """Return the document that was published under an NSID, or None."""

    def place(self, nsid: str) -> str:
        """Return where that is, in words."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of what was published, by NSID; `name` says where they are kept."""

    documents: Mapping[str, Document]
    name: str

    def find(self, nsid: str) -> Document | None:
        """Return a copy, or None."""
        return self.documents.get(nsid)

    def place(self, nsid: str) -> str:
        """Return the name of the folder."""
        return self.name


@dataclass(frozen=True, slots=True)
class InRepo:
    """The records of one repo; methods raise what reading a PDS does."""

    pds_of: PdsOf
    did: str

    def find(self, nsid: str) -> Document | None:
        """Return the record of a lexicon, or None."""
        record = self.pds_of(self.did).get_record(RecordKey(self.did, COLLECTION, nsid))
        return None if record is None else record.value

    def place(self, nsid: str) -> str:
        """Return the record's URI."""
        return RecordKey(self.did, COLLECTION, nsid).uri


@dataclass(frozen=True, slots=True)
class AsResolved:
    """What anybody finds who has but the NSID: DNS, DID, repo, record."""

    look_up: Lookup
    pds_of: PdsOf

    def find(self, nsid: str) -> Document | None:
        """Return the record that the NSID's domain leads to; None if the repo has none.

        Raises DnsError when the domain names no DID.
        """
        name = dns_name(nsid)
        did = did_in(self.look_up(name))
        if did is None:
            raise DnsError(f'the DNS has no TXT record of {name}: it should be "did=DID"')
        return InRepo(self.pds_of, did).find(nsid)

    def place(self, nsid: str) -> str:
        """Return the name in the DNS."""
        return dns_name(nsid)
