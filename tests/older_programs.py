"""The programs of the platform that published records before this one, by plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.world import World


@dataclass(frozen=True, slots=True)
class OlderProgram:
    """A program that is logged in at the PDS as one user."""

    http: httpx.Client
    did: str
    token: str = field(repr=False)

    @classmethod
    def logged_in(cls, world: World, subject: str) -> OlderProgram:
        """Log in with the password that is stored for a user."""
        user = world.services.storage.database["users"].find_one({"_id": subject})
        assert user
        stored: Any = user["atproto"]
        login = {"identifier": stored["did"], "password": stored["password"]}
        answer = world.http.post("/xrpc/com.atproto.server.createSession", json=login)
        return cls(world.http, stored["did"], answer.raise_for_status().json()["accessJwt"])

    def publish(self, nsid: str, record: Mapping[str, object]) -> tuple[str, str]:
        """Create a record at a key that the PDS chooses; return its URI and its CID."""
        body = {"repo": self.did, "collection": nsid, "record": {"$type": nsid, **record}}
        path = "/xrpc/com.atproto.repo.createRecord"
        answer = self.http.post(path, json={**body, "validate": False}, headers=self._headers)
        created = answer.raise_for_status().json()
        return created["uri"], created["cid"]

    def upload(self, data: bytes, mime_type: str) -> Mapping[str, object]:
        """Upload a blob; return the reference to it for a record."""
        headers = {**self._headers, "Content-Type": mime_type}
        answer = self.http.post("/xrpc/com.atproto.repo.uploadBlob", content=data, headers=headers)
        blob = answer.raise_for_status().json()["blob"]
        assert isinstance(blob, dict)
        return blob

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}
