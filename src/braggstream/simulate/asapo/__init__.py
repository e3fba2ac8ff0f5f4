"""A stand-in for the whole ASAP::O service: discovery, authoriser, broker, receiver, data server, file transfer.

The official clients work with it unchanged.  It is for tests, demonstrations and development; it is no replacement
of ASAP::O at a beamline.  `AsapoService` is the entry.
"""

from braggstream.simulate.asapo.service import AsapoService
from braggstream.simulate.asapo.settings import AsapoSettings

__all__ = ["AsapoService", "AsapoSettings"]
