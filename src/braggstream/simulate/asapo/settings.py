"""What can be chosen of the stand-in, and its limits against what comes from a socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long the stand-in waits for whoever is at the other end."""

    idle_s: float = 300.0
    """A connection without a request is closed after this time [s]."""
    request_s: float = 10.0
    """A request must be complete so long after its first byte; longer where it carries data [s]."""
    slowest_bytes_per_s: float = MIB
    """Data must come and go at least this fast [bytes/s]."""

    def seconds_for(self, n_bytes: int) -> float:
        """Longest time that a transfer may take."""
        return self.request_s + n_bytes / self.slowest_bytes_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class AsapoSendingSettings:
    """How simulated frames are sent to a service."""

    endpoint: str
    beamtime: str = "11001234"
    source: str = "detector"
    n_frames: int = 100
    """Frames to send; 0 = until stopped."""
    n_streams: int = 1
    """The frames come in so many streams, one after the other."""
    rate: float = 25.0
    """Frames per second; 0 = as fast as they are taken."""
    is_filed: bool = False
    """Whether the service is to keep the data in files, too."""
    is_finished: bool = True
    """Whether each stream ends with a mark that names the next one."""
    hole: int = 0
    """The message with this id is left out of each stream; 0 = none."""
    patience_s: float = 60.0
    """The sender gives up when the service has not taken a frame for so long [s]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AsapoSettings:
    """The stand-in's addresses, times and limits."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int = 0
    """Port of the endpoint, which serves all of HTTP; 0 = a free one, the same after a restart if it still is."""
    receiver_port: int = 0
    """Port that producers send to; 0 = a free one."""
    data_port: int = 0
    """Port that hands out data from memory; 0 = a free one."""
    cache_bytes: int = 512 * MIB
    """Data kept in memory; the oldest fall out [bytes]."""
    max_data_bytes: int = 256 * MIB
    """Largest data of one message [bytes]."""
    max_meta_bytes: int = MIB
    """Largest metadata of one message [bytes]."""
    max_connections: int = 32
    """Connections that a producer is told it may open."""
    resend_check_s: float = 10.0
    """Time between looks for messages to send again, before the end of a stream is reached [s]."""
    authorisation_s: float = 10.0
    """A producer's permission is looked at again after this time [s]."""
    folder_token_s: float = 3600.0
    """Folder tokens expire after this time; 0 = never [s]."""
    beamlines: Mapping[str, str] = field(default_factory=dict)
    """The current beamtime of each beamline, for producers that leave it open."""
    patience: Patience = field(default_factory=Patience)
    """How long it waits for whoever is at the other end."""
