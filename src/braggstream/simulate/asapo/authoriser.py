"""The authoriser: makes tokens, says what they permit, and opens folders to those who hold them."""

import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from braggstream.simulate.asapo import versions
from braggstream.simulate.asapo.database import Database
from braggstream.simulate.asapo.http import Answer, Refused, Request, json_answer, json_object
from braggstream.simulate.asapo.settings import AsapoSettings
from braggstream.simulate.asapo.tokens import sign, verified

READ, WRITE, WRITE_RAW = "read", "write", "writeraw"
ACCESS_TYPES = (READ, WRITE, WRITE_RAW)
DAY_S = 86_400
MAX_DAYS = 36_500
DEFAULT_SOURCE, AUTO = "detector", "auto"
RAW, PROCESSED = "raw", "processed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Permission:
    """What a user token permits."""

    subject: str
    """`bt_` and a beamtime, or `bl_` and a beamline."""
    access: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Producer:
    """Who sends data, as its credentials say and its token permits."""

    beamtime: str
    beamline: str
    source: str
    kind: str
    """`raw` or `processed`."""
    instance: str
    step: str
    access: tuple[str, ...]


class Authoriser:
    """Knows the secret that tokens are signed with."""

    def __init__(self, database: Database, settings: AsapoSettings, files: Path) -> None:
        self._database = database
        self._settings = settings
        self._files = files

    def issue(self, subject: str, access: Sequence[str], days: int | None = None) -> tuple[str, float | None]:
        """Make a user token; gives when it expires, too (seconds since 1970)."""
        expires = None if days is None else int(time.time()) + days * DAY_S
        claims: dict[str, Any] = {} if expires is None else {"exp": expires}
        claims |= {"jti": secrets.token_hex(10), "sub": subject, "ExtraClaims": {"AccessTypes": list(access)}}
        return sign(claims, self._database.secret), expires

    def permission(self, token: str) -> Permission | None:
        """What a user token permits; None where it is not valid."""
        claims = verified(token, self._database.secret, time.time())
        if claims is None:
            return None
        extra, subject, name = claims.get("ExtraClaims"), claims.get("sub"), claims.get("jti")
        access = extra.get("AccessTypes") if isinstance(extra, dict) else None
        if not (isinstance(subject, str) and isinstance(access, list) and isinstance(name, str)):
            return None
        with self._database.look() as db:
            if db.execute("SELECT 1 FROM revoked WHERE jti=?", (name,)).fetchone():
                return None
        return Permission(subject=subject, access=tuple(word for word in access if isinstance(word, str)))

    def check(self, query: Mapping[str, str], beamtime: str, access: str) -> None:
        """Refuse a request to the broker whose token is missing (400) or does not permit it (401)."""
        token = query.get("token", "")
        if not token:
            raise Refused(400, "token is missing")
        self.check_token(token, beamtime, access)

    def check_token(self, token: str, beamtime: str, access: str) -> None:
        """Refuse a token that does not permit this access to a beamtime (401)."""
        permission = self.permission(token)
        if permission is None:
            raise Refused(401, "token is not valid")
        if permission.subject != f"bt_{beamtime}" and not self._is_at(permission.subject, beamtime):
            raise Refused(401, "token is for something else")
        if access not in permission.access:
            raise Refused(401, f"token does not permit: {access}")

    def revoke(self, token: str) -> str:
        """Accept a token no longer; gives its id."""
        claims = verified(token, self._database.secret, 0.0)
        if claims is None or not isinstance(claims.get("jti"), str):
            raise Refused(401, "token is not valid")
        with self._database.change() as db:
            db.execute("INSERT OR IGNORE INTO revoked VALUES(?)", (claims["jti"],))
        return str(claims["jti"])

    def producer(self, credentials: str, version: int, peer: str) -> Producer:
        """Who sends; refused with 400 for credentials that cannot be read, 401 where they do not permit it.

        Before version 6 of the receiver's protocol there are five fields, since then seven.
        """
        fields = credentials.split("%")
        if version < 6:
            fields[1:1] = [peer, "DefaultStep"]
        if len(fields) < 7:
            raise Refused(400, "cannot read the source's credentials")
        kind, instance, step, beamtime, beamline = fields[:5]
        source, token = "%".join(fields[5:-1]) or DEFAULT_SOURCE, fields[-1]
        if kind not in (RAW, PROCESSED) or AUTO in (instance, step):
            raise Refused(400, "wrong kind of source, or an instance or step 'auto'")
        beamline = beamline or AUTO
        beamtime = self._settings.beamlines.get(beamline, AUTO) if beamtime in ("", AUTO) else beamtime
        if beamtime == AUTO:
            raise Refused(401, "there is no beamtime at this beamline")
        access = WRITE if kind == PROCESSED else WRITE_RAW
        self.check_token(token, beamtime, access)
        permission = self.permission(token)
        return Producer(
            beamtime=beamtime,
            beamline=beamline,
            source=source,
            kind=kind,
            instance=instance,
            step=step,
            access=permission.access if permission else (),
        )

    def folder(self, beamtime: str) -> Path:
        """Where the files of a beamtime are; `Refused` for a name that is no folder's."""
        if beamtime in ("", ".", "..") or "/" in beamtime or "\0" in beamtime:
            raise Refused(401, "no such beamtime")
        return self._files / beamtime

    def root_of(self, folder_token: str) -> Path | None:
        """The folder that a folder token opens."""
        claims = verified(folder_token, self._database.secret, time.time())
        extra = claims.get("ExtraClaims") if claims else None
        root = extra.get("RootFolder") if isinstance(extra, dict) else None
        return Path(root) if isinstance(root, str) else None

    def answer(self, request: Request) -> Answer:
        """Answer a request whose path has lost the service's prefix."""
        match request.path:
            case ("health-check",):
                return Answer(204)
            case ("introspect",):
                return self._introspect(_body(request))
            case ("authorize",):
                return self._authorise(_body(request))
            case (version, "folder"):
                versions.check(version, versions.AUTHORISER)
                return self._folder_token(_body(request))
            case ("admin", "issue"):
                return self._issue(request, _body(request))
            case ("admin", "revoke"):
                return self._revoke(request, _body(request))
        raise Refused(404, "no such route")

    def _introspect(self, body: dict[str, Any]) -> Answer:
        permission = self.permission(_text(body, "Token"))
        if permission is None:
            raise Refused(401, "token is not valid")
        return json_answer({"Sub": permission.subject, "AccessTypes": list(permission.access)})

    def _authorise(self, body: dict[str, Any]) -> Answer:
        made = self.producer(_text(body, "SourceCredentials"), 6, _text(body, "OriginHost"))
        return json_answer(
            {
                "beamtimeId": made.beamtime,
                "beamline": made.beamline,
                "dataSource": made.source,
                "corePath": str(self.folder(made.beamtime)),
                "beamline-path": "",
                "source-type": made.kind,
                "access-types": list(made.access),
                "instanceId": made.instance,
                "pipelineStep": made.step,
            }
        )

    def _folder_token(self, body: dict[str, Any]) -> Answer:
        folder, beamtime, token = (_text(body, name) for name in ("Folder", "BeamtimeId", "Token"))
        self.check_token(token, beamtime, READ)
        root = self.folder(beamtime)
        if folder not in (AUTO, str(root)):
            raise Refused(401, "folder does not belong to the beamtime")
        claims: dict[str, Any] = {"ExtraClaims": {"RootFolder": str(root), "SecondFolder": ""}}
        if self._settings.folder_token_s:
            claims["exp"] = time.time() + self._settings.folder_token_s
        return Answer(200, sign(claims, self._database.secret).encode())

    def _issue(self, request: Request, body: dict[str, Any]) -> Answer:
        self._check_admin(request)
        subject, access, days = body.get("Subject"), body.get("AccessTypes"), body.get("DaysValid")
        if not (isinstance(subject, dict) and isinstance(access, list) and type(days) is int and days <= MAX_DAYS):
            raise Refused(400, "expected Subject, DaysValid and AccessTypes")
        named = [f"{short}_{subject[name]}" for short, name in (("bt", "beamtimeId"), ("bl", "beamline")) if
                 isinstance(subject.get(name), str) and subject[name]]  # fmt: skip
        if len(named) != 1 or not access or any(word not in ACCESS_TYPES for word in access):
            raise Refused(400, "expected one beamtimeId or beamline, and access types")
        token, expires = self.issue(named[0], access, days if days > 0 else None)
        told = "" if expires is None else datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json_answer({"Token": token, "Sub": named[0], "AccessTypes": access, "Expires": told})

    def _revoke(self, request: Request, body: dict[str, Any]) -> Answer:
        self._check_admin(request)
        token = _text(body, "Token")
        return json_answer({"_id": self.revoke(token), "token": token, "revoked": True})

    def _check_admin(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._database.admin_token.encode()):
            raise Refused(401, "not the administrator's token")

    def _is_at(self, subject: str, beamtime: str) -> bool:
        """Whether a token is for the beamline where the beamtime takes place."""
        line = subject.removeprefix("bl_")
        return subject.startswith("bl_") and self._settings.beamlines.get(line) == beamtime


def _body(request: Request) -> dict[str, Any]:
    body = json_object(request.body)
    if request.method != "POST" or body is None:
        raise Refused(400, "expected a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not text:
        raise Refused(400, f"{name} is missing")
    return text
