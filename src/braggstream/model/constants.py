"""Physical constants with the values that CrystFEL uses, so that stream files agree to the last digit.

They are 6e-7 (relative) off CODATA 2018; see `docs/explanation/conventions.md`.
"""

PLANCK = 6.62606896e-34
"""Planck constant [J s]."""

LIGHT_SPEED = 299792458.0
"""Speed of light in vacuum [m/s]."""

ELEMENTARY_CHARGE = 1.6021773e-19
"""Elementary charge [C]."""

ELECTRON_MASS = 9.1093837015e-31
"""Electron rest mass [kg]."""

HC_EV_ANGSTROM = PLANCK * LIGHT_SPEED / ELEMENTARY_CHARGE * 1e10
"""Photon energy times wavelength [eV Å]."""


def wavelength_of_photon(energy_ev: float) -> float:
    """Convert a photon energy [eV] to a wavelength [Å]."""
    return HC_EV_ANGSTROM / energy_ev if energy_ev else float("inf")


def photon_energy_of(wavelength: float) -> float:
    """Convert a wavelength [Å] to a photon energy [eV]."""
    return HC_EV_ANGSTROM / wavelength


def wavelength_of_electron(voltage: float) -> float:
    """Convert an accelerating voltage [V] to the relativistic electron wavelength [Å]."""
    energy = ELEMENTARY_CHARGE * voltage
    corrected = energy * (1 + energy / (2 * ELECTRON_MASS * LIGHT_SPEED**2))
    return float(PLANCK / (2 * ELECTRON_MASS * corrected) ** 0.5 * 1e10)
