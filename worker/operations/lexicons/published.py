"""Find the published version of a lexicon in a folder, in a repo, or by DNS.

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
    """A place where lexicons are published."""

    def find(self, nsid: str) -> Document | None:
        """Return the published document of an NSID, or None."""

    def location(self, nsid: str) -> str:
        """Return where it is published, for messages."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Kept copies of published lexicons, by NSID; `name` is their folder."""

    documents: Mapping[str, Document]
    name: str

    def find(self, nsid: str) -> Document | None:
        return self.documents.get(nsid)

    def location(self, nsid: str) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class RepoSource:
    """The records of one repo; `find` raises the errors of the PDS."""

    pds_of: PdsOf
    did: str

    def find(self, nsid: str) -> Document | None:
        record = self.pds_of(self.did).get_record(RecordKey(self.did, COLLECTION, nsid))
        return None if record is None else record.value

    def location(self, nsid: str) -> str:
        return RecordKey(self.did, COLLECTION, nsid).uri


@dataclass(frozen=True, slots=True)
class DnsSource:
    """The published record that an NSID resolves to through DNS."""

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
        return RepoSource(self.pds_of, did).find(nsid)

    def location(self, nsid: str) -> str:
        return dns_name(nsid)


class DnsError(TransientError):
    """DNS names no publisher of a lexicon: no answer, or no valid record."""

    step, code = "account", "dns_unavailable"


def dns_name(nsid: str) -> str:
    """Return the DNS name whose TXT record names the publisher of a lexicon.

    For `computer.aesthetic.mood` that is `_lexicon.aesthetic.computer`.
    """
    return "_lexicon." + ".".join(reversed(nsid.split(".")[:-1]))


def look_up(name: str, resolver: dns.resolver.Resolver | None = None) -> tuple[str, ...]:
    """Return the texts of a name's TXT records; raises DnsError.

    Takes five seconds at most. The default is the machine's resolver.
    """
    try:
        answer = (resolver or dns.resolver.Resolver()).resolve(name, "TXT", lifetime=_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise DnsError(f"no TXT records of {name} ({type(error).__name__})") from error
    return tuple(b"".join(record.strings).decode(errors="replace") for record in answer)


def did_in(texts: Iterable[str]) -> str | None:
    """Return the DID in TXT records, or None; raises DnsError for several."""
    dids = {text.removeprefix(_DID).strip() for text in texts if text.startswith(_DID)}
    if len(dids) > 1:
        raise DnsError(f"the TXT records name {len(dids)} DIDs, and should name one")
    return next(iter(dids), None)
