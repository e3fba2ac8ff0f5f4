"""`--device`: settings for the device that is there, and notices on what cannot run on it."""

from dataclasses import replace

from braggstream.model.settings import Settings
from braggstream.steps.device import CPU, choose_device
from braggstream.steps.indexing.methods import NO_INDEXING, ON_CUDA
from braggstream.steps.peaks import CUDA_PEAK_METHODS


def settings_on_device(settings: Settings, word: str) -> tuple[Settings, list[str]]:
    """Give settings that let kernels run where the user wants them, and notices, one line each.

    Raises
    ------
    UserError
        For an unknown device, and for `cuda` where there is none.
    """
    device, notice = choose_device(word)
    notices = [] if notice is None else [notice]
    if device == CPU:
        return settings, notices
    on_cpu = [f"--indexing={name}" for name in settings.indexing.methods if name not in (*ON_CUDA, NO_INDEXING)]
    if settings.peaks.method not in (*CUDA_PEAK_METHODS, "none"):
        on_cpu.insert(0, f"--peaks={settings.peaks.method}")
    notices += [f"--device={word}: {option} has no CUDA kernels and runs on the CPU" for option in on_cpu]
    peaks, indexing = replace(settings.peaks, device=device), replace(settings.indexing, device=device)
    return replace(settings, peaks=peaks, indexing=indexing), notices
