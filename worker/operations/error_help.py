"""The meaning of each error code, and the action to take.

A test checks that the texts are the same as in the table of docs/operations.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorHelp:
    """The meaning of one or more error codes, and the action that an operator takes."""

    codes: tuple[str, ...]
    meaning: str
    action: str


_ACCOUNT = ErrorHelp(
    (
        "wrong_password",
        "account_takedown",
        "account_deactivated",
        "account_suspended",
        "account_not_found",
        "did_not_found",
        "password_unreadable",
        "second_factor",
        "pds_401",
        "pds_403",
    ),
    "the account cannot be used; its items wait, 15 minutes at a time; "
    "`pds_401` and `pds_403` may also be pages of a gateway, for single items",
    "correct `users.atproto`, the account, or `SECRET_KEYS`; look at the gateway",
)
ACCOUNT_CODES = _ACCOUNT.codes

ERROR_HELP: tuple[ErrorHelp, ...] = (
    ErrorHelp(
        ("field_invalid", "lexicon_violation"),
        "the document breaks its type's rules; the field is named",
        "correct the field",
    ),
    ErrorHelp(
        ("source_missing", "source_unavailable", "source_timeout", "source_forbidden"),
        "the file cannot be had now",
        "retried; look at the store if it stays",
    ),
    ErrorHelp(
        (
            "source_key_invalid",
            "source_host_not_allowed",
            "source_redirected",
            "source_refused",
            "source_too_large",
            "source_not_regular",
        ),
        "the file must not, or cannot, be read",
        "correct the document or `MEDIA_STORE_ALLOWED_HOSTS`, `MEDIA_STORE_ALLOWED_NETWORKS`, "
        "`MAX_SOURCE_BYTES`",
    ),
    ErrorHelp(
        ("image_unreadable", "image_too_large", "thumbnail_too_large"),
        "no thumbnail can be made of the image",
        "replace the image",
    ),
    ErrorHelp(
        ("thumbnail_unexpected",),
        "a bug of the image decoder; the record is published without a new thumbnail",
        "Sentry has it; retry after an update, or replace the image",
    ),
    ErrorHelp(
        ("source_unexpected",),
        "a bug while the file was read; the record is published without it",
        "Sentry has it; retried",
    ),
    ErrorHelp(
        ("blob_too_large", "blob_type_refused"),
        "the lexicon does not take this file",
        "replace the file",
    ),
    _ACCOUNT,
    ErrorHelp(("rate_limited",), "the PDS said when to come back (`heldUntil`)", "nothing"),
    ErrorHelp(
        ("budget_spent",),
        "our own count of what the PDS allows is used up, so nothing was sent",
        "nothing; if it is wrong for your PDS, correct `RATE_LIMITS`",
    ),
    ErrorHelp(
        ("host_busy",),
        "as many calls to the account's host are pending, or were slow, as `FOREIGN_HOST_CALLS` "
        "allows, so nothing was sent",
        "nothing; raise `FOREIGN_HOST_CALLS` if the host is trusted and fast",
    ),
    ErrorHelp(
        ("directory_unavailable",),
        "the PDS of the account is unknown: no DID document, no PDS in it, or the directory is "
        "down or limits our calls",
        "retried; look at the account's DID document and `DID_RESOLVER`",
    ),
    ErrorHelp(
        ("repo_unavailable",),
        "the PDS hides the repo: deactivated or taken down",
        "look at the account; retried",
    ),
    ErrorHelp(
        (
            "pds_unreachable",
            "pds_5xx",
            "pds_answer_garbled",
            "redis_unavailable",
            "mongodb_unavailable",
            "thumbnail_cache_unavailable",
        ),
        "a service is away",
        "bring it back; items heal by themselves",
    ),
    ErrorHelp(
        (
            "session_expired",
            "login_locked",
            "repo_locked",
            "blob_not_found",
            "invalid_swap",
            "record_altered",
            "upload_damaged",
            "repo_damaged",
            "contended",
        ),
        "the PDS, or another worker, got in between, and one repetition did not settle it",
        "retried; if it stays, something else writes to these repos",
    ),
    ErrorHelp(
        ("pds_redirected", "pds_4xx"),
        "the PDS sends us elsewhere, or what answers is no PDS",
        "correct `PDS_URL`",
    ),
    ErrorHelp(
        ("blob_type_conflict",),
        "the PDS has these bytes under a type that the lexicon does not accept",
        "replace the file by one with other bytes",
    ),
    ErrorHelp(
        ("no_account",),
        "the record of a deleted document stays, as its user has no account; retried",
        "restore the account, or drop the removal: `media-atproto removals --drop`",
    ),
    ErrorHelp(
        ("deletion_unconfirmed",),
        "a document is deleted at one member of MongoDB only; retried",
        "check the members of the replica set",
    ),
    ErrorHelp(
        ("document_returned",),
        "a deleted document was inserted again while its record was removed; retried",
        "nothing",
    ),
    ErrorHelp(
        ("search_unfinished",),
        "the record of a deleted document is searched in its repo, 5,000 records per run",
        "wait; save the record key in the removal note to avoid the search",
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
        "see which program wrote the record; if it is wrong, delete it at the PDS",
    ),
    ErrorHelp(
        ("pds_refused", "payload_too_large"),
        "the PDS will not take the record",
        "read its message",
    ),
    ErrorHelp(
        ("document_full",),
        "the document is as large as MongoDB allows, so nothing can be noted on it",
        "shorten its fields",
    ),
    ErrorHelp(
        ("document_rejected",),
        "the schema validator of the collection rejects the document with its state, so nothing "
        "can be noted on it",
        "correct the document or the validator",
    ),
    ErrorHelp(
        ("worker_lost",),
        "the worker died several times at this item, or while it read the account's repo",
        "look at the worker's log and the item's file, then retry; after an hour for a repo",
    ),
    ErrorHelp(
        ("temporary_storage",),
        "the temporary directory (`TMPDIR`) has no space for the account's repo",
        "retried; free space there, 512 MiB per process at most",
    ),
    ErrorHelp(
        ("time_limit",),
        "a run took longer than a task may",
        "retried; look at the store and the PDS",
    ),
    ErrorHelp(
        ("unknown_type", "invalid_id"),
        "a message that no item can be meant by; in the worker's log only",
        "correct the producer",
    ),
    ErrorHelp(
        ("unknown_account",),
        "a command was given a name that no user with an account has",
        "give a handle, a subject or a DID",
    ),
    ErrorHelp(
        ("document_missing", "document_mismatch", "document_not_hidden"),
        "a call of the Python API contradicts the documents in MongoDB; raised to the caller only",
        "save the document or the change first; to delete a record, set `nuked: true` on the "
        "document",
    ),
    ErrorHelp(
        ("position_lost",),
        "`watch` cannot tell what changed since it last knew; in Sentry and the watch's log",
        "nothing: a sweep finds what differs; an audit what was deleted. Make the oplog larger if "
        "it stays",
    ),
    ErrorHelp(
        ("no_replica_set",),
        "`watch` on a MongoDB without change streams; on the terminal only",
        "start it with `--replSet`, and call `rs.initiate()` once",
    ),
    ErrorHelp(
        ("index_missing", "index_refused"),
        "MongoDB lacks an index, or something is in its way; on the terminal and in the worker's "
        "log only",
        "run `media-atproto init`, which says what to do",
    ),
    ErrorHelp(
        ("media_type_invalid",),
        "a media type of an installed package cannot be used; on the terminal and at the start of "
        "a worker only",
        "correct the package that is named, or uninstall it",
    ),
    ErrorHelp(
        ("lexicon_incompatible",),
        "a new version of a lexicon would break what is published; on the terminal only",
        "give the change a field, or an NSID, of its own",
    ),
    ErrorHelp(
        ("dns_unavailable",),
        "the DNS does not say whose a lexicon is; on the terminal only",
        "look at the TXT record that is named",
    ),
)
BUG = ErrorHelp(("the name of an exception",), "a bug", "the log and Sentry have it")
_BY_CODE = {code: each for each in ERROR_HELP for code in each.codes}


def help_for(code: str) -> ErrorHelp:
    """Return the help for an error code, or `BUG` for an unknown code.

    An HTTP status of a PDS without its own code, such as `pds_418`, has the help of `pds_4xx`.
    """
    status = code.removeprefix("pds_")
    if code not in _BY_CODE and code != status and status.isdecimal():
        code = f"pds_{status[0]}xx"
    return _BY_CODE.get(code, BUG)
