"""Compare lexicons with their published versions, and publish lexicons."""

from worker.operations.lexicons.check import CheckedLexicon, LexiconFinding, check
from worker.operations.lexicons.publish import (
    Publication,
    PublishOutcome,
    PublishRefusedError,
    plan_publications,
    publish,
)
from worker.operations.lexicons.published import (
    DnsError,
    DnsSource,
    FolderSource,
    LexiconSource,
    RepoSource,
    did_in,
    dns_name,
    look_up,
)

__all__ = [
    "CheckedLexicon",
    "DnsError",
    "DnsSource",
    "FolderSource",
    "LexiconFinding",
    "LexiconSource",
    "Publication",
    "PublishOutcome",
    "PublishRefusedError",
    "RepoSource",
    "check",
    "did_in",
    "dns_name",
    "look_up",
    "plan_publications",
    "publish",
]
