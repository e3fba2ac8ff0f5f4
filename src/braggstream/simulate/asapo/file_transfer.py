"""The file transfer service: data that are no longer in memory, from the beamtime's folder."""

import mimetypes
from pathlib import Path

from braggstream.simulate.asapo import versions
from braggstream.simulate.asapo.authoriser import Authoriser
from braggstream.simulate.asapo.http import Answer, Refused, Request, json_answer, json_object


def transfer(request: Request, authoriser: Authoriser) -> Answer:
    """Send a file of the folder that the folder token opens; names that lead out of it are refused."""
    versions.check(request.path[0], versions.FILE_TRANSFER)
    root = authoriser.root_of(_folder_token(request))
    if root is None:
        raise Refused(401, "folder token is missing or not valid")
    body = json_object(request.body)
    name = body.get("FileName") if body else None
    if body is None or not isinstance(name, str) or not name:
        raise Refused(400, "FileName is missing")
    if request.path[0] == "v0.1" and body.get("Folder") != str(root):
        raise Refused(401, "folder is not the token's")
    path = path_within(root, name)
    if path is None or not path.is_file():
        raise Refused(404, "no such file")
    if request.query.get("sizeonly") == "true":
        return json_answer({"file_size": path.stat().st_size})
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    quoted = path.name.encode("ascii", "replace").decode().replace('"', "?").replace("\r", "?").replace("\n", "?")
    return Answer(200, b"", kind, path, {"Content-Disposition": f'attachment; filename="{quoted}"'})


def path_within(root: Path, name: str) -> Path | None:
    """The file of this name in a folder; None where the name, or a link on the way, leads out of it."""
    if "\0" in name:
        return None
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) and path != root.resolve() else None
    except (OSError, RuntimeError):
        return None


def _folder_token(request: Request) -> str:
    given = request.headers.get("authorization", "")
    for cookie in request.headers.get("cookie", "").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == "Authorization":
            given = value
    return given.removeprefix("Bearer ").strip()
