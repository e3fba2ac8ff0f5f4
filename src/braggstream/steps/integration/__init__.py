"""Integration of predicted reflections: one entry a method (`--integration`)."""

from collections.abc import Callable, Sequence

from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.frame import Frame
from braggstream.model.settings import IntegrationSettings
from braggstream.steps.integration.boxes import BoxIntegrator

Integrated = tuple[tuple[Crystal, ...], list[str]]
"""The crystals with what was measured, and complaints, one line each."""

Integrator = Callable[[Frame, Sequence[Crystal]], Integrated]


def _not_at_all(_: IntegrationSettings) -> Integrator:
    return lambda _frame, crystals: (tuple(crystals), [])


INTEGRATORS: dict[str, Callable[[IntegrationSettings], Integrator]] = {
    "rings": BoxIntegrator,
    "prof2d": BoxIntegrator,
    "none": _not_at_all,
}


def make_integrator(settings: IntegrationSettings) -> Integrator:
    """Make the integrator that the user chose; raises `UserError` where there is none."""
    if settings.method not in INTEGRATORS:
        raise UserError(f"--integration={settings.method}: expected one of {', '.join(INTEGRATORS)}")
    return INTEGRATORS[settings.method](settings)
