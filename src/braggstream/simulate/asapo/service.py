"""All services of the stand-in together, at one endpoint."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from braggstream.simulate.asapo.authoriser import ACCESS_TYPES, READ, WRITE, Authoriser
from braggstream.simulate.asapo.broker import Broker
from braggstream.simulate.asapo.cache import DataCache
from braggstream.simulate.asapo.data_server import serve_data
from braggstream.simulate.asapo.database import Database
from braggstream.simulate.asapo.discovery import Addresses, Discovery
from braggstream.simulate.asapo.faults import Faults
from braggstream.simulate.asapo.file_transfer import transfer
from braggstream.simulate.asapo.groups import Groups
from braggstream.simulate.asapo.http import Answer, Refused, Request, json_answer, serve_http
from braggstream.simulate.asapo.kept_ports import KeptPorts
from braggstream.simulate.asapo.messages import Messages
from braggstream.simulate.asapo.metadata import Metadata
from braggstream.simulate.asapo.receiver import Session, make_parts
from braggstream.simulate.asapo.settings import AsapoSettings
from braggstream.simulate.asapo.tcp import Connection, Listener

DISCOVERY_PREFIX, AUTHORISER_PREFIX, EXTENSION = "asapo-discovery", "asapo-authorizer", "braggstream"
AUTHORISER_PATHS = ("introspect", "authorize", "admin", "health-check")


class AsapoService:
    """A running stand-in; a context manager.

    Its state is in `folder` and survives: a service that is made on the same folder goes on where the last one
    stood, and accepts the same tokens.  Data that were only in memory are gone, as in ASAP::O.

    >>> with AsapoService(folder) as service:  # doctest: +SKIP
    ...     consumer = asapo_consumer.create_consumer(
    ...         service.endpoint, "auto", False, "11001234", "eiger", service.token("11001234"), 1000)
    """

    def __init__(self, folder: str | Path, settings: AsapoSettings | None = None) -> None:
        self.settings = settings or AsapoSettings()
        self.faults = Faults()
        self._listeners: list[Listener] = []
        self._database = Database(Path(folder))
        try:
            ports = KeptPorts(Path(folder) / "ports")
            self._http = self._listener(ports, "http", self.settings.port, self._serve_http)
            receiver = self._listener(ports, "receiver", self.settings.receiver_port, self._serve_producer)
            data = self._listener(ports, "data", self.settings.data_port, self._serve_data)
            ports.keep()
        except BaseException:
            self.stop()
            self._database.close()
            raise
        self.cache = DataCache(self.settings.cache_bytes)
        self._authoriser = Authoriser(self._database, self.settings, Path(folder).resolve() / "files")
        self._groups = Groups(
            self._database, resend_check_s=self.settings.resend_check_s, data_address=data.address
        )
        self._broker = Broker(self._database, self._authoriser, self._groups, data_address=data.address)
        messages, metadata = Messages(self._database), Metadata(self._database)
        self._parts = make_parts(self.settings, self._authoriser, messages, metadata, self.cache)
        self._discovery = Discovery(
            Addresses(
                broker=self.endpoint,
                file_transfer=self.endpoint,
                receiver=receiver.address,
                max_connections=self.settings.max_connections,
            ),
            self.faults,
        )

    @property
    def endpoint(self) -> str:
        """`host:port`, as clients want it."""
        return self._http.address

    @property
    def admin_token(self) -> str:
        """What the authoriser's `/admin` calls ask for."""
        return self._database.admin_token

    def folder(self, beamtime: str) -> Path:
        """Where a beamtime's files are."""
        return self._authoriser.folder(beamtime)

    def token(self, beamtime: str, access: Sequence[str] = (READ, WRITE), days: int | None = None) -> str:
        """Make a user token for a beamtime; without `days` it does not expire."""
        if any(word not in ACCESS_TYPES for word in access):
            raise ValueError(f"access types are {ACCESS_TYPES}")
        return self._authoriser.issue(f"bt_{beamtime}", access, days)[0]

    def revoke(self, token: str) -> None:
        """Accept a token no longer."""
        self._authoriser.revoke(token)

    def group_states(self, beamtime: str, source: str, stream: str) -> list[dict[str, object]]:
        """What is known of each group that reads a stream."""
        return self._groups.state((beamtime, source, stream))

    def start(self) -> Self:
        """Begin to serve, or go on after `stop`, at the same ports."""
        for listener in self._listeners:
            listener.start()
        return self

    def stop(self) -> None:
        """Refuse connections and end the open ones; `start` goes on."""
        for listener in self._listeners:
            listener.stop()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._database.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listener(self, ports: KeptPorts, name: str, port: int, serve: Callable[[Connection], None]) -> Listener:
        def bind(number: int) -> Listener:
            return Listener(self.settings.host, number, serve, self.settings.patience)

        made = bind(port) if port else ports.bind(name, bind)
        self._listeners.append(made)
        return made

    def _serve_data(self, connection: Connection) -> None:
        serve_data(connection, self.cache)

    def _serve_http(self, connection: Connection) -> None:
        serve_http(connection, self._answer)

    def _serve_producer(self, connection: Connection) -> None:
        Session(connection, self._parts).run()

    def _answer(self, request: Request) -> Answer:
        """Route a request to its service, with or without the front proxy's prefix."""
        first, *rest = request.path
        inner = tuple(rest)
        try:
            if first == DISCOVERY_PREFIX:
                return self._discover(replace(request, path=inner))
            if first == AUTHORISER_PREFIX:
                return self._authorise(replace(request, path=inner))
            if first in AUTHORISER_PATHS or inner == ("folder",):
                return self._authorise(request)
            if first == "health":
                return Answer(204)
            if first == EXTENSION and len(rest) == 4 and rest[0] == "groups":
                return self._group_states(request)
            if inner == ("transfer",):
                self.faults.strike("file_transfer")
                return transfer(request, self._authoriser)
            if (len(rest) == 1 and rest[0].startswith("asapo-")) or inner == ("version",):
                return self._discover(request)
            self.faults.strike("broker")
            return self._broker.answer(request)
        except sqlite3.Error:
            raise Refused(503, "the database is unavailable") from None

    def _discover(self, request: Request) -> Answer:
        self.faults.strike("discovery")
        return self._discovery.answer(request)

    def _authorise(self, request: Request) -> Answer:
        self.faults.strike("authoriser")
        return self._authoriser.answer(request)

    def _group_states(self, request: Request) -> Answer:
        """Our own extension: `GET /braggstream/groups/<beamtime>/<source>/<stream>`, which ASAP::O has not."""
        beamtime, source, stream = self._broker.place(request.path[2:])
        self._authoriser.check(request.query, beamtime, READ)
        return json_answer({"groups": self._groups.state((beamtime, source, stream))})
