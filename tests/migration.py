"""Move an account from one PDS to another, as its owner may, without telling the first one.

Source: https://atproto.com/guides/account-migration
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.core.cid import cid_of_record, encode_record
from worker.dev.stack import Stack
from worker.dev.stack.accounts import PdsAccount

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SECP256K1 = b"\xe7\x01"  # the multicodec of its public keys


@contextmanager
def second_pds(stack: Stack, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Run another PDS with the PLC directory of a stack; yield its URL."""
    # To check the proof of an account, a PDS refuses URLs with an IP address.
    directory = {"PDS_DID_PLC_URL": stack.plc.url.replace("127.0.0.1", "localhost")}
    # It uses the databases and the media that the environment names.
    others = {**environ, **stack.environment}
    del others["PDS_URL"]
    with Stack.start(folder, others, pds_environment=directory) as second:
        yield second.pds.url


@dataclass(frozen=True)
class Emigrant:
    """An account with a rotation key of its owner's."""

    plc_url: str
    pds_url: str
    name: str
    account: PdsAccount
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def sign_up(cls, plc_url: str, pds_url: str, name: str) -> Emigrant:
        """Create the account `<name>.test`."""
        password, key = secrets.token_urlsafe(18), ec.generate_private_key(ec.SECP256K1())
        body = {**_new_account(name, password), "recoveryKey": _did_key(key.public_key())}
        made = _post(pds_url, "com.atproto.server.createAccount", None, json=body)
        account = PdsAccount(made["did"], body["handle"], password, made["accessJwt"])
        return cls(plc_url, pds_url, name, account, key)

    def move(self, url: str) -> None:
        """Move to the PDS at `url`. The account stays active at the old one."""
        aud = _get(url, "com.atproto.server.describeServer")["did"]
        create = "com.atproto.server.createAccount"
        proof = _get(
            self.pds_url,
            "com.atproto.server.getServiceAuth",
            self.account.access_token,
            aud=aud,
            lxm=create,
        )
        body = {**_new_account(self.name, self.account.password), "did": self.account.did}
        token = _post(url, create, proof["token"], json=body)["accessJwt"]
        exported = httpx.get(
            _url(self.pds_url, "com.atproto.sync.getRepo"), params={"did": self.account.did}
        )
        car = {"Content-Type": "application/vnd.ipld.car"}
        _post(url, "com.atproto.repo.importRepo", token, content=exported.content, headers=car)
        self._sign(_get(url, "com.atproto.identity.getRecommendedDidCredentials", token))
        _post(url, "com.atproto.server.activateAccount", token)

    def _sign(self, credentials: Mapping[str, Any]) -> None:
        """Publish these credentials in the PLC directory (https://web.plc.directory/spec)."""
        last = httpx.get(f"{self.plc_url}/{self.account.did}/log/last").raise_for_status().json()
        keys = [_did_key(self.key.public_key()), *credentials["rotationKeys"]]
        operation = {
            **credentials,
            "type": "plc_operation",
            "rotationKeys": keys,
            "prev": cid_of_record(last),
        }
        r, s = utils.decode_dss_signature(
            self.key.sign(encode_record(operation), ec.ECDSA(SHA256()))
        )
        raw = r.to_bytes(32, "big") + min(s, _ORDER - s).to_bytes(32, "big")
        signature = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        httpx.post(
            f"{self.plc_url}/{self.account.did}", json={**operation, "sig": signature}
        ).raise_for_status()


def refs_at(url: str, did: str, collection: str) -> set[str]:
    """Return the `ref` of each record of a collection that a PDS has."""
    nsid, params = "com.atproto.repo.listRecords", {"repo": did, "collection": collection}
    return {record["value"]["ref"] for record in _get(url, nsid, **params, limit="100")["records"]}


def _new_account(name: str, password: str) -> dict[str, str]:
    return {"handle": f"{name}.test", "email": f"{name}@example.test", "password": password}


def _url(pds: str, nsid: str) -> str:
    return f"{pds}/xrpc/{nsid}"


def _get(pds: str, nsid: str, token: str | None = None, **params: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(_url(pds, nsid), params=params, headers=headers, timeout=30)
    return answer.raise_for_status().json()


def _post(
    pds: str,
    nsid: str,
    token: str | None,
    *,
    json: object = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    own = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.post(
        _url(pds, nsid), json=json, content=content, headers={**own, **(headers or {})}, timeout=30
    )
    answer.raise_for_status()
    return answer.json() if answer.content else None


def _did_key(key: ec.EllipticCurvePublicKey) -> str:
    raw = _SECP256K1 + key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return f"did:key:z{digits}"
