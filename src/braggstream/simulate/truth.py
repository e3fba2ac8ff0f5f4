"""What is really in the simulated frames: kept beside them, read back by the judge."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.replaced_file import replace_file
from braggstream.model.cell import CENTRINGS, LATTICE_TYPES, UnitCell
from braggstream.model.errors import UserError

NM_PER_ANGSTROM = 0.1
MAX_TRUTH_BYTES = 1 << 30
MAX_FRAMES = 100_000_000
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class FrameTruth:
    """What is in one frame."""

    lattices: NDArray[np.float64]
    """Rows a*, b*, c* of each crystal in the lab frame, float64[n, 3, 3] [Å⁻¹]; none in a miss."""
    n_strong: int = 0
    """Spots that stand out clearly from the background, of all its crystals."""

    @property
    def is_hit(self) -> bool:
        """Whether there is a crystal in it."""
        return len(self.lattices) > 0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Truth:
    """What is in all frames, and how the stream file will call them."""

    filename: str
    """The `Image filename` of the frames; folders do not count.  It may hold `{n}` in place of `event`."""
    event: str
    """Their `Event`, with `{n}` for the frame's number from 0."""
    n_frames: int
    """Frames written or sent; frame n shows `frames[n % len(frames)]`."""
    frames: tuple[FrameTruth, ...]
    cell: UnitCell | None = None
    """The cell of all crystals, apart from `cell_spread`; None where the file does not tell."""
    space_group: str = ""
    """Its symbol; empty where the file does not tell."""

    def frame(self, number: int) -> FrameTruth:
        """What frame `number`, counted from 0, shows."""
        return self.frames[number % len(self.frames)]

    def number(self, event: str) -> int | None:
        """Number of the frame with this `Event`, from 0; None where there is none."""
        if "{n}" not in self.event:
            return 0 if event == self.event else None
        return self._counted(self.event, event)

    def number_in_name(self, filename: str, event: str) -> int | None:
        """Number of the frame, where names of files tell it; None where they do not, or there is none."""
        pattern = PurePath(self.filename).name
        if "{n}" not in pattern or event != self.event:
            return None
        return self._counted(pattern, PurePath(filename).name)

    def owns(self, filename: str) -> bool:
        """Whether a stream file's `Image filename` means these frames."""
        return PurePath(filename).name == PurePath(self.filename).name

    def _counted(self, pattern: str, text: str) -> int | None:
        before, _, after = pattern.partition("{n}")
        digits = text.removeprefix(before).removesuffix(after)
        if not digits.isascii() or not digits.isdigit() or len(digits) > 12 or text != f"{before}{digits}{after}":
            return None
        return int(digits) if int(digits) < self.n_frames else None


class CellRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The unit cell as the file has it."""

    parameters: tuple[float, float, float, float, float, float]
    lattice_type: str
    centring: str
    unique_axis: str


class FrameRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One frame as the file has it; axes in Å⁻¹."""

    lattices: list[tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]]
    n_strong: int = 0


class TruthRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A truth file."""

    filename: str
    event: str
    n_frames: int
    frames: list[FrameRecord]
    cell: CellRecord | None = None
    space_group: str = ""


def write_truth(path: str | Path, truth: Truth) -> None:
    """Write a truth file as JSON; raises `UserError` where it cannot be written."""
    record = TruthRecord(
        filename=truth.filename,
        event=truth.event,
        n_frames=truth.n_frames,
        frames=[FrameRecord(lattices=frame.lattices.tolist(), n_strong=frame.n_strong) for frame in truth.frames],
        cell=None if truth.cell is None else _cell_record(truth.cell),
        space_group=truth.space_group,
    )
    try:
        replace_file(path, msgspec.json.encode(record))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", path=path) from None


def read_truth(path: str | Path) -> Truth:
    """Read a truth file, or the truth inside an HDF5 file of simulated frames; raises `UserError`."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(HDF5_SIGNATURE))
            if head != HDF5_SIGNATURE:
                return _from_record(path, head + file.read(MAX_TRUTH_BYTES))
        return _from_hdf5(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", path=path) from None


def _from_record(path: str | Path, text: bytes) -> Truth:
    try:
        record = msgspec.json.decode(text, type=TruthRecord)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UserError(f"not a truth file: {error}", path=path) from None
    if record.n_frames and not 0 < len(record.frames) <= record.n_frames <= MAX_FRAMES:
        raise UserError(f"not a truth file: {record.n_frames} frames, {len(record.frames)} described", path=path)
    return Truth(
        filename=record.filename,
        event=record.event,
        n_frames=record.n_frames,
        frames=tuple(
            FrameTruth(lattices=np.array(frame.lattices).reshape(-1, 3, 3), n_strong=frame.n_strong)
            for frame in record.frames
        ),
        cell=None if record.cell is None else _cell(path, record.cell),
        space_group=record.space_group,
    )


def _from_hdf5(path: str | Path) -> Truth:
    with h5py.File(path, "r") as file:
        group = file.get("truth")
        if not isinstance(group, h5py.Group) or not {"hit", "reciprocal"} <= set(group):
            raise UserError("has no /truth/hit and /truth/reciprocal: not a file of simulated frames", path=path)
        hits = np.asarray(group["hit"][()], bool)
        lattices = np.asarray(group["reciprocal"][()], np.float64) * NM_PER_ANGSTROM
        if hits.ndim != 1 or lattices.ndim != 4 or lattices.shape != (len(hits), lattices.shape[1], 3, 3):
            raise UserError("/truth/reciprocal is not [frame, lattice, 3, 3]", path=path)
        event, symbol = str(group.attrs.get("event", "//{n}")), str(group.attrs.get("space_group", ""))
        cell = group.attrs.get("cell")
        record = None if cell is None else msgspec.json.decode(str(cell), type=CellRecord)
    present = [np.isfinite(axes).all(axis=(1, 2)) & (axes != 0).any(axis=(1, 2)) for axes in lattices]
    return Truth(
        filename=str(path),
        event=event,
        n_frames=len(hits),
        frames=tuple(
            FrameTruth(lattices=axes[there] if hit else axes[:0])
            for hit, axes, there in zip(hits, lattices, present, strict=True)
        ),
        cell=None if record is None else _cell(path, record),
        space_group=symbol,
    )


def cell_json(cell: UnitCell) -> str:
    """The cell as text, for an attribute of an HDF5 file."""
    return msgspec.json.encode(_cell_record(cell)).decode()


def _cell_record(cell: UnitCell) -> CellRecord:
    return CellRecord(
        parameters=cell.parameters,
        lattice_type=cell.lattice_type,
        centring=cell.centring,
        unique_axis=cell.unique_axis,
    )


def _cell(path: str | Path, record: CellRecord) -> UnitCell:
    lattice_type = next((name for name in LATTICE_TYPES if name == record.lattice_type), None)
    centring = next((name for name in CENTRINGS if name == record.centring), None)
    if lattice_type is None or centring is None:
        raise UserError(f"no such lattice: {record.lattice_type} {record.centring}", path=path)
    return UnitCell.from_parameters(
        record.parameters, lattice_type=lattice_type, centring=centring, unique_axis=record.unique_axis
    )
