"""The reference's peak searches written out with NumPy and lists, straight from their rules, for small frames."""

import numpy as np

NEIGHBOURS = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)]


def peakfinder8(frame, chosen):
    """Rows of panel, fs, ss, intensity."""
    images = [frame.panel_pixels(number).astype(np.float64) for number in range(frame.detector.n_panels)]
    radii = [radius_map(frame.detector, number) for number in range(len(images))]
    used = []
    for number, radius in enumerate(radii):
        inside = (radius > chosen.min_res) & ((chosen.max_res == 0) | (radius < chosen.max_res))
        used.append(inside & (frame.panel_bad(number) == 0))
    bins = [np.rint(radius).astype(int) for radius in radii]
    offset, upper = radial_limits(images, bins, used, chosen)
    found, budget = [], 2048
    for number, image in enumerate(images):
        limit = upper[bins[number]]
        for row, highest in regions(image, offset[bins[number]], limit, used[number], chosen):
            if budget == 0:
                break
            budget -= 1
            if chosen.use_saturated or not highest > frame.detector.max_adu[number]:
                found.append((number, *row))
    return np.array(found).reshape(-1, 4)


def radius_map(detector, number):
    corner, fs_step, ss_step = detector.poses[number] / detector.pixel_size[number]
    ss, fs = np.mgrid[: detector.height[number], : detector.width[number]]
    x = np.trunc(corner[0] + fs * fs_step[0] + ss * ss_step[0])
    y = np.trunc(corner[1] + fs * fs_step[1] + ss * ss_step[1])
    return np.sqrt(x**2 + y**2).astype(np.float32)


def radial_limits(images, bins, used, chosen):
    values = np.concatenate([image[mask] for image, mask in zip(images, used, strict=True)])
    numbers = np.concatenate([of_panel[mask] for of_panel, mask in zip(bins, used, strict=True)])
    n_bins = max(int(of_panel.max()) for of_panel in bins) + 1
    lower, upper, offset = np.full(n_bins, -1e9), np.full(n_bins, 1e9), np.zeros(n_bins)
    for _ in range(5):
        accepted = (lower[numbers] < values) & (values < upper[numbers])
        for number in range(n_bins):
            inside = values[accepted & (numbers == number)]
            if len(inside) == 0:
                offset[number] = 0.0
                upper[number], lower[number] = np.finfo(np.float32).max, np.finfo(np.float32).tiny
                continue
            mean = inside.sum() / len(inside)
            square = (inside**2).sum() / len(inside) - mean**2
            sigma = np.sqrt(square) if square >= 0 else square
            offset[number] = mean
            upper[number] = max(mean + chosen.min_snr * sigma, chosen.threshold)
            lower[number] = mean - chosen.min_snr * sigma
    return offset, upper


def regions(image, offset, limit, used, chosen):
    """(fs, ss, intensity) and the highest pixel of each accepted region of a panel."""
    height, width = image.shape
    above = used & (image > limit)
    seen = np.zeros(image.shape, bool)
    for ss in range(1, height - 1):
        for fs in range(1, width - 1):
            if above[ss, fs] and not seen[ss, fs]:
                pixels = grown(above, seen, fs, ss)
                if chosen.min_pix_count <= len(pixels) <= chosen.max_pix_count:
                    measured = measured_region(image, offset, limit, used & ~seen, pixels, chosen)
                    if measured:
                        yield measured


def grown(above, seen, fs, ss):
    queue = [(fs, ss)]
    seen[ss, fs] = True
    for fs, ss in queue:  # noqa: PLR1704
        for dfs, dss in NEIGHBOURS:
            x, y = fs + dfs, ss + dss
            if 0 <= x < above.shape[1] and 0 <= y < above.shape[0] and above[y, x] and not seen[y, x]:
                seen[y, x] = True
                queue.append((x, y))
    return np.array(queue)


