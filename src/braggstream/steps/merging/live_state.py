"""A live merge as plain values and arrays, and back: what a checkpoint holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.steps.merging.live_crystals import NumberedCrystal
from braggstream.steps.merging.live_merge import LiveMerge

COUNTS = ("n_crystals", "n_merged", "n_measurements", "n_ungrouped")


def state_of(merge: LiveMerge) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Give the state of a merge whose beginning is over (`LiveMerge.is_settled`)."""
    values: dict[str, Any] = {name: getattr(merge, name) for name in COUNTS}
    values |= {"groups": list(merge.sums.of_group), "n_of_group": merge.n_of_group}
    arrays: dict[str, NDArray] = {**merge.sums.arrays(), "bins": merge.bins}
    if merge.scaling is not None:
        values["scaling"] = merge.scaling.state()
    ambiguity = merge.ambiguity
    if ambiguity is not None:
        values["ambiguity"] = [ambiguity.outcome, ambiguity.agreement, ambiguity.n_of_label, ambiguity.n_dropped]
        pending = list(ambiguity.pending)
        values["pending"] = [[each.half, each.group] for each in pending]
        if pending:
            arrays["rows"], arrays["observed"], arrays["start"] = ambiguity.pending.joined()
    return values, arrays


def take_state(merge: LiveMerge, values: dict[str, Any], arrays: dict[str, NDArray]) -> None:
    """Go on from a state; the merge is new and has the same settings.

    Raises
    ------
    ValueError, KeyError, TypeError
        The state makes no sense.
    """
    merge.sums.take_arrays(arrays, tuple(values["groups"]))
    for name in COUNTS:
        setattr(merge, name, int(values[name]))
    merge.n_of_group.update({str(name): int(n) for name, n in values["n_of_group"].items()})
    merge.bins[:] = arrays["bins"]
    if merge.scaling is not None:
        merge.scaling.take_state(values["scaling"])
    if merge.ambiguity is not None:
        ambiguity = merge.ambiguity
        ambiguity.outcome, ambiguity.agreement, n_of_label, n_dropped = values["ambiguity"]
        ambiguity.n_of_label, ambiguity.n_dropped = [int(n) for n in n_of_label], int(n_dropped)
        for crystal in _pending(values, arrays):
            ambiguity.pending.put(crystal)


def _pending(values: dict[str, Any], arrays: dict[str, NDArray]) -> list[NumberedCrystal]:
    crystals = []
    for number, (half, group) in enumerate(values["pending"]):
        first, stop = arrays["start"][number : number + 2].tolist()
        rows = np.ascontiguousarray(arrays["rows"][:, first:stop], np.int32)
        observed = np.ascontiguousarray(arrays["observed"][:, first:stop], np.float64)
        crystals.append(NumberedCrystal(rows=rows, observed=observed, half=int(half), group=str(group)))
    return crystals
