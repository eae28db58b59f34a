"""Whose a lexicon is: the domain in its NSID, and the DID that the domain's DNS names.

https://atproto.com/specs/lexicon#lexicon-publication-and-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dns.exception
import dns.resolver

from worker.core.errors import TransientError

Lookup = Callable[[str], tuple[str, ...]]
_SECONDS = 5.0
_DID = "did="


class DnsError(TransientError):
    """The DNS does not say whose a lexicon is: no answer, or one that names nobody."""

    step, code = "account", "dns_unavailable"


def dns_name(nsid: str) -> str:
    """Return the name whose TXT record says who publishes a lexicon.

    Of `computer.aesthetic.mood` that is `_lexicon.aesthetic.computer`.
    """
    return "_lexicon." + ".".join(reversed(nsid.split(".")[:-1]))


def look_up(name: str, resolver: dns.resolver.Resolver | None = None) -> tuple[str, ...]:
    """Return the texts of a name's TXT records, none if it has none; raises DnsError.

    It takes five seconds at most. Without a resolver the machine's own is asked.
    """
    try:
        answer = (resolver or dns.resolver.Resolver()).resolve(name, "TXT", lifetime=_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise DnsError(f"no TXT records of {name} ({type(error).__name__})") from error
    return tuple(b"".join(record.strings).decode(errors="replace") for record in answer)


def did_in(texts: Iterable[str]) -> str | None:
    """Return the one DID that TXT records name, None if they name none; raises DnsError."""
    dids = {text.removeprefix(_DID).strip() for text in texts if text.startswith(_DID)}
    if len(dids) > 1:
        raise DnsError(f"the TXT records name {len(dids)} DIDs, and should name one")
    return next(iter(dids), None)
