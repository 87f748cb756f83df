"""A passkey in software for tests: it creates and signs as a phone or a security key does (WebAuthn, ES256)."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

Flag = AuthenticatorData.FLAG


class SoftwarePasskey:
    """One passkey. `verifies` says whether it verifies its user, e.g. by a fingerprint."""

    def __init__(self, origin: str, *, verifies: bool = True, counts: bool = True) -> None:
        self.origin = origin
        self.verifies = verifies
        self.counts = counts
        self.count = 0
        self.credential_id = os.urandom(16)
        self.handle: bytes | None = None
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to `navigator.credentials.create`."""
        public = options["publicKey"]
        self.handle = websafe_decode(public["user"]["id"])
        public_key = ES256.from_cryptography_key(self._key.public_key())  # type: ignore[no-untyped-call]
        credential = AttestedCredentialData.create(b"\0" * 16, self.credential_id, public_key)
        data = AuthenticatorData.create(
            self._rp_hash(public["rp"]["id"]), self._flags() | Flag.AT, self._next_count(), bytes(credential)
        )
        return self._answer(
            {
                "clientDataJSON": websafe_encode(self._client_data("webauthn.create", public["challenge"])),
                "attestationObject": websafe_encode(
                    cbor.encode({"fmt": "none", "attStmt": {}, "authData": bytes(data)})
                ),
            }
        )

    def get(self, options: Mapping[str, Any], rp_id: str | None = None) -> dict[str, Any]:
        """Return the answer to `navigator.credentials.get`."""
        public = options["publicKey"]
        client_data = self._client_data("webauthn.get", public["challenge"])
        data = AuthenticatorData.create(self._rp_hash(rp_id or public["rpId"]), self._flags(), self._next_count())
        signed = bytes(data) + hashlib.sha256(client_data).digest()
        return self._answer(
            {
                "clientDataJSON": websafe_encode(client_data),
                "authenticatorData": websafe_encode(bytes(data)),
                "signature": websafe_encode(self._key.sign(signed, ec.ECDSA(hashes.SHA256()))),
                "userHandle": None if self.handle is None else websafe_encode(self.handle),
            }
        )

    def _answer(self, response: Mapping[str, Any]) -> dict[str, Any]:
        id_ = websafe_encode(self.credential_id)
        return {
            "id": id_,
            "rawId": id_,
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {name: value for name, value in response.items() if value is not None},
        }

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _flags(self) -> Flag:
        return Flag.UP | Flag.UV if self.verifies else Flag.UP

    def _next_count(self) -> int:
        self.count += self.counts
        return self.count

    def _rp_hash(self, rp_id: str) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest()
