"""Messages of detectors' series, made with cbor2 and json."""

import json

import cbor2
import numpy as np

from formats.image_frames import HEIGHT, WIDTH

STATED = {
    "beam_center_x": 30.5,
    "beam_center_y": 20.25,
    "detector_distance": 0.125,
    "image_size_x": WIDTH,
    "image_size_y": HEIGHT,
    "incident_energy": 12000.0,
    "pixel_size_x": 1e-4,
    "pixel_size_y": 1e-4,
}
TAGS = {"uint8": 64, "uint16": 69, "uint32": 70, "uint64": 71, "int16": 77, "int32": 78}


def typed(values, *, order=40):
    """An array as RFC 8746 has it; 1040 is column-major."""
    data = values.tobytes("F" if order == 1040 else "C")
    return cbor2.CBORTag(order, [list(values.shape), cbor2.CBORTag(TAGS[values.dtype.name], data)])


def start(series=3, *, name="", **more):
    return cbor2.dumps(_of("start", series, name) | STATED | more)


def image(values, number=0, *, series=3, name="", channel="default", **more):
    told = _of("image", series, name) | {"image_id": number, "data": {channel: typed(values)}}
    return cbor2.dumps(told | more)


def end(series=3, *, name="", **more):
    return cbor2.dumps(_of("end", series, name) | more)


def _of(kind, series, name):
    told = {"type": kind, "series_id": series}
    return told | {"series_unique_id": name} if name else told


def start_1(series=3, *, detail="basic", appendix=None, **more):
    """Parts of a header message of version 1; a header without detail has no configuration."""
    told = {"photon_energy": 12000.0, "detector_distance": 0.125, "beam_center_x": 30.5, "beam_center_y": 20.25}
    told |= {"x_pixel_size": 1e-4, "y_pixel_size": 1e-4, "x_pixels_in_detector": WIDTH, "nimages": 10}
    told |= {"y_pixels_in_detector": HEIGHT, "ntrigger": 1} | more
    parts = [{"htype": "dheader-1.0", "series": series, "header_detail": detail}]
    parts += [] if detail == "none" else [told]
    appended = [] if appendix is None else [appendix]
    return [*(json.dumps(part).encode() for part in parts), *appended]


def image_1(values, number=0, *, series=3, appendix=None, config=b'{"htype": "dconfig-1.0", "start_time": 7}'):
    """Parts of an image message of version 1, not compressed."""
    told = {"htype": "dimage_d-1.0", "shape": list(values.shape[::-1]), "type": values.dtype.name}
    told |= {"encoding": "<", "size": values.nbytes}
    head = {"htype": "dimage-1.0", "series": series, "frame": number, "hash": ""}
    appended = [] if appendix is None else [appendix]
    return [json.dumps(head).encode(), json.dumps(told).encode(), values.tobytes(), config, *appended]


def made(dtype="<u2", seed=4):
    return np.random.default_rng(seed).poisson(3.0, (HEIGHT, WIDTH)).astype(dtype)
