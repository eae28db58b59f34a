"""An account on the PDS, spoken to by plain HTTP: what the tests know apart from our client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

_MOOD = "computer.aesthetic.mood"
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class PdsAccount:
    """A session of one account."""

    pds_url: str
    did: str
    handle: str
    token: str = field(repr=False)

    @classmethod
    def create(cls, pds_url: str, handle: str) -> PdsAccount:
        """Create an account and its session."""
        body = {"handle": handle, "email": f"{handle}@example.com", "password": PASSWORD}
        return cls._session(pds_url, "com.atproto.server.createAccount", body)

    @classmethod
    def login(cls, pds_url: str, handle: str) -> PdsAccount:
        """Open a session of an account made by `create`."""
        body = {"identifier": handle, "password": PASSWORD}
        return cls._session(pds_url, "com.atproto.server.createSession", body)

    @classmethod
    def _session(cls, pds_url: str, method: str, body: Mapping[str, str]) -> PdsAccount:
        answer = _checked(httpx.post(f"{pds_url}/xrpc/{method}", json=body, timeout=30))
        return cls(pds_url, answer["did"], answer["handle"], answer["accessJwt"])

    def call(self, method: str, body: Mapping[str, Any]) -> Any:
        """Call a procedure as this account and return its answer."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.pds_url}/xrpc/{method}"
        return _checked(httpx.post(url, json=body, headers=headers, timeout=30))

    def put_mood(self, rkey: str, text: str) -> str:
        """Store a mood record and return its CID."""
        body = {**self._mood_at(rkey), "record": {"$type": _MOOD, "text": text}}
        return str(self.call("com.atproto.repo.putRecord", body)["cid"])

    def mood(self, rkey: str) -> str:
        """Return the text of a stored mood record."""
        url = f"{self.pds_url}/xrpc/com.atproto.repo.getRecord"
        answer = _checked(httpx.get(url, params=self._mood_at(rkey), timeout=30))
        return str(answer["value"]["text"])

    def _mood_at(self, rkey: str) -> dict[str, str]:
        return {"repo": self.did, "collection": _MOOD, "rkey": rkey}


def _checked(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json() if response.content else None
