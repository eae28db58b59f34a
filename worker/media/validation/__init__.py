"""Load lexicons, and validate records before they are published.

A PDS does not have these lexicons and accepts any object, so invalid records must be rejected
here. https://atproto.com/specs/lexicon
"""

from worker.media.validation.blobs import BlobRule, check_blob
from worker.media.validation.errors import Violation
from worker.media.validation.files import LexiconFileError, load_lexicons
from worker.media.validation.validator import Lexicons

__all__ = [
    "BlobRule",
    "LexiconFileError",
    "Lexicons",
    "Violation",
    "check_blob",
    "load_lexicons",
]
