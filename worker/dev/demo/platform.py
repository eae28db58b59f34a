"""A minimal platform: creates accounts, stores files and saves documents."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.dev.stack.accounts import PdsAccount, create_account
from worker.media import media_type

_BUCKET = "user-aesthetic-computer"
_GUEST_BUCKET = "art-aesthetic-computer"
_CODE_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Platform:
    """The upload side of a platform: its users, its media folder and its MongoDB."""

    def __init__(
        self, database: Database[RawDocument], pds_url: str, media: Path, guest: str = "art-guest"
    ) -> None:
        self.database = database
        self._pds_url = pds_url
        self._media = media
        self._guest = guest

    def sign_up(
        self,
        subject: str,
        name: str,
        *,
        password: str | None = None,
        screen_name: str | None = None,
    ) -> str:
        """Create a user and its account on the PDS, `<name>.test`; return the DID.

        `screen_name` is the user's name on the platform, if it is not `name`.
        """
        account = create_account(self._pds_url, name, password)
        self.add_user(subject, account, screen_name or name)
        return account.did

    def add_user(self, subject: str, account: PdsAccount, screen_name: str) -> None:
        """Save a user with an existing account on the PDS."""
        atproto = {"did": account.did, "handle": account.handle, "password": account.password}
        self.database["users"].insert_one({"_id": subject, "atproto": atproto})
        if subject != self._guest:
            self.database["@handles"].insert_one({"_id": subject, "handle": screen_name})

    def store(self, name: str, data: bytes, user: str | None, folder: str = "") -> Path:
        """Store a file where an upload of this user (None: a guest) is stored.

        Users have a `folder` for each type; their older files are not in one.
        """
        key = (_GUEST_BUCKET,) if user is None else (_BUCKET, user, folder)
        path = self._media.joinpath(*key, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def save_painting(
        self, slug: str, user: str | None, *, when: datetime | None = None
    ) -> ObjectId:
        """Save a painting whose image was stored as `<slug>.png`."""
        return self._save("painting", user, when, slug=slug, code=_code(), bucket=_bucket(user))

    def save_mood(self, text: str, user: str | None, *, when: datetime | None = None) -> ObjectId:
        return self._save("mood", user, when, mood=text)

    def save_piece(self, slug: str, user: str | None, *, when: datetime | None = None) -> ObjectId:
        """Save a piece whose program was stored as `<slug>.mjs`."""
        return self._save("piece", user, when, slug=slug, code=_code(), bucket=_bucket(user))

    def save_kidlisp(
        self, source: str, user: str | None, *, when: datetime | None = None
    ) -> ObjectId:
        digest = secrets.token_hex(32)
        return self._save("kidlisp", user, when, code=_code(), source=source, hash=digest, hits=1)

    def edit(self, type_name: str, item: ObjectId, **changes: object) -> None:
        self._collection(type_name).update_one({"_id": item}, {"$set": changes})

    def delete(self, type_name: str, item: ObjectId) -> None:
        self._collection(type_name).delete_one({"_id": item})

    def state(self, type_name: str, item: ObjectId) -> RawDocument:
        """Return the `atproto` field of a document."""
        found = self._collection(type_name).find_one({"_id": item}, {"atproto": 1}) or {}
        return _mapping(found.get("atproto"))

    def document(self, type_name: str, item: ObjectId) -> RawDocument:
        """Return a document without its `atproto` field."""
        found = self._collection(type_name).find_one({"_id": item}, {"atproto": 0})
        return found or {}

    def states(self, type_name: str) -> dict[object, RawDocument]:
        """Return the `atproto` fields of all documents of a type, by id."""
        every = self._collection(type_name).find({}, {"atproto": 1})
        return {raw["_id"]: _mapping(raw.get("atproto")) for raw in every}

    def _save(
        self, type_name: str, user: str | None, when: datetime | None, **fields: object
    ) -> ObjectId:
        item = ObjectId()
        owner = {} if user is None else {"user": user}
        document = {"_id": item, **fields, "when": when or now(), **owner}
        self._collection(type_name).insert_one(document)
        return item

    def _collection(self, type_name: str) -> Collection[RawDocument]:
        return self.database[media_type(type_name).collection]


def _mapping(raw: object) -> RawDocument:
    return raw if isinstance(raw, dict) else {}


def _code() -> str:
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(4))


def _bucket(user: str | None) -> str:
    return _GUEST_BUCKET if user is None else _BUCKET
