"""Lexicons: load them, and validate every record before it is published.

A PDS does not know these lexicons and stores any object, so this package decides what readers of
the network see. https://atproto.com/specs/lexicon
"""

from worker.media.validation.blobs import BlobRule
from worker.media.validation.files import LexiconFileError, load_lexicons
from worker.media.validation.validator import Lexicons

__all__ = ["BlobRule", "LexiconFileError", "Lexicons", "load_lexicons"]
