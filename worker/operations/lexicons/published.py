"""Find the published version of a lexicon in a folder, in a repo or through DNS.

https://atproto.com/specs/lexicon#lexicon-publication-and-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import dns.exception
import dns.resolver

from worker.core.errors import TransientError
from worker.core.records import RecordKey
from worker.pds.client import PdsClient

COLLECTION = "com.atproto.lexicon.schema"
Document = Mapping[str, object]
PdsOf = Callable[[str], PdsClient]
Lookup = Callable[[str], tuple[str, ...]]
_SECONDS = 5.0
_DID = "did="


class LexiconSource(Protocol):
    """A source of published lexicons."""

    def find(self, nsid: str) -> Document | None:
        """Return the published lexicon document for `nsid`, or None."""

    def location(self, nsid: str) -> str:
        """Return a name, for messages, of the location of the lexicon."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Local copies of published lexicons, by NSID; `name` is the path of the folder."""

    documents: Mapping[str, Document]
    name: str

    def find(self, nsid: str) -> Document | None:
        return self.documents.get(nsid)

    def location(self, nsid: str) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class RepoSource:
    """The lexicons in one repo; `find` raises the errors of `pds_of` and PdsClient."""

    pds_of: PdsOf
    did: str

    def find(self, nsid: str) -> Document | None:
        record = self.pds_of(self.did).get_record(RecordKey(self.did, COLLECTION, nsid))
        return None if record is None else record.value

    def location(self, nsid: str) -> str:
        return RecordKey(self.did, COLLECTION, nsid).uri


@dataclass(frozen=True, slots=True)
class DnsSource:
    """Lexicons published in the repos that DNS names for their NSIDs."""

    look_up: Lookup
    pds_of: PdsOf

    def find(self, nsid: str) -> Document | None:
        """Return the lexicon in the repo that the NSID's TXT record names, or None.

        Raises DnsError if the domain has no single DID, and the errors of RepoSource.
        """
        name = dns_name(nsid)
        did = did_in(self.look_up(name))
        if did is None:
            raise DnsError(f'the DNS has no TXT record of {name}: it should be "did=DID"')
        return RepoSource(self.pds_of, did).find(nsid)

    def location(self, nsid: str) -> str:
        return dns_name(nsid)


class DnsError(TransientError):
    """DNS gave no DID for a lexicon: no answer, no valid record, or several DIDs."""

    step, code = "account", "dns_unavailable"


def dns_name(nsid: str) -> str:
    """Return the DNS name of the TXT record with the DID of a lexicon's publisher.

    For example, `_lexicon.aesthetic.computer` for the NSID `computer.aesthetic.mood`.
    """
    return "_lexicon." + ".".join(reversed(nsid.split(".")[:-1]))


def look_up(name: str, resolver: dns.resolver.Resolver | None = None) -> tuple[str, ...]:
    """Return the texts of the TXT records of `name`; empty if there are none.

    Raises DnsError if the lookup fails or takes 5 seconds. Uses the system's resolver by default.
    """
    try:
        answer = (resolver or dns.resolver.Resolver()).resolve(name, "TXT", lifetime=_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise DnsError(f"no TXT records of {name} ({type(error).__name__})") from error
    return tuple(b"".join(record.strings).decode(errors="replace") for record in answer)


def did_in(texts: Iterable[str]) -> str | None:
    """Return the DID in TXT records, or None; raises DnsError if there are several."""
    dids = {text.removeprefix(_DID).strip() for text in texts if text.startswith(_DID)}
    if len(dids) > 1:
        raise DnsError(f"the TXT records name {len(dids)} DIDs, and should name one")
    return next(iter(dids), None)
