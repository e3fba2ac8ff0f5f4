"""The parameters of an analysis as JSON (`--harvest-file`), under the names that CrystFEL gives them."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from braggstream.formats.replaced_file import replace_file
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.finite import finite_or_none
from braggstream.model.settings import IndexingSettings, IntegrationSettings, PeakSettings, Settings

PER_METRE = 1e10
"""Å⁻¹ in m⁻¹."""


def write_harvest(options: Mapping[str, Any], settings: Settings) -> None:
    """Write the file that the options name, unless the run goes on with another one; raises `UserError`."""
    path = options["harvest_file"]
    if options["serial_start"] > 1:
        sys.stderr.write("--harvest-file: not written, since --serial-start is above 1\n")
        return
    try:
        replace_file(path, json.dumps(harvest(settings), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"cannot be written (--harvest-file): {error.strerror}", path=path) from None


def harvest(settings: Settings) -> dict[str, Any]:
    """Give the parameters in force; what is without limit or unknown is null."""
    has_lattices = settings.indexing.methods != ("none",)
    return {
        "input": {"highres": finite_or_none(settings.frame.highres * PER_METRE)},
        "peaksearch": _peak_search(settings.peaks),
        "hitfinding": {"min_num_peaks": settings.peaks.min_peaks},
        "indexing": _indexing(settings.indexing) if has_lattices else None,
        "integration": _integration(settings.integration) if has_lattices else None,
    }


def _peak_search(peaks: PeakSettings) -> dict[str, Any]:
    return {
        "method": peaks.method,
        "radii": _radii(peaks.radii),
        "noise_filter": peaks.filter_noise,
        "median_filter": peaks.median_filter,
        "threshold_adu": peaks.threshold,
        "min_squared_gradient_adu2": peaks.min_squared_gradient,
        "min_snr": peaks.min_snr,
        "check_hdf5_snr": peaks.check_snr,
        "peakfinder8_fast": peaks.fast,
        "half_pixel_shift": peaks.half_pixel_shift,
        "min_res_px": finite_or_none(peaks.min_res),
        "max_res_px": finite_or_none(peaks.max_res),
        "min_pixel_count": peaks.min_pix_count,
        "max_pixel_count": peaks.max_pix_count,
        "local_bg_radius_px": peaks.local_bg_radius,
        "use_saturated": peaks.use_saturated,
        "revalidate_hdf5": peaks.revalidate,
        "min_snr_of_biggest_pixel": peaks.min_snr_biggest_pix,
        "min_snr_of_peak_pixel": peaks.min_snr_peak_pix,
        "min_sig_adu": peaks.min_sig,
        "min_peak_over_neighbour_adu": finite_or_none(peaks.min_peak_over_neighbour),
    }


def _indexing(indexing: IndexingSettings) -> dict[str, Any]:
    a, b, c, alpha, beta, gamma = indexing.tolerance
    wavelength = indexing.wavelength_estimate
    return {
        "methods": list(indexing.methods),
        "target_cell": None if indexing.target_cell is None else _cell(indexing.target_cell),
        "tolerances": {
            "a_percent": a,
            "b_percent": b,
            "c_percent": c,
            "alpha_deg": alpha,
            "beta_deg": beta,
            "gamma_deg": gamma,
        },
        "multi_lattice": indexing.multi,
        "refine": indexing.refine,
        "retry": indexing.retry,
        "check_peaks": indexing.check_peaks,
        "check_cell": indexing.check_cell,
        "wavelength_estimate_m": None if wavelength is None else wavelength / PER_METRE,
        "clen_estimate_m": indexing.camera_length_estimate,
    }


def _cell(cell: UnitCell) -> dict[str, Any]:
    names = ("a_Angstrom", "b_Angstrom", "c_Angstrom", "alpha_deg", "beta_deg", "gamma_deg")
    return {
        "lattice_type": cell.lattice_type,
        "centering": cell.centring,
        "unique_axis": cell.unique_axis,
        **{name: float(number) for name, number in zip(names, cell.parameters, strict=True)},
    }


def _integration(integration: IntegrationSettings) -> dict[str, Any]:
    words = {"sat": integration.keep_saturated, "cen": integration.centre, "grad": integration.gradient}
    radius = integration.fix_profile_radius
    return {
        "method": "-".join([integration.method, *(word for word, is_on in words.items() if is_on)]),
        "radii": _radii(integration.radii),
        "push_res_invm": finite_or_none(integration.push_res * PER_METRE),
        "fix_profile_radius_invm": None if radius is None else radius * PER_METRE,
        "fix_divergence_rad": integration.fix_divergence,
        "overpredict": integration.overpredict,
        "cell_parameters_only": integration.cell_parameters_only,
    }


def _radii(radii: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("inner_px", "middle_px", "outer_px"), radii, strict=True))
