"""Lexicons on the network: what their authority has published, and publishing them.

https://atproto.com/specs/lexicon#lexicon-publication-and-resolution
"""

from worker.authority.checking import Checked, Finding, check
from worker.authority.names import DnsError, did_in, dns_name, look_up
from worker.authority.published import AsResolved, Copies, InRepo, Published
from worker.authority.publishing import Outcome, Publication, Refused, plan, publish

__all__ = [
    "AsResolved",
    "Checked",
    "Copies",
    "DnsError",
    "Finding",
    "InRepo",
    "Outcome",
    "Publication",
    "Published",
    "Refused",
    "check",
    "did_in",
    "dns_name",
    "look_up",
    "plan",
    "publish",
]
