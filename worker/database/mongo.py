"""The edge to MongoDB: connecting, and what its driver's errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import (
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from worker.core.errors import PermanentError, TransientError
from worker.core.settings import Settings
from worker.core.settings.reader import SettingsError

RawDocument = dict[str, object]

DUPLICATE_KEY = 11000
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_VARIABLE = "MONGODB_CONNECTION_STRING"
# BSONObjectTooLarge, and what an update says in its place.
TOO_LARGE = frozenset({10334, 17419})


class StoreUnavailableError(TransientError):
    """MongoDB did not answer, or refused; the state on the document is as it was."""

    step = "store"
    code = "mongodb_unavailable"


class DocumentFullError(PermanentError):
    """The document is as large as MongoDB allows: its state has no room on it."""

    step = "store"
    code = "document_full"

    def __init__(self) -> None:
        super().__init__("the document has no room left for its state: shorten its fields")


def connect(settings: Settings) -> Database[RawDocument]:
    """Return a database handle; connects at the first use, so never before a fork.

    Raises SettingsError for a URL that the driver does not understand.
    """
    try:
        return _client(settings)[settings.mongodb_name]
    except (PyMongoError, ValueError):
        # The driver's message quotes the URL, and the URL may hold a password.
        raise SettingsError([f"{_VARIABLE} is not understood by the driver"]) from None


def _client(settings: Settings) -> MongoClient[RawDocument]:
    return MongoClient(
        settings.mongodb_url.reveal(),
        tz_aware=True,
        # A date beyond the year 9999 or a text that is no UTF-8 is one document's fault: it
        # must not keep a query from going through all the others.
        datetime_conversion="DATETIME_AUTO",
        unicode_decode_error_handler="replace",
        connect=False,
        appname="media-atproto",
        serverSelectionTimeoutMS=int(settings.mongodb_selection * 1000),
        timeoutMS=30_000,
        retryWrites=True,
    )


@contextmanager
def mongo_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, without the addresses and documents they may quote.

    DuplicateKeyError passes: what it means depends on the index, so the caller knows.
    """
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        if getattr(error, "code", None) in TOO_LARGE:
            raise DocumentFullError from error
        raise StoreUnavailableError(_describe(error)) from error


def _describe(error: PyMongoError) -> str:
    """Say what a person can do about an error, without what the driver quotes."""
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return f"MongoDB does not take the user or the password in {_VARIABLE}"
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        return f"the user in {_VARIABLE} is not allowed to do this in MongoDB"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"MongoDB's certificate is not trusted: see tlsCAFile in {_VARIABLE}"
    hint = f"; is {_VARIABLE} right?" if isinstance(error, ServerSelectionTimeoutError) else ""
    return f"MongoDB did not carry out a call ({type(error).__name__}){hint}"
