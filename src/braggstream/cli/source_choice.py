"""`indexamajig`: which options say where frames come from."""

from pathlib import Path
from typing import Any

from braggstream.cli.asapo_choice import asapo_source
from braggstream.cli.notices import say
from braggstream.model.errors import UserError
from braggstream.model.settings import (
    FileSourceSettings,
    SourceSettings,
    ZmqSourceSettings,
)

MAX_SUBSCRIPTIONS = 256


def source_settings(options: dict[str, Any]) -> SourceSettings:
    """Choose the source; the order of the checks decides which message a user sees first."""
    given = [name for name in ("input", "zmq_input", "asapo_endpoint") if options[name] is not None]
    if not given:
        raise UserError("an input is needed: give a list of files with -i FILE, --zmq-input or --asapo-endpoint")
    if options["output"] is None:
        raise UserError("an output file is needed: give it with -o FILE")
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise UserError(f"{first} and {second} cannot be used together: choose one")
    if options["asapo_endpoint"] is not None:
        return asapo_source(options)
    list_file = options["input"]
    if list_file is not None:
        return FileSourceSettings(
            list_file=list_file,
            prefix=_prefix(options),
            basename=options["basename"],
            wait_for_file=options["wait_for_file"],
        )
    return _zmq_source(options)


def _zmq_source(options: dict[str, Any]) -> ZmqSourceSettings:
    tags, request, pull = options["zmq_subscribe"] or (), options["zmq_request"], options["zmq_pull"]
    if request is not None and tags:
        raise UserError("--zmq-request and --zmq-subscribe cannot be used together: choose one")
    if pull and (request is not None or tags):
        raise UserError("--zmq-pull cannot be used with --zmq-request or --zmq-subscribe: choose one")
    if request is None and not tags and not pull:
        raise UserError("--zmq-input needs --zmq-request=TEXT, --zmq-subscribe=TAG or --zmq-pull")
    if len(tags) > MAX_SUBSCRIPTIONS:
        raise UserError(f"--zmq-subscribe was given {len(tags)} times, at most {MAX_SUBSCRIPTIONS} are possible")
    return ZmqSourceSettings(endpoint=options["zmq_input"], request=request, subscribe=tags, pull=pull)


def _prefix(options: dict[str, Any]) -> str:
    prefix = str(options["prefix"])
    if prefix and not options["no_check_prefix"] and not prefix.endswith("/") and Path(prefix).is_dir():
        say(f"--prefix={prefix} is a folder: a slash is added")
        return prefix + "/"
    return prefix
