"""Connect to MongoDB, and translate the errors of its driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import pymongo
from pymongo import MongoClient, UpdateMany, UpdateOne, _csot
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.server_selectors import Selection
from pymongo.synchronous.client_session import ClientSession
from pymongo.synchronous.server import Server
from pymongo.typings import _Address

from worker.core.errors import PermanentError, TransientError
from worker.core.settings import MongoSettings
from worker.core.settings.reader import SettingsError

RawDocument = dict[str, object]

DUPLICATE_KEY = 11000
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_VARIABLE = "MONGODB_CONNECTION_STRING"
_TOO_LARGE = frozenset({10334, 17419})  # BSONObjectTooLarge, and its code from an update
_REJECTED = 121  # DocumentValidationFailure
_ROWS = 100  # fewer than in a batch of the driver
_NOT_SAVED = _TOO_LARGE | {_REJECTED, DUPLICATE_KEY}

# The engine must read its own writes: a document that a lagging member does not have yet looks
# deleted, and its record would be removed. These options replace those of the URL, in any case and
# any number of times. Others (timeouts of connections, pools, TLS, logins) cannot change what is
# read: with them, a call succeeds or raises.
# https://www.mongodb.com/docs/manual/reference/connection-string-options/
_OPTIONS: Mapping[str, str | int | bool] = {
    "readPreference": "primary",
    "readPreferenceTags": "",
    "maxStalenessSeconds": -1,
    "readConcernLevel": "local",
    "w": "majority",
    "journal": True,
    "fsync": False,  # an old form of `journal`, which excludes it
    "wTimeoutMS": 0,
    "retryWrites": True,
    "retryReads": True,
    # A direct connection reads from a secondary too. Without it, the driver connects to the
    # primary, by its name in the configuration of the replica set.
    "directConnection": False,
    "uuidRepresentation": "unspecified",
    "tz_aware": True,
    # A date beyond the year 9999, or a text that is not UTF-8, must not fail a query that reads
    # other documents too.
    "datetime_conversion": "DATETIME_AUTO",
    "unicode_decode_error_handler": "replace",
    "timeoutMS": 30_000,
    "connect": False,  # at the first use: a connection must not be copied into another process
    "appname": "media-atproto",
}


class StoreUnavailableError(TransientError):
    """MongoDB did not answer or refused the call."""

    step, code = "store", "mongodb_unavailable"


class StateNotSavedError(PermanentError):
    """MongoDB cannot save the state of a document because of the document itself."""


class DocumentFullError(StateNotSavedError):
    """With its state, the document would exceed MongoDB's size limit."""

    step, code = "store", "document_full"

    def __init__(self) -> None:
        super().__init__("the document has no room left for its state: shorten its fields")


class DocumentRejectedError(StateNotSavedError):
    """The schema validator of the collection rejects the document with its state."""

    step, code = "store", "document_rejected"

    def __init__(self) -> None:
        super().__init__(
            "the schema validator of the collection rejects the document with its state: "
            "correct the document or the validator"
        )


class SelectingClient(MongoClient[RawDocument]):
    """A client that waits for a server as long as serverSelectionTimeoutMS says.

    With timeoutMS, the driver itself would wait as long as the call may take, and has no option for
    less. So this overrides a method that is not public: each minor version of PyMongo that
    pyproject.toml allows must be tested. `first` limits the seconds that it waits for the first
    server; if none is found, all later calls raise the same error at once.
    """

    def __init__(self, url: str, options: Mapping[str, Any], first: float | None) -> None:
        super().__init__(url, **options)
        self._selection = options["serverSelectionTimeoutMS"] / 1000
        self._seconds = min(self._selection, first or self._selection)
        self._has_first_limit = first is not None
        self._first_error: ServerSelectionTimeoutError | None = None

    def _select_server(  # noqa: PLR0917 (the signature of the driver)
        self,
        server_selector: Callable[[Selection], Selection],
        session: ClientSession | None,
        operation: str,
        address: _Address | None = None,
        deprioritized_servers: list[Server] | None = None,
        operation_id: int | None = None,
    ) -> Server:
        if self._first_error:
            raise self._first_error
        try:
            with pymongo.timeout(self._seconds):  # a shorter time limit of the caller remains
                server = super()._select_server(
                    server_selector,
                    session,
                    operation,
                    address,
                    deprioritized_servers,
                    operation_id,
                )
        except ServerSelectionTimeoutError as error:
            self._first_error = error if self._has_first_limit else None
            raise
        self._has_first_limit = False
        if _csot.get_timeout():
            _csot.set_rtt(server.description.min_round_trip_time)
        self._seconds = self._selection
        return server


