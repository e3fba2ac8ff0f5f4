"""XDS's text files of merged reflections, which XSCALE, XDSCONV and POINTLESS read."""

from pathlib import Path

import numpy as np

from braggstream.formats.replaced_file import check_has_content, write_text_result
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.space_group import symmorphic_space_group


def write_xds_ascii(path: str | Path, reflections: ReflectionList, cell: UnitCell, group: PointGroup) -> None:
    """Write a list as XDS_ASCII; indices stay as they are, and 0 0 0 is left out.

    Raises `UserError` where the space group has no number in this setting, or the file cannot be written.
    """
    check_has_content(path, len(reflections), "reflections")
    write_text_result(path, xds_ascii(reflections, cell, group), complaint="cannot write the XDS file")


def xds_ascii(reflections: ReflectionList, cell: UnitCell, group: PointGroup) -> str:
    """Give the text of an XDS_ASCII file."""
    symmetry = symmorphic_space_group(group, cell.centring)
    if not symmetry.is_reference_setting():
        raise UserError(
            f"XDS knows space groups by number, and {symmetry.xhm()} is not the standard setting of its one:"
            " reindex the data before"
        )
    friedel = "TRUE" if group.is_centrosymmetric else "FALSE"
    parameters = " ".join(f"{number:.2f}" for number in cell.parameters)
    head = [
        f"!FORMAT=XDS_ASCII MERGE=TRUE FRIEDEL'S_LAW={friedel}",
        f"!SPACE_GROUP_NUMBER={symmetry.number}",
        f"!UNIT_CELL_CONSTANTS= {parameters}",
        "!NUMBER_OF_ITEMS_IN_EACH_DATA_RECORD=5",
        "!ITEM_H=1",
        "!ITEM_K=2",
        "!ITEM_L=3",
        "!ITEM_IOBS=4",
        "!ITEM_SIGMA(IOBS)=5",
        "!END_OF_HEADER",
    ]
    kept = reflections.take(np.flatnonzero(reflections.hkl.any(axis=1)))
    rows = zip(*kept.hkl.T.tolist(), kept.intensity.tolist(), kept.sigma.tolist(), strict=True)
    lines = [f"{h:6d} {k:6d} {ell:6d} {value:9.2f} {sigma:9.2f}" for h, k, ell, value, sigma in rows]
    return "\n".join([*head, *lines, "!END_OF_DATA"]) + "\n"