def measured_region(image, offset, limit, free, pixels, chosen):
    height, width = image.shape
    fs, ss = pixels.T
    values = image[ss, fs]
    weights = np.abs(values - offset[ss, fs])
    if weights.sum() < 1e-10:
        return None
    cf, cs = int(np.rint((weights * fs).sum() / weights.sum())), int(np.rint((weights * ss).sum() / weights.sum()))
    reach = 2 * chosen.local_bg_radius
    around = []
    for j in range(-reach, reach):
        for i in range(-reach, reach):
            x, y = cf + i, cs + j
            inside = np.hypot(i, j) <= reach and 0 <= x < width and 0 <= y < height
            if inside and free[y, x] and image[y, x] < limit[y, x]:
                around.append(image[y, x])
    around = np.array(around)
    if len(around):
        mean, largest = around.sum() / len(around), max(0.0, around.max())
        square = (around**2).sum() / len(around) - mean**2
        sigma = np.sqrt(square) if square >= 0 else 0.01
    else:
        mean, sigma, largest = offset[cs, cf], 0.01, 0.0
    total, raw, highest = (values - mean).sum(), values.sum(), max(0.0, (values - mean).max())
    if abs(raw) < 1e-10:
        return None
    x, y = (values * fs).sum() / abs(raw), (values * ss).sum() / abs(raw)
    snr = total / sigma if abs(sigma) > 1e-10 else 0.0
    if snr < chosen.min_snr or highest < largest - mean or not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return None
    return (x + 0.5, y + 0.5, total), highest


def three_rings(image, bad, centre, radii, max_adu, gain):
    """Fs, ss, intensity, sigma and whether it is saturated; None where the integration fails."""
    r1, r2, r3 = radii
    height, width = image.shape
    reach = int(r3)
    ring, disc = [], []
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            rho2, x, y = dfs**2 + dss**2, centre[0] + dfs, centre[1] + dss
            in_ring, in_disc = r2**2 <= rho2 <= r3**2, rho2 <= r1**2
            if not (in_ring or in_disc):
                continue
            if not (0 <= x < width and 0 <= y < height) or bad[y, x]:
                return None
            if in_ring:
                ring.append(float(image[y, x]))
            if in_disc:
                disc.append((x, y, float(image[y, x])))
    if not ring:
        return None
    background, variance = np.mean(ring), np.mean(np.square(ring)) - np.mean(ring) ** 2
    x, y, values = np.array(disc).T
    above = values - background
    total = above.sum()
    spread = len(above) * variance + gain * total
    if total == 0 or spread < 0:
        return None
    is_saturated = max(values.max(), *ring) > max_adu
    return (above * x).sum() / total + 0.5, (above * y).sum() / total + 0.5, total, np.sqrt(spread), is_saturated


def zaef(frame, chosen):
    """Rows of panel, fs, ss, intensity."""
    found = []
    for number in range(frame.detector.n_panels):
        image, bad = frame.panel_pixels(number).astype(np.float32), frame.panel_bad(number)
        max_adu, gain = frame.detector.max_adu[number], frame.detector.adu_per_photon[number]
        here = []
        for foot in feet(image, chosen, max_adu):
            top = climbed(image, foot, chosen.radii[0])
            measured = three_rings(image, bad, top, chosen.radii, max_adu, gain) if top else None
            if measured is None:
                continue
            fs, ss, intensity, sigma, is_saturated = measured
            inside = 0 <= fs <= image.shape[1] and 0 <= ss <= image.shape[0]
            is_new = all(np.hypot(fs - x, ss - y) >= 2 * chosen.radii[0] for x, y, _ in here)
            is_strong = sigma == 0 or abs(intensity) / sigma >= chosen.min_snr
            if inside and is_strong and is_new and (chosen.use_saturated or not is_saturated):
                here.append((fs, ss, intensity))
        found += [(number, *row) for row in here]
    return np.array(found).reshape(-1, 4)


def feet(image, chosen, max_adu):
    height, width = image.shape
    for ss in range(1, height - 1):
        for fs in range(1, width - 1):
            value = image[ss, fs]
            if value < chosen.threshold or (not chosen.use_saturated and value > max_adu):
                continue
            steps = [value - image[ss, fs + 1], image[ss, fs - 1] - value]
            steps += [value - image[ss + 1, fs + 1], image[ss - 1, fs] - value]
            if not sum(float(step) ** 2 for step in steps) / 2 < chosen.min_squared_gradient:
                yield fs, ss


def climbed(image, foot, radius):
    """The top of the hill, found with a window that follows the climber; None where it is too far away."""
    height, width = image.shape
    fs, ss = foot
    while True:
        before, best = (fs, ss), image[ss, fs]
        y = int(max(ss - radius, 0))
        while y <= min(ss + radius, height - 1):
            x = int(max(fs - radius, 0))
            while x <= min(fs + radius, width - 1):
                if image[y, x] > best:
                    best, fs, ss = image[y, x], x, y
                x += 1
            y += 1
        if np.hypot(fs - foot[0], ss - foot[1]) > radius:
            return None
        if (fs, ss) == before:
            return fs, ss
