"""Ring and profile integration as the rules state them: a map of counters, classes of pixels, all with NumPy."""

from itertools import pairwise

import numpy as np

EXCLUDED, PEAK, BACKGROUND, IGNORED = range(4)


def counter_maps(detector, tables, radius):
    """How many peak regions of all crystals cover each pixel, one map a panel."""
    maps = [np.zeros((h, w), int) for w, h in zip(detector.width, detector.height, strict=True)]
    for table in tables:
        for panel, fs, ss in zip(table.panel, table.fs, table.ss, strict=True):
            counters = maps[panel]
            for ds in range(-radius, radius + 1):
                for df in range(-radius, radius + 1):
                    x, y = int(np.floor(fs + df)), int(np.floor(ss + ds))
                    inside = 0 <= x < counters.shape[1] and 0 <= y < counters.shape[0]
                    if df * df + ds * ds <= radius * radius and inside:
                        counters[y, x] += 1
    return maps


class Box:
    """The pixels around one pixel of a panel, in classes; `is_good` tells whether they can be integrated."""

    def __init__(self, frame, panel, centre, counters, radii):
        r1, r2, r3 = radii
        x, y = centre
        image = frame.panel_pixels(panel)
        height, width = image.shape
        self.is_good = r3 <= x < width - r3 and r3 <= y < height - r3
        if not self.is_good:
            return
        window = (slice(y - r3, y + r3 + 1), slice(x - r3, x + r3 + 1))
        self.values, claims = image[window].astype(np.float64), counters[window]
        bad = frame.panel_bad(panel)[window] != 0
        self.q, self.p = np.mgrid[: 2 * r3 + 1, : 2 * r3 + 1]
        rho2 = (self.p - r3) ** 2 + (self.q - r3) ** 2
        kind = np.full(rho2.shape, IGNORED)
        kind[(r2**2 <= rho2) & (rho2 <= r3**2)] = BACKGROUND
        kind[rho2 <= r1**2] = PEAK
        self.is_good = not (bad & (kind == PEAK)).any()
        kind[bad | ((kind != PEAK) & (claims > 0)) | ((kind == PEAK) & (claims > 1))] = EXCLUDED
        self.kind = kind
        self.peak, self.background = kind == PEAK, kind == BACKGROUND
        self.is_good = self.is_good and self.peak.sum() >= 4 and self.background.sum() >= 4
        if not self.is_good:
            return
        used = self.peak | self.background
        limit = np.full(rho2.shape, frame.detector.max_adu[panel])
        if frame.saturation is not None:
            start, stop = frame.detector.starts[panel : panel + 2]
            limit = np.minimum(limit, frame.saturation[start:stop].reshape(image.shape)[window])
        self.is_saturated = bool((self.values > limit)[used].any())
        self.highest = self.values[used].max()

    def fit(self, sloping):
        """Lay a plane through the background."""
        values = self.values[self.background]
        plane = np.array([0.0, 0.0, values.mean()])
        if sloping:
            columns = np.c_[self.p[self.background], self.q[self.background], np.ones(len(values))]
            plane = np.linalg.lstsq(columns, values, rcond=None)[0]
        self.slope = np.abs(plane[:2]).max()
        self.plane = plane[0] * self.p + plane[1] * self.q + plane[2]

    def has_steep_background(self):
        highest = max(0.0, self.values[self.peak].max())
        return self.slope > abs(highest - self.plane[self.peak].mean()) / 10


def integrated(frame, tables, settings):
    """For each reflection: None, or intensity, sigma, peak, background, shifts, and whether it is saturated."""
    radii = tuple(int(radius) for radius in settings.radii)
    maps = counter_maps(frame.detector, tables, radii[0])
    return [
        [
            one_reflection(frame, panel, (int(fs), int(ss)), maps[panel], radii, settings)
            for panel, fs, ss in zip(table.panel, table.fs, table.ss, strict=True)
        ]
        for table in tables
    ]


def one_reflection(frame, panel, start, counters, radii, settings):
    box = Box(frame, panel, start, counters, radii)
    if not box.is_good:
        return None
    box.fit(settings.gradient)
    centre = start
    if settings.centre:
        box, centre = centred(frame, panel, start, counters, radii, settings, box)
        if box is None:
            return None
    elif settings.gradient and box.has_steep_background():
        return None
    above = (box.values - box.plane)[box.peak]
    total, gain = above.sum(), frame.detector.adu_per_photon[panel]
    term = gain * gain if abs(total / gain) < 1 else gain * abs(total)
    background = box.values[box.background]
    sigma = np.sqrt(term + len(above) * background.var())
    shifts = (centre[0] - start[0], centre[1] - start[1])
    return total, sigma, box.highest, background.mean(), *shifts, box.is_saturated


def centred(frame, panel, centre, counters, radii, settings, box):
    """Follow the strongest pixel, ten times at most."""
    n_strong = 0
    for _ in range(10):
        strong = (box.kind != EXCLUDED) & (box.values > 3 * box.plane)
        n_strong += strong.sum()
        if n_strong < 2 or not strong.any():
            break
        q, p = np.unravel_index(np.argmax(np.where(strong, box.values, -np.inf)), strong.shape)
        move = (int(p) - radii[2], int(q) - radii[2])
        if move == (0, 0):
            break
        centre = (centre[0] + move[0], centre[1] + move[1])
        box = Box(frame, panel, centre, counters, radii)
        if not box.is_good:
            return None, centre
        box.fit(settings.gradient)
    return box, centre


def profile_fitted(frame, tables, settings):
    """As `integrated`, with intensity and sigma from the profile of the frame."""
    radii = tuple(int(radius) for radius in settings.radii)
    maps = counter_maps(frame.detector, tables, radii[0])
    boxes = []
    for table in tables:
        for panel, fs, ss in zip(table.panel, table.fs, table.ss, strict=True):
            boxes.append(usable_box(frame, panel, (int(fs), int(ss)), maps[panel], radii, settings))
    shape = (2 * radii[2] + 1,) * 2
    above, weight = np.zeros(shape), np.zeros(shape)
    for box in boxes:
        if box is None or (box.is_saturated and not settings.keep_saturated) or box.has_steep_background():
            continue
        if max(0, box.values[box.peak].max()) > 10 * box.plane[box.peak].mean():
            total = (box.values - box.plane)[box.peak].sum()
            free = box.kind != EXCLUDED
            above[free] += (box.values - box.plane)[free] * total
            weight[free] += total**2
    profile = np.divide(above, weight, out=np.zeros(shape), where=weight > 0)
    rows = [
        None if not profile.max() > 0 or box is None else fitted(box, profile * 100 / profile.max())
        for box in boxes
    ]
    stops = np.cumsum([0] + [len(table) for table in tables])
    return [rows[a:b] for a, b in pairwise(stops)]


def usable_box(frame, panel, start, counters, radii, settings):
    box = Box(frame, panel, start, counters, radii)
    centre = start
    if box.is_good:
        box.fit(settings.gradient)
        if settings.centre:
            box, centre = centred(frame, panel, start, counters, radii, settings, box)
    if box is None or not box.is_good:
        return None
    box.shifts = (centre[0] - start[0], centre[1] - start[1])
    return box


def fitted(box, profile):
    if box.has_steep_background():
        return None
    shape, above = profile[box.peak], (box.values - box.plane)[box.peak]
    height = (shape * above).sum() / (shape**2).sum()
    background = box.values[box.background]
    sigma = np.sqrt(((height * shape - above) ** 2).sum() + ((background - background.mean()) ** 2).sum())
    return height * shape.sum(), sigma, box.highest, background.mean(), *box.shifts, box.is_saturated
