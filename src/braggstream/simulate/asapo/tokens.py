"""Tokens as ASAP::O makes them: JSON web tokens signed with HMAC-SHA256 (RFC 7519)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from braggstream.simulate.asapo.http import json_object

MAX_TOKEN_BYTES = 8192


def sign(claims: Mapping[str, Any], secret: bytes) -> str:
    """Make a token of claims."""
    head = _encode(b'{"alg":"HS256","typ":"JWT"}')
    body = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_signature(f'{head}.{body}', secret)}"


def verified(token: str, secret: bytes, now_s: float) -> dict[str, Any] | None:
    """The claims of a token; None where it is not signed with `secret`, is malformed, or has expired.

    The signature is looked at first: nothing else of a forged token is read.
    """
    signed, _, signature = token.rpartition(".")
    head, dot, body = signed.partition(".")
    if not dot or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        return None
    if not hmac.compare_digest(_signature(signed, secret), signature):
        return None
    header, claims = _decode(head), _decode(body)
    if header is None or claims is None or header.get("alg") != "HS256":
        return None
    expires = claims.get("exp")
    if expires is not None and not (isinstance(expires, int | float) and now_s < expires):
        return None
    return claims


def _signature(signed: str, secret: bytes) -> str:
    return _encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> dict[str, Any] | None:
    try:
        return json_object(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
