"""The options of ASAP::O, and what they mean together."""

import os
from pathlib import Path
from typing import Any

from braggstream.cli.asapo_options import TOKEN_VARIABLE
from braggstream.model.errors import UserError
from braggstream.model.settings import AsapoServiceSettings, AsapoSourceSettings

MAX_TOKEN_BYTES = 1 << 16


def asapo_source(options: dict[str, Any]) -> AsapoSourceSettings:
    """Turn the options into settings; raises `UserError` for what is missing."""
    service = asapo_service(options)
    if not options["asapo_group"]:
        raise UserError("--asapo-endpoint needs --asapo-group=NAME")
    if options["asapo_follow"] and not options["asapo_stream"]:
        raise UserError("--asapo-follow is for --asapo-stream=NAME: without it all streams are read")
    return AsapoSourceSettings(
        service=service,
        group=options["asapo_group"],
        stream=options["asapo_stream"] or None,
        follow=options["asapo_follow"],
        wait_for_stream=options["asapo_wait_for_stream"],
        acks=options["asapo_acks"],
        timeout_s=options["asapo_consumer_timeout"] / 1000.0,
        no_data_timeout_s=options["no_data_timeout"],
        resend_delay_s=options["asapo_resend_delay"],
        publish=options["asapo_output_stream"],
    )


def asapo_service(options: dict[str, Any]) -> AsapoServiceSettings:
    """Turn the options that say where ASAP::O is into settings; raises `UserError` for what is missing."""
    endpoint = options["asapo_endpoint"]
    if not endpoint:
        raise UserError("--asapo-endpoint=HOST:PORT is needed")
    if any(character.isspace() for character in endpoint):
        raise UserError(f"--asapo-endpoint={endpoint}: expected HOST:PORT")
    token = asapo_token(options)
    if not token:
        raise UserError(
            "--asapo-endpoint needs a token: --asapo-token=TOKEN, --asapo-token-file=FILE "
            f"or the variable {TOKEN_VARIABLE}"
        )
    for name, argument in (("beamtime", "ID"), ("source", "NAME")):
        if not options[f"asapo_{name}"]:
            raise UserError(f"--asapo-endpoint needs --asapo-{name}={argument}")
    return AsapoServiceSettings(
        endpoint=endpoint, token=token, beamtime=options["asapo_beamtime"], source=options["asapo_source"]
    )


def asapo_token(options: dict[str, Any]) -> str:
    """Give the token; empty where there is none.  Raises `UserError`."""
    given, path = options["asapo_token"], options["asapo_token_file"]
    if given is not None and path is not None:
        raise UserError("--asapo-token and --asapo-token-file cannot be used together: choose one")
    if path is None:
        return (os.environ.get(TOKEN_VARIABLE, "") if given is None else str(given)).strip()
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot be read (--asapo-token-file): {error.strerror}", path=path) from None
    words = content.split()
    if len(words) != 1 or len(content) > MAX_TOKEN_BYTES or not words[0].isascii():
        raise UserError("expected one token and nothing else (--asapo-token-file)", path=path)
    return words[0].decode()
