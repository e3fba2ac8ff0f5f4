"""Results written as a stream file."""

from collections.abc import Iterable
from pathlib import Path

from braggstream.api.understood import CellLike, GeometryLike, cell_of, geometry_of
from braggstream.formats.replaced_file import replacing
from braggstream.formats.stream_header import stream_header
from braggstream.formats.stream_write import format_chunk
from braggstream.model.result import FrameResult
from braggstream.model.settings import OutputSettings


def write_stream(
    path: str | Path,
    geometry: GeometryLike,
    results: Iterable[FrameResult],
    *,
    cell: CellLike | None = None,
) -> int:
    """Write a stream file from results; gives the number of chunks.

    Parameters
    ----------
    path
        The file; what it held is kept as `NAME.previous`, and stays where it is as long as this is not over.
    geometry, cell
        Written into its header; or their files.
    results
        What `Processor.process` or `read_stream` gave.
    """
    written = geometry_of(geometry)
    output = OutputSettings(stream_file=str(path), command_line=("braggstream.write_stream",), indexing_words="")
    n_chunks = 0
    with replacing(path) as part, part.open("wb") as file:
        file.write(stream_header(written.text, output, cell_of(cell)))
        for result in results:
            file.write(format_chunk(result, written, output))
            n_chunks += 1
    return n_chunks