def connect(settings: MongoSettings, first: float | None = None) -> Database[RawDocument]:
    """Create a database handle, which connects at its first use.

    `first` limits the seconds that it waits for the first server. Raises SettingsError if the
    driver cannot parse the URL.
    """
    try:
        client = SelectingClient(settings.url.reveal(), _options(settings), first)
        return client[settings.name]
    except (PyMongoError, ValueError):
        # The driver's message quotes the URL, which may hold a password.
        raise SettingsError([f"{_VARIABLE} is not understood by the driver"]) from None


def overridden_options(settings: MongoSettings) -> list[str]:
    """Return the options of the URL that `connect` overrides with other values."""
    ours = {name.lower(): str(value).lower() for name, value in _options(settings).items()}
    query = settings.url.reveal().partition("?")[2]
    given = parse_qsl(query, keep_blank_values=True, separator="&" if "&" in query else ";")
    names = (name for name, value in given if ours.get(name.lower(), value) != value.lower())
    return list({name.lower(): name for name in names}.values())


def _options(settings: MongoSettings) -> Mapping[str, str | int | bool]:
    return {**_OPTIONS, "serverSelectionTimeoutMS": int(settings.selection * 1000)}


@contextmanager
def mongo_errors(unavailable: type[TransientError] = StoreUnavailableError) -> Iterator[None]:
    """Translate the driver's errors; the new errors quote no addresses or documents.

    Raises StateNotSavedError, or `unavailable` for other errors. DuplicateKeyError is not
    translated, because its meaning depends on the index.
    """
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        code = getattr(error, "code", None)
        if code in _TOO_LARGE:
            raise DocumentFullError from error
        if code == _REJECTED:
            raise DocumentRejectedError from error
        raise unavailable(_describe(error)) from error


def long_query() -> AbstractContextManager[None]:
    """Lift the time limit of calls, for queries whose time grows with the number of documents.

    10 million documents take minutes. The time to select a server remains limited, so that an
    unreachable MongoDB is reported. A `pymongo.timeout` of the caller remains too.
    """
    return nullcontext() if _csot.get_timeout() else pymongo.timeout(0)


def stream(query: Callable[[], Iterable[RawDocument]]) -> Iterator[RawDocument]:
    """Yield the documents of a long query, each batch of which is read as in `long_query`."""
    with long_query():
        rows = iter(query())
    while True:
        with long_query():
            some = list(islice(rows, _ROWS))
        if not some:
            return
        yield from some


def bulk_write(
    collection: Collection[RawDocument],
    writes: Sequence[UpdateOne | UpdateMany],
) -> int:
    """Send writes in any order; return the matched count.

    Duplicate keys, and writes to documents that cannot be saved, are skipped.
    """
    if not writes:
        return 0
    try:
        return collection.bulk_write(list(writes), ordered=False).matched_count
    except BulkWriteError as error:
        if any(fault["code"] not in _NOT_SAVED for fault in error.details["writeErrors"]):
            raise
        return int(error.details["nMatched"])


def _describe(error: PyMongoError) -> str:
    """Describe an error and its fix for the operator, without the driver's text."""
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return f"MongoDB does not accept the user or the password in {_VARIABLE}"
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        return f"the user in {_VARIABLE} is not allowed to do this in MongoDB"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"MongoDB's certificate is not trusted: see tlsCAFile in {_VARIABLE}"
    name = type(error).__name__
    if not isinstance(error, ServerSelectionTimeoutError):
        return f"MongoDB did not carry out a call ({name})"
    if "ReplicaSetNoPrimary" in str(error):
        return (
            f"no primary of MongoDB answered ({name}): it must be reachable by its name in the set"
        )
    return f"MongoDB did not answer ({name})"
