"""The filters and peakfinder9 written out with NumPy and lists, straight from their rules, for small frames."""

import numpy as np


def median_filtered(image, radius):
    height, width = image.shape
    found = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            window = image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            found[y, x] = image[y, x] - np.sort(window, axis=None)[window.size // 2]
    return found


def noise_filtered(image):
    height, width = image.shape
    found = image.copy()
    for y in range(height):
        for x in range(width):
            if (image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] < 0).any():
                found[y, x] = 0
    return found


def peakfinder9(frame, chosen):
    """Rows of panel, fs, ss, intensity."""
    found, radius = [], chosen.local_bg_radius
    for number in range(frame.detector.n_panels):
        image = frame.panel_pixels(number).astype(np.float64)
        image[frame.panel_bad(number) != 0] = -np.inf
        height, width = image.shape
        padded = np.pad(image, 1, constant_values=-np.inf)
        for y in range(radius, height - radius):
            for x in range(radius, width - radius):
                row = top(image, padded, x, y, chosen)
                if row:
                    found.append((number, *row))
    return np.array(found).reshape(-1, 4)


def top(image, padded, x, y, chosen):
    radius, value = chosen.local_bg_radius, image[y, x]
    around = [image[y + j, x + i] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    if not np.isfinite(value) or not all(value > other for other in around):
        return None
    sides = [image[y + j, x + i * radius] for i in (-1, 1) for j in (-1, 0, 1)]
    sides += [image[y + j * radius, x + i] for i in (-1, 0, 1) for j in (-1, 1)]
    if not all(value - chosen.min_peak_over_neighbour > other for other in sides):
        return None
    window = []
    for r in (radius, radius + 1):
        for sign in (-1, 1):
            window += [padded[y + 1 + sign * r, x + 1 + i] for i in range(-2, 3)]
            window += [padded[y + 1 + j, x + 1 + sign * r] for j in range(-2, 3)]
    window = np.array(window)[np.isfinite(window)]
    if len(window) < 4:
        return None
    mean, sigma = window.mean(), max(window.std(ddof=1), chosen.min_sig)
    if not value > mean + chosen.min_snr_biggest_pix * sigma:
        return None
    members = [(x, y)]
    for r in range(1, radius):
        ring = [(x + i, y + j) for j in range(-r, r + 1) for i in range(-r, r + 1) if max(abs(i), abs(j)) == r]
        more = [(i, j) for i, j in ring if image[j, i] > mean + chosen.min_snr_peak_pix * sigma]
        members += more
        if not more:
            break
    values = np.array([image[j, i] for i, j in members])
    if not values.sum() - len(values) * mean > chosen.min_snr * sigma:
        return None
    if values.sum() == 0:
        return None
    fs, ss = (np.array(members) * values[:, None]).sum(axis=0) / values.sum()
    if not (0 <= fs <= image.shape[1] - 1 and 0 <= ss <= image.shape[0] - 1):
        return None
    return fs + 0.5, ss + 0.5, values.sum() - len(values) * mean
