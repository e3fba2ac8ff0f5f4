"""A geometry whose detector stands a little elsewhere."""

from dataclasses import replace

import numpy as np

from braggstream.model.geometry import DetectorOffset, Geometry, LabRegion, PixelRegion


def moved_geometry(geometry: Geometry, offset: DetectorOffset) -> Geometry:
    """Move the detector of a geometry as it was read; the result places panels as a file with these numbers would.

    A camera length that the file states is changed; one that is looked up in each frame cannot be, so its
    change goes into the panels' own offsets.  Bad regions of the lab frame move along: they were drawn around
    pixels.
    """
    states_length = geometry.clen.value is not None
    clen = geometry.clen
    if clen.value is not None:
        clen = replace(clen, value=clen.value + offset.z / clen.factor)
    panels = tuple(
        replace(
            panel,
            corner_x=panel.corner_x + offset.x * panel.res,
            corner_y=panel.corner_y + offset.y * panel.res,
            coffset=panel.coffset if states_length else panel.coffset + offset.z,
        )
        for panel in geometry.panels
    )
    res = float(np.mean([panel.res for panel in geometry.panels])) if geometry.panels else 1.0
    return replace(
        geometry,
        panels=panels,
        clen=clen,
        bad_regions=tuple(_moved_region(region, offset.x * res, offset.y * res) for region in geometry.bad_regions),
        offset=offset,
        _cache={},
    )


def _moved_region(region: PixelRegion | LabRegion, x: float, y: float) -> PixelRegion | LabRegion:
    if isinstance(region, PixelRegion):
        return region
    return replace(
        region, min_x=region.min_x + x, max_x=region.max_x + x, min_y=region.min_y + y, max_y=region.max_y + y
    )
