"""The meaning of each error code, and the action to take.

tests/contract/test_error_hints.py produces each code, and checks its action.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorHelp:
    """The meaning of one or more error codes, and the action that an operator takes."""

    codes: tuple[str, ...]
    meaning: str
    action: str


_RETRIED = "retried automatically"
_USED_AGAIN = "the account is tried again automatically, or with `media-atproto accounts --resume`"
_DUE_AGAIN = (
    "retried within 15 minutes (`ACCOUNT_PARKED_SECONDS`), or at once with `media-atproto "
    "accounts --resume USER`"
)
_IF_IT_STAYS = "nothing, unless the error stays"

_ACCOUNT_HELP: tuple[ErrorHelp, ...] = (
    ErrorHelp(
        ("wrong_password",),
        "the PDS refuses the stored password; the account is blocked and its items wait",
        "store the current password in `users.atproto.password`; no login is tried before. Its "
        f"items are then {_DUE_AGAIN}",
    ),
    ErrorHelp(
        ("second_factor",),
        "the account asks for a second factor at login; the account is blocked and its items wait",
        "store an app password of the account in `users.atproto.password`, or turn off the second "
        "factor and run `media-atproto accounts --resume USER`; no login is tried before. With "
        f"another password, its items are {_DUE_AGAIN}",
    ),
    ErrorHelp(
        ("password_unreadable",),
        "no key in `SECRET_KEYS` decrypts the stored password; the items of the account wait",
        "restore the missing key in `SECRET_KEYS`, or store the password again",
    ),
    ErrorHelp(
        ("account_deactivated",),
        "the account is deactivated at its PDS; its items wait",
        f"activate the account at its PDS; {_USED_AGAIN}",
    ),
    ErrorHelp(
        ("account_takedown", "account_suspended"),
        "the PDS has taken down or suspended the account; its items wait",
        f"ask the operator of the PDS to restore the account; {_USED_AGAIN}",
    ),
    ErrorHelp(
        ("account_not_found",),
        "the PDS does not have the account, or has another one under this DID; its items wait",
        f"correct `users.atproto.did`, or the PDS in the account's DID document; {_USED_AGAIN}",
    ),
    ErrorHelp(
        ("did_not_found",),
        "the DID of the account has no DID document; its items wait",
        "correct `users.atproto.did`; if it is right, set `DID_RESOLVER` to the directory that "
        "has it",
    ),
    ErrorHelp(
        ("pds_401", "pds_403"),
        "the PDS, or a gateway in front of it, refused a login or a call without a reason; "
        "after a login, the items of the account wait",
        f"check the account at its PDS, and the gateway; {_USED_AGAIN}",
    ),
)
ACCOUNT_CODES = tuple(code for each in _ACCOUNT_HELP for code in each.codes)

ERROR_HELP: tuple[ErrorHelp, ...] = (
    ErrorHelp(
        ("field_invalid", "lexicon_violation"),
        "the document breaks a rule of its type; the message names the field",
        "correct the field",
    ),
    ErrorHelp(
        ("source_missing",),
        "the store does not have the file: it is not uploaded yet, or has another name",
        "upload the file under the name in the message; it is looked for again for half a day, "
        "then only after `media-atproto retry`",
    ),
    ErrorHelp(
        ("source_unavailable",),
        "the store does not respond, or with an error; or the file changes while it is read",
        f"check the store, and that `MEDIA_STORE_URL` leads to it; {_RETRIED}",
    ),
    ErrorHelp(
        ("source_timeout",),
        "the file was not received in time",
        f"check the speed of the store, or raise `SOURCE_DEADLINE_SECONDS`; {_RETRIED}",
    ),
    ErrorHelp(
        ("source_forbidden",),
        "the store denies access to the file; S3 also does so for a missing file",
        f"upload the file if it is missing, or allow workers to read it; {_RETRIED}",
    ),
    ErrorHelp(
        ("source_key_invalid",),
        "the slug, the bucket or the owner in the document cannot be part of a file name: it "
        "contains a slash in the wrong place, starts with a dot or is empty, for example",
        "correct the slug or the bucket in the document; no setting allows such a name",
    ),
    ErrorHelp(
        ("source_host_not_allowed",),
        "workers must not read from the host or the address in the message",
        "if they may, add the host to `MEDIA_STORE_ALLOWED_HOSTS`, or the network of the address "
        "to `MEDIA_STORE_ALLOWED_NETWORKS`; otherwise correct the bucket in the document",
    ),
    ErrorHelp(
        ("source_redirected",),
        "the store redirects to another URL, which is not followed",
        "set `MEDIA_STORE_URL` to the URL to which it redirects",
    ),
    ErrorHelp(
        ("source_refused",),
        "the store responds with a page, a compressed file or an error in place of the file",
        "check that `MEDIA_STORE_URL` leads to the files themselves, and that the store sends them "
        "as they are, without `Content-Encoding`",
    ),
    ErrorHelp(
        ("source_too_large",),
        "the file is larger than workers may read",
        "replace the file by a smaller one, or raise `MAX_SOURCE_BYTES`",
    ),
    ErrorHelp(
        ("source_not_regular",),
        "the name in the store is a folder, or a link out of the store",
        "put a regular file into the store under this name",
    ),
    ErrorHelp(
        ("image_unreadable",),
        "the file is no valid PNG, GIF, JPEG or WebP image",
        "replace the image by a valid one",
    ),
    ErrorHelp(
        ("image_too_large",),
        "the image has too many pixels, or costs too much to decode",
        "replace the image by one with fewer pixels",
    ),
    ErrorHelp(
        ("thumbnail_too_large",),
        "the thumbnail of the image exceeds 1 MiB",
        "replace the image by one with fewer details",
    ),
    ErrorHelp(
        ("thumbnail_unexpected",),
        "a bug of the image decoder; the record is published without a new thumbnail",
        "replace the image, or update media-atproto and retry; Sentry has the exception",
    ),
    ErrorHelp(
        ("source_unexpected",),
        "a bug while the file was read; the record is published without it",
        f"report the exception, which Sentry and the worker's log have; {_RETRIED}",
    ),
    ErrorHelp(
        ("blob_too_large",),
        "the file, or the source text in the document, is larger than the lexicon allows",
        "replace the file, or the text, by a smaller one",
    ),
    ErrorHelp(
        ("blob_type_refused",),
        "the file is empty, or of a type that the lexicon does not accept",
        "replace the file by one of a type that the message names",
    ),
    ErrorHelp(
        ("blob_type_conflict",),
        "the PDS has these bytes under a type that the lexicon does not accept",
        "replace the file by one with other bytes",
    ),
    *_ACCOUNT_HELP,
    ErrorHelp(
        ("rate_limited",),
        "the PDS asked to wait until `heldUntil`",
        "nothing: retried automatically at that time",
    ),
    ErrorHelp(
        ("budget_spent",),
        "the rate limits in `RATE_LIMITS` are used up, so nothing was sent",
        "nothing: retried automatically; if your PDS allows more, raise `RATE_LIMITS`",
    ),
    ErrorHelp(
        ("host_busy",),
        "as many calls to the host of the account are pending, or were slow, as "
        "`FOREIGN_HOST_CALLS` allows, so nothing was sent",
        "nothing: retried automatically; if you trust the host, raise `FOREIGN_HOST_CALLS`",
    ),
    ErrorHelp(
        ("directory_unavailable",),
        "the PDS of the account is unknown: the directory does not respond or limits the calls, or "
        "the DID document names no PDS that may be used",
        "check that the directory in `DID_RESOLVER` responds, and the PDS in the account's DID "
        f"document; {_RETRIED}",
    ),
    ErrorHelp(
        ("repo_unavailable",),
        "the PDS does not show the repo: the account is deactivated or taken down",
        f"check the account at its PDS; {_RETRIED}",
    ),
    ErrorHelp(
        ("pds_unreachable", "pds_5xx"),
        "the PDS does not respond, or responds with an error of its own",
        "check that the PDS is running, and can be reached at `PDS_URL`, or at the URL in the "
        f"account's DID document; {_RETRIED}",
    ),
    ErrorHelp(
        ("pds_answer_garbled",),
        "the response is not that of a PDS; it may be the page of a proxy",
        f"check that `PDS_URL` leads to a PDS, and the proxy in front of it; {_RETRIED}",
    ),
    ErrorHelp(
        ("redis_unavailable",),
        "Redis does not respond, or rejects the call; the message has the reason",
        f"check Redis and `REDIS_URL`; {_RETRIED}",
    ),
    ErrorHelp(
        ("mongodb_unavailable", "thumbnail_cache_unavailable"),
        "MongoDB does not respond, or rejects the call",
        f"check MongoDB and `MONGODB_CONNECTION_STRING`; {_RETRIED}",
    ),
    ErrorHelp(
        ("session_expired",),
        "the PDS rejects a session, also the new one after a login",
        f"nothing: {_RETRIED}; if the error stays, check the PDS",
    ),
    ErrorHelp(
        ("login_locked", "repo_locked", "contended"),
        "another worker uses the account, the repo or the document at the same time",
        f"nothing: {_RETRIED}",
    ),
    ErrorHelp(
        ("blob_not_found",),
        "the PDS does not have a file that was uploaded before, and lost it again",
        f"nothing: {_RETRIED}; if the error stays, check the blob storage of the PDS",
    ),
    ErrorHelp(
        ("invalid_swap",),
        "the record or the repo changed while it was written",
        f"nothing: {_RETRIED}; if the error stays, find the program that writes to the repo",
    ),
    ErrorHelp(
        ("record_altered",),
        "the PDS has another record than the one that was written",
        f"nothing: {_RETRIED}; if the error stays, find the program that writes to the repo",
    ),
    ErrorHelp(
        ("upload_damaged",),
        "the PDS received other bytes than were sent",
        f"nothing: {_RETRIED}; if the error stays, check the proxy in front of the PDS",
    ),
    ErrorHelp(
        ("repo_damaged",),
        "the repo that the PDS sent is incomplete, or does not match its hashes",
        f"nothing: {_RETRIED}; if the error stays, ask the operator of the PDS to check the repo",
    ),
    ErrorHelp(
        ("pds_redirected",),
        "the PDS redirects to another URL, which is not followed",
        "correct `PDS_URL`, or the PDS in the account's DID document",
    ),
    ErrorHelp(
        ("pds_4xx",),
        "the PDS, or a gateway in front of it, refused a call or a login without a reason",
        "if the step is `account`, check the stored password; otherwise check that `PDS_URL` leads "
        "to a PDS, and the gateway",
    ),
    ErrorHelp(
        ("no_account",),
        "the record of a deleted document stays, as its user has no account; retried",
        "restore the account in `users`, or drop the removal: `media-atproto removals --drop`",
    ),
    ErrorHelp(
        ("deletion_unconfirmed",),
        "a majority of MongoDB's members has not confirmed that the document is deleted; retried",
        f"{_IF_IT_STAYS}; then check the members of the replica set",
    ),
    ErrorHelp(
        ("document_returned",),
        "a deleted document was inserted again while its record was removed; retried",
        "nothing",
    ),
    ErrorHelp(
        ("search_unfinished",),
        "the record of a deleted document is searched in its repo, 5,000 records per run",
        "nothing: the search continues; to avoid it, producers can save the record key in the "
        "removal note",
    ),
    ErrorHelp(
        ("search_endless",),
        "the record of a deleted document was not found among the newest 10 million of its repo",
        "delete the record at the PDS, then drop the removal: `media-atproto removals --drop`",
    ),
    ErrorHelp(
        ("invalid_note",),
        "a note in `atproto_removals` is not valid, so no record is removed; read again every day",
        "correct the program that saves it, then drop it: `media-atproto removals --drop`",
    ),
    ErrorHelp(
        ("record_not_proven",),
        "the record at the key names another document, or none, so it is not changed",
        "find the program that wrote the record; if the record is wrong, delete it at the PDS",
    ),
    ErrorHelp(
        ("pds_refused",),
        "the PDS rejects the record or the file; the message has its reason",
        "correct what the message names",
    ),
    ErrorHelp(
        ("payload_too_large",),
        "the PDS, or a proxy in front of it, rejects a request of this size",
        "raise `PDS_BLOB_UPLOAD_LIMIT` of the PDS, or the limit of the proxy; or replace the file "
        "by a smaller one",
    ),
    ErrorHelp(
        ("document_full",),
        "the document is as large as MongoDB allows, so its state cannot be saved",
        "shorten its fields",
    ),
    ErrorHelp(
        ("document_rejected",),
        "the schema validator of the collection rejects the document with its state, so the state "
        "cannot be saved",
        "correct the document, or allow the field `atproto` in the validator",
    ),
    ErrorHelp(
        ("worker_lost",),
        "the worker died several times while it processed this item, or read the account's repo",
        "read the worker's log and check the item's file, then retry; after an hour for a repo",
    ),
    ErrorHelp(
        ("temporary_storage",),
        "the temporary directory (`TMPDIR`) has no space for the account's repo",
        f"free space there, 512 MiB per process at most; {_RETRIED}",
    ),
    ErrorHelp(
        ("time_limit",),
        "a run took longer than a task may",
        f"check how fast the store and the PDS respond; {_RETRIED}",
    ),
    ErrorHelp(
        ("unknown_type",),
        "a message or a command names a media type that is not installed",
        "correct the name of the type, or install the package that has it",
    ),
    ErrorHelp(
        ("invalid_id",),
        "a message or a call has an id or a record key that no item can have",
        "correct the program that sends it",
    ),
    ErrorHelp(
        ("unknown_account",),
        "no user with an account has the given name",
        "give a handle, a subject or a DID",
    ),
    ErrorHelp(
        ("document_missing",),
        "a call of the Python API names a document that is not in MongoDB",
        "save the document before the call",
    ),
    ErrorHelp(
        ("document_mismatch",),
        "a call of the Python API has other values, or another owner, than the document in MongoDB",
        "save the change before the call, and give the owner of the document",
    ),
    ErrorHelp(
        ("document_not_hidden",),
        "a call of the Python API deletes the record of a document that is not hidden",
        "set `nuked: true` on the document before the call",
    ),
    ErrorHelp(
        ("position_lost",),
        "the oplog of MongoDB no longer has the changes since `watch` last saved its position",
        "nothing: a sweep finds edited documents, and `media-atproto audit` finds deleted ones; if "
        "it occurs again, make the oplog larger",
    ),
    ErrorHelp(
        ("no_replica_set",),
        "`watch` needs a replica set, which MongoDB is not part of",
        "start MongoDB with `--replSet`, and call `rs.initiate()` once",
    ),
    ErrorHelp(
        ("index_missing", "index_refused"),
        "MongoDB lacks an index, or another index prevents it from being created",
        "run `media-atproto init`; it says what to do if an index cannot be created",
    ),
    ErrorHelp(
        ("media_type_invalid",),
        "a media type of an installed package cannot be used; workers do not start",
        "correct the package that the message names, or uninstall it",
    ),
    ErrorHelp(
        ("lexicon_incompatible",),
        "a new version of a lexicon would break records that are published",
        "add a new optional field, or a new NSID, in place of the change",
    ),
    ErrorHelp(
        ("dns_unavailable",),
        "the DNS does not name the account that publishes a lexicon",
        "correct the TXT record that the message names",
    ),
)
BUG = ErrorHelp(
    ("the name of an exception",),
    "a bug",
    "report it with the traceback in the log or in Sentry; retry after an update",
)
_BY_CODE = {code: each for each in ERROR_HELP for code in each.codes}


def help_for(code: str) -> ErrorHelp:
    """Return the help for an error code, or `BUG` for an unknown code.

    An HTTP status of a PDS without its own code, such as `pds_418`, has the help of `pds_4xx`.
    """
    status = code.removeprefix("pds_")
    if code not in _BY_CODE and code != status and status.isdecimal():
        code = f"pds_{status[0]}xx"
    return _BY_CODE.get(code, BUG)
