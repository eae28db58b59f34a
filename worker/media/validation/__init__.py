"""Load lexicons, and validate records before they are published.

A PDS does not have these lexicons and accepts any object, so invalid records must be rejected
here. https://atproto.com/specs/lexicon
"""

from worker.media.validation.blobs import BlobRule
from worker.media.validation.files import LexiconFileError, load_lexicons
from worker.media.validation.validator import Lexicons

__all__ = ["BlobRule", "LexiconFileError", "Lexicons", "load_lexicons"]
