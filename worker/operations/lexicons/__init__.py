"""Lexicons on the network: what their authority has published, and publishing them.

https://atproto.com/specs/lexicon#lexicon-publication-and-resolution
"""

from worker.operations.lexicons.check import Checked, Finding, check
from worker.operations.lexicons.publish import Outcome, Publication, Refused, plan, publish
from worker.operations.lexicons.published import (
    AsResolved,
    Copies,
    DnsError,
    InRepo,
    Published,
    did_in,
    dns_name,
    look_up,
)

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
