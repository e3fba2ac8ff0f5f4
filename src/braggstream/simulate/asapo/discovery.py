"""Discovery: tells clients where the other services are, and which protocols are spoken."""

from collections.abc import Mapping
from dataclasses import dataclass

from braggstream.simulate.asapo import versions
from braggstream.simulate.asapo.faults import Faults
from braggstream.simulate.asapo.http import Answer, Refused, Request, json_answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where the services are."""

    broker: str
    file_transfer: str
    receiver: str
    max_connections: int


class Discovery:
    """Answers what clients ask first."""

    def __init__(self, addresses: Addresses, faults: Faults) -> None:
        self._addresses = addresses
        self._faults = faults

    def answer(self, request: Request) -> Answer:
        """Answer a request whose path has lost the service's prefix."""
        match request.path:
            case ("health",):
                return Answer(204)
            case ("asapo-mongodb" | "asapo-monitoring",):
                return Answer(200)
            case (version, "version"):
                versions.check(version, versions.DISCOVERY)
                return self._versions(request.query)
            case (version, service):
                versions.check(version, versions.DISCOVERY)
                return self._address(service, request.query)
        raise Refused(404, "no such route")

    def _address(self, service: str, query: Mapping[str, str]) -> Answer:
        where = self._addresses
        known: dict[str, Answer] = {
            "asapo-broker": Answer(200, b"" if self._faults.has_no_broker else where.broker.encode()),
            "asapo-file-transfer": Answer(200, where.file_transfer.encode()),
            "asapo-receiver": json_answer({"MaxConnections": where.max_connections, "Uris": [where.receiver]}),
        }
        if service not in known:
            raise Refused(404, "no such service")
        self._check_protocol(query)
        return known[service]

    def _check_protocol(self, query: Mapping[str, str]) -> None:
        protocol = query.get("protocol")
        if protocol is None:
            raise Refused(400, "protocol is missing")
        if not self._is_supported(protocol):
            raise Refused(415, f"protocol {protocol} is not supported (any more)")

    def _is_supported(self, protocol: str) -> bool:
        number = versions.minor(protocol)
        return (
            number in range(versions.OLDEST, versions.NEWEST + 1) and number not in self._faults.expired_protocols
        )

    def _versions(self, query: Mapping[str, str]) -> Answer:
        client, protocol = query.get("client"), query.get("protocol")
        if client not in (None, "consumer", "producer"):
            raise Refused(500, "unknown client")
        supported = None
        if client:
            supported = [self._protocol(number) for number in range(versions.NEWEST, versions.OLDEST - 1, -1)]
        is_told = client and protocol is not None
        return json_answer(
            {
                "softwareVersion": f"{versions.SOFTWARE} (stand-in of Braggstream)",
                "clientProtocol": self._protocol(versions.NEWEST),
                "clientSupported": ("yes" if self._is_supported(protocol or "") else "no") if is_told else "",
                "supportedProtocols": supported,
            }
        )

    def _protocol(self, number: int) -> dict[str, object]:
        if number in self._faults.expired_protocols:
            state = "deprecated at 2024-01-01 00:00:00 +0000 UTC"
        else:
            state = "current" if number == versions.NEWEST else "supported"
        return {"versionInfo": f"v0.{number} ({state})", "microservicesApi": versions.microservices(number)}
