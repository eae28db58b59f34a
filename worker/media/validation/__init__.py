"""Lexicons: load them once, then hold every record against its own before it is sent.

A PDS does not know our lexicons and stores anything that is an object, so what this package lets
through is what the world sees. https://atproto.com/specs/lexicon
"""

from worker.media.validation.blobs import BlobRule
from worker.media.validation.files import LexiconFileError, load_lexicons
from worker.media.validation.schema import Lexicon
from worker.media.validation.validator import Lexicons, LexiconViolation

__all__ = [
    "BlobRule",
    "Lexicon",
    "LexiconFileError",
    "LexiconViolation",
    "Lexicons",
    "load_lexicons",
]
