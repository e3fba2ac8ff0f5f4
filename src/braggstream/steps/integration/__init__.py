"""Integration of predicted reflections: a method is one module and one line in `INTEGRATORS` (`--integration`)."""

from collections.abc import Callable, Mapping, Sequence

from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.frame import Frame
from braggstream.model.near_names import expected_one_of
from braggstream.model.settings import IntegrationSettings
from braggstream.steps.registry import make

Integrated = tuple[tuple[Crystal, ...], list[str]]
"""The crystals with what was measured, and complaints, one line each."""

Integrator = Callable[[Frame, Sequence[Crystal]], Integrated]


def not_at_all(_: IntegrationSettings) -> Integrator:
    """Make the integrator that leaves crystals as they are."""
    return lambda _frame, crystals: (tuple(crystals), [])


INTEGRATORS: Mapping[str, str] = {
    "rings": "braggstream.steps.integration.boxes:BoxIntegrator",
    "prof2d": "braggstream.steps.integration.boxes:BoxIntegrator",
    "none": "braggstream.steps.integration:not_at_all",
}
"""Method name -> `module:factory`; the factory takes the settings and gives an integrator."""


def make_integrator(settings: IntegrationSettings) -> Integrator:
    """Make the integrator that the user chose; raises `UserError` where there is none."""
    if settings.method not in INTEGRATORS:
        raise UserError(f"--integration={settings.method}: {expected_one_of(settings.method, INTEGRATORS)}")
    integrator: Integrator = make(INTEGRATORS[settings.method], settings)
    return integrator
