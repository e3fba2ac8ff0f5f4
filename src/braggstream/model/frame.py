"""Frame: one detector exposure with everything that processing needs, and nothing of where it came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector
from braggstream.model.mask import BadMap
from braggstream.model.peaks import SuppliedPeaks
from braggstream.model.shown import Shown

HeaderValue = float | int | str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FrameIdentity(Shown):
    """The names under which a frame appears in the stream file."""

    filename: str
    """`Image filename`: the file, or the name that a streamed frame carries."""
    event: str
    """`Event`: CrystFEL's event id, for example `//17`."""
    serial: int
    """`Image serial number`."""
    sender_number: int | None = None
    """The sender's own running number, where it gives one: gaps in it are lost frames."""

    def _facts(self) -> dict[str, object]:
        return {"": f"{self.filename} {self.event}", "serial": self.serial}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class Frame(Shown):
    """One detector exposure.

    The pixels are one flat array in the dtype in which they arrived; `panel_table` says where each panel's
    pixels lie in it (see `braggstream.kernels.layout`).  Nothing here may be written to.
    """

    identity: FrameIdentity
    detector: Detector
    wavelength: float
    """Wavelength of this exposure [Å]."""
    pixels: NDArray[Any]
    """Pixel values, one-dimensional, C-contiguous, native byte order, any integer or float dtype."""
    panel_table: NDArray[np.int64]
    """Place of each panel in `pixels` and in detector order, int64[n_panels, 5]."""
    bad: NDArray[np.uint8]
    """Nonzero where a pixel must not be used, uint8[n_pixels], in detector order."""
    bad_map: BadMap | None = None
    """How `bad` came about; it counts only where its map is the array `bad` itself."""
    saturation: NDArray[np.float32] | None = None
    """Saturation level of each pixel, float32[n_pixels], in detector order; None where there is no map."""
    headers: tuple[tuple[str, HeaderValue], ...] = ()
    """Header values for the stream file, in the order in which they are written there."""
    supplied_peaks: SuppliedPeaks | None = None
    """The peak list that came with the frame."""
    has_image: bool = True
    """False where pixels were not loaded and count as zero."""

    def _facts(self) -> dict[str, object]:
        return {
            "": f"{self.identity.filename} {self.identity.event}",
            "serial": self.identity.serial,
            "panels": self.detector.n_panels,
            "pixels": f"{self.detector.n_pixels} ({self.pixels.dtype})",
            "bad": int(np.count_nonzero(self.bad)),
            "wavelength": f"{self.wavelength:.5g} Å",
            "camera length": f"{self.detector.average_camera_length:.5g} m",
        }

    def panel_pixels(self, panel: int) -> NDArray[Any]:
        """View of one panel's pixels, [height, width]."""
        offset, stride, width, height = (int(number) for number in self.panel_table[panel, :4])
        if stride == 0:
            return np.broadcast_to(self.pixels[offset : offset + width], (height, width))
        item = self.pixels.itemsize
        return np.lib.stride_tricks.as_strided(
            self.pixels[offset:], (height, width), (stride * item, item), writeable=False
        )

    def panel_bad(self, panel: int) -> NDArray[np.uint8]:
        """View of one panel's bad map, [height, width]."""
        start, stop = self.detector.starts[panel], self.detector.starts[panel + 1]
        return self.bad[start:stop].reshape(self.detector.height[panel], self.detector.width[panel])


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSlot:
    """A frame in a file, not yet read."""

    filename: str
    event: str
    serial: int
    fault: str = ""
    """Why this place of the file gives no frames, where that is known already; it is a failed frame then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageOrigin:
    """What a message service such as ASAP::O says of a message beside its bytes."""

    stream: str
    """The message stream that it belongs to."""
    number: int
    """Id of the message in its stream: the frame's serial number."""
    name: str
    """Name of the message: the frame's file name."""
    metadata: bytes = b""
    """What the sender said of it: a JSON object, of which the members are headers.  Empty where there is none."""
    time_s: float | None = None
    """When the service received it [s since 1970]."""
    fault: str = ""
    """Why its bytes could not be had: the frame fails with it.  Empty where they are here."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class SeriesStart:
    """The message with which a sender began the series that an image belongs to."""

    payload: memoryview | bytes
    """The message; read-only, and only valid while the frame is processed."""
    number: int
    """Counts the start messages of a session."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Message:
    """A streamed frame as it was received, not yet decoded."""

    payload: memoryview | bytes
    """The message; read-only, and only valid while the frame is processed."""
    serial: int
    """Running number, for a frame that does not say who it is."""
    origin: MessageOrigin | None = None
    """What the service says of it, where it came from one."""
    start: SeriesStart | None = None
    """The start message of its series, where there was one."""
    refusal: str = ""
    """Why there is none, where one came that could not be understood."""
