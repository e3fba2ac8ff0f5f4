"""Reads the text of stream files into columns: crystals, and what was measured of each.

It goes over the bytes once, line by line.  Lines that merging has no use for are passed over.
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

NEWLINE, RETURN, SPACE, TAB = 10, 13, 32, 9
MINUS, PLUS, POINT, ZERO, NINE = 45, 43, 46, 48, 57
_E, _EQUALS = 69, 61
MAX_DIGITS = 18
MAX_EXPONENT = 400
MAX_INDEX = 32767
POWERS = np.array([10.0**k for k in range(23)])

# Columns of `numbers`, in the units of the file.
AXES, ENERGY, BANDWIDTH, RADIUS, LIMIT, SHIFT_X, SHIFT_Y, SERIAL, SATURATED, N_NUMBERS = 0, *range(9, 18)
# Columns of `spans`: where a text begins; where it ends is in the next column.
FILENAME, EVENT, METHOD, LATTICE, CENTRING, UNIQUE_AXIS, N_SPANS = 0, 2, 4, 6, 8, 10, 12
# Columns of `counts`.
CRYSTALS, OBSERVATIONS, LINES, CHUNKS, TORN, INCOMPLETE, PROBLEMS, N_COUNTS = range(8)
# Rows of `values`.
INTENSITY, SIGMA, PEAK, BACKGROUND, FS, SS, N_VALUES = range(7)
N_FIELDS = 3 + N_VALUES
# Kinds of problems.
BAD_REFLECTION, NO_CELL, BAD_VALUE, NO_END = 1, 2, 3, 4

_LINES = (
    b"----- Begin chunk -----",
    b"----- End chunk -----",
    b"--- Begin crystal",
    b"--- End crystal",
    b"Peaks from peak search",
    b"End of peak list",
    b"Reflections measured after indexing",
    b"End of reflections",
)
_CHUNK, _CHUNK_END, _CRYSTAL, _CRYSTAL_END, _PEAKS, _PEAKS_END, _REFLECTIONS, _REFLECTIONS_END = range(8)
_TEXTS = (b"Image filename: ", b"Event: ", b"indexed_by = ", b"lattice_type = ", b"centering = ", b"unique_axis = ")
_FIRST_TEXT, _FIRST_TEXT_OF_CRYSTAL, _FIRST_NUMBER = 8, 11, 14
_NUMBERS_OF_CHUNK = (b"photon_energy_eV = ", b"beam_bandwidth = ", b"Image serial number: ")
_NUMBERS_OF_CRYSTAL = (
    b"profile_radius = ",
    b"diffraction_resolution_limit = ",
    b"num_saturated_reflections = ",
    b"astar = ",
    b"bstar = ",
    b"cstar = ",
    b"predict_refine/det_shift x = ",
)
_FIRST_OF_CRYSTAL, _ASTAR, _SHIFT = 17, 20, 23
_PLACES = np.array([ENERGY, BANDWIDTH, SERIAL, RADIUS, LIMIT, SATURATED, AXES, AXES + 3, AXES + 6, SHIFT_X])
_ALL = (*_LINES, *_TEXTS, *_NUMBERS_OF_CHUNK, *_NUMBERS_OF_CRYSTAL)
_LENGTHS = np.array([len(word) for word in _ALL])
_WORDS = np.zeros((len(_ALL), int(_LENGTHS.max())), np.uint8)
for _number, _word in enumerate(_ALL):
    _WORDS[_number, : len(_word)] = np.frombuffer(_word, np.uint8)


@inline_jit
def _line_end(data: NDArray[np.uint8], at: int, end: int) -> int:
    while at < end and data[at] != NEWLINE:
        at += 1
    return at


@inline_jit
def _starts(data: NDArray[np.uint8], at: int, end: int, word: int) -> bool:
    """Tell whether the text starts with a word."""
    length = _LENGTHS[word]
    if end - at < length:
        return False
    for k in range(length):  # noqa: SIM110
        if data[at + k] != _WORDS[word, k]:
            return False
    return True


@inline_jit
def _marker(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Tell which of the lines that mark a part of the file this is; -1 where it is none."""
    if end > at and data[end - 1] == RETURN:
        end -= 1
    for word in range(_FIRST_TEXT):
        if _LENGTHS[word] == end - at and _starts(data, at, end, word):
            return word
    return -1


@inline_jit
def _letter(data: NDArray[np.uint8], at: int, end: int) -> int:
    return data[at] | 32 if at < end else 0


@inline_jit
def _word_number(data: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """Read `nan` or `inf`; the place is -1 where it is neither."""
    a, b, c = _letter(data, at, end), _letter(data, at + 1, end), _letter(data, at + 2, end)
    if a == 110 and b == 97 and c == 110:
        return np.nan, at + 3
    if a == 105 and b == 110 and c == 102:
        return np.inf, at + 3
    return 0.0, -1


@inline_jit
def read_number(data: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """Read a number and give it with the place behind it, which is -1 where there is none."""
    while at < end and (data[at] == SPACE or data[at] == TAB):
        at += 1
    if at >= end:
        return 0.0, -1
    negative = data[at] == MINUS
    if negative or data[at] == PLUS:
        at += 1
    mantissa, n_digits, exponent, first = 0, 0, 0, at
    while at < end and ZERO <= data[at] <= NINE:
        if n_digits < MAX_DIGITS:
            mantissa = mantissa * 10 + (data[at] - ZERO)
            n_digits += mantissa > 0
        else:
            exponent += 1
        at += 1
    n_read = at - first
    if at < end and data[at] == POINT:
        at += 1
        first = at
        while at < end and ZERO <= data[at] <= NINE:
            if n_digits < MAX_DIGITS:
                mantissa = mantissa * 10 + (data[at] - ZERO)
                n_digits += mantissa > 0
                exponent -= 1
            at += 1
        n_read += at - first
    if n_read == 0:
        value, at = _word_number(data, at, end)
    else:
        if at < end and data[at] | 32 == 101:
            power, n_power, sign, place = 0, 0, 1, at + 1
            if place < end and (data[place] == MINUS or data[place] == PLUS):
                sign = -1 if data[place] == MINUS else 1
                place += 1
            while place < end and ZERO <= data[place] <= NINE:
                power = min(power * 10 + (data[place] - ZERO), MAX_EXPONENT)
                n_power += 1
                place += 1
            if n_power > 0:
                exponent += sign * power
                at = place
        if exponent == 0:
            value = float(mantissa)
        elif -22 <= exponent < 0:
            value = mantissa / POWERS[-exponent]
        else:
            value = mantissa * 10.0**exponent
    return -value if negative else value, at


@inline_jit
def _panel(
    data: NDArray[np.uint8], at: int, end: int, names: NDArray[np.uint8], lengths: NDArray[np.int64], last: int
) -> int:
    """Find a panel by its name, the one of the line before first; -1 where it is not known."""
    n_panels = lengths.shape[0]
    for step in range(n_panels):
        panel = last + step
        if panel >= n_panels:
            panel -= n_panels
        if lengths[panel] == end - at:
            k = end - at - 1
            while k >= 0 and names[panel, k] == data[at + k]:
                k -= 1
            if k < 0:
                return panel
    return -1


@inline_jit
def _read_list(
    data: NDArray[np.uint8],
    at: int,
    names: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    hkl: NDArray[np.int16],
    values: NDArray[np.float32],
    panel: NDArray[np.int16],
    n: int,
) -> tuple[int, int]:
    """Read lines of a reflection list, up to one that is none; gives where that is, and the next free place.

    All of it is written out here: a call for each number would take longer than reading it.
    """
    end, begin, last = data.shape[0], at, 0
    while True:
        begin, field = at, 0
        while field < N_FIELDS:
            while at < end and (data[at] == SPACE or data[at] == TAB):
                at += 1
            first = at
            negative = at < end and data[at] == MINUS
            at += negative
            whole, digits = 0, at
            while at < end and ZERO <= data[at] <= NINE:
                whole = whole * 10 + (data[at] - ZERO)
                at += 1
            if field < 3:
                if at == digits or at > digits + 9 or at >= end or data[at] > SPACE or whole > MAX_INDEX:
                    return begin, n
                hkl[n, field] = -whole if negative else whole
                field += 1
                continue
            value = 0.0
            is_usual = digits < at <= digits + 15 and at + 3 < end and data[at] == POINT
            if is_usual and ZERO <= data[at + 1] <= NINE and data[at + 2] <= SPACE:
                value = (whole * 10 + (data[at + 1] - ZERO)) / 10.0
                at += 2
            elif (
                is_usual and ZERO <= data[at + 1] <= NINE and ZERO <= data[at + 2] <= NINE and data[at + 3] <= SPACE
            ):
                value = (whole * 100 + (data[at + 1] - ZERO) * 10 + (data[at + 2] - ZERO)) / 100.0
                at += 3
            else:
                value, at = read_number(data, first, end)
                negative = False
                if at < 0 or at >= end or data[at] > SPACE:
                    return begin, n
            values[field - 3, n] = -value if negative else value
            field += 1
        while at < end and (data[at] == SPACE or data[at] == TAB):
            at += 1
        first = at
        while at < end and data[at] > SPACE:
            at += 1
        if first == at:
            return begin, n
        k = 0
        if lengths[last] == at - first:
            while k < at - first and names[last, k] == data[first + k]:
                k += 1
        if lengths[last] == at - first == k:
            panel[n] = last
        else:
            found = _panel(data, first, at, names, lengths, last)
            panel[n] = found
            last = max(found, 0)
        while at < end and data[at] != NEWLINE:
            if data[at] > SPACE:
                return begin, n
            at += 1
        at += 1
        n += 1


@inline_jit
def _skip_peaks(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Pass over a peak list; gives the place of the next line, and the number of lines."""
    end, n_lines = data.shape[0], 0
    while at < end:
        stop = _line_end(data, at, end)
        # The marker of a chunk inside a list: its writer was killed.
        if data[at] == MINUS:
            break
        is_last = data[at] == _E and _marker(data, at, stop) == _PEAKS_END
        at = stop + 1
        n_lines += 1
        if is_last:
            break
    return at, n_lines


@inline_jit
def _take_text(
    data: NDArray[np.uint8], begin: int, end: int, first: int, last: int, spans: NDArray[np.int64]
) -> bool:
    """Note where the text of a line begins and ends, if it is one of the words from `first` to before `last`."""
    for word in range(first, last):
        if _starts(data, begin, end, word):
            place = 2 * (word - _FIRST_TEXT)
            spans[place], spans[place + 1] = begin + _LENGTHS[word], end
            return True
    return False


@inline_jit
def _take_number(
    data: NDArray[np.uint8], begin: int, end: int, first: int, last: int, numbers: NDArray[np.float64]
) -> bool:
    """Read the numbers of a line, if it is one of these words; tells whether there is nothing wrong with it."""
    for word in range(first, last):
        if not _starts(data, begin, end, word):
            continue
        n_wanted = 3 if _ASTAR <= word < _SHIFT else 2 if word == _SHIFT else 1
        at = begin + _LENGTHS[word]
        for read in range(n_wanted):
            value, at = read_number(data, at, end)
            if at < 0:
                return False
            numbers[_PLACES[word - _FIRST_NUMBER] + read] = value
            if word == _SHIFT:  # Between x and y there is text with an equals sign.
                while at < end and data[at] != _EQUALS:
                    at += 1
                at += 1
        return True
    return True


@inline_jit
def _add_problem(problems: NDArray[np.int64], counts: NDArray[np.int64], line: int, kind: int) -> None:
    n = counts[PROBLEMS]
    if n < problems.shape[0]:
        problems[n, 0], problems[n, 1] = line, kind
    counts[PROBLEMS] += 1


@jit
def read_chunks(
    data: NDArray[np.uint8],
    names: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    numbers: NDArray[np.float64],
    spans: NDArray[np.int64],
    start: NDArray[np.int64],
    hkl: NDArray[np.int16],
    values: NDArray[np.float32],
    panel: NDArray[np.int16],
    problems: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Read the chunks in a piece of a stream file; those that are not whole are left out and counted.

    Parameters
    ----------
    data : uint8[n]
        The text, from the beginning of a line.
    names : uint8[n_panels, longest], lengths : int64[n_panels]
        Names of the panels.
    numbers : float64[n // 18 + 2, N_NUMBERS], written
        Of each crystal; NaN where the file does not tell.
    spans : int64[n // 18 + 2, N_SPANS], written
        Where its texts begin and end in `data`; -1 where there are none.
    start : int64[n // 18 + 3], written
        Where the observations of each crystal begin, and where the last ones end.
    hkl : int16[n // 20 + 2, 3], values : float32[N_VALUES, n // 20 + 2], panel : int16[n // 20 + 2], written
        The observations; panel -1 where the name is not known.
    problems : int64[m, 2], written
        Line and kind of the first ones.
    counts : int64[N_COUNTS], written
        How much was found.
    """
    end_of_data, at = data.shape[0], 0
    n_crystals = n_observations = n_lines = 0
    in_chunk = in_crystal = is_bad = False
    first_crystal = first_observation = first_problem = 0
    counts[:] = 0
    start[0] = 0
    of_chunk, chunk_spans = np.empty(N_NUMBERS), np.empty(N_SPANS, np.int64)
    while at < end_of_data:
        stop = _line_end(data, at, end_of_data)
        begin, at = at, stop + 1
        n_lines += 1
        if stop > begin and data[stop - 1] == RETURN:
            stop -= 1
        mark = _marker(data, begin, stop)
        if not in_chunk:
            if mark == _CHUNK:
                in_chunk, in_crystal = True, False
                first_crystal, first_observation = n_crystals, n_observations
                first_problem = counts[PROBLEMS]
                of_chunk[:] = np.nan
                chunk_spans[:] = -1
            continue
        if mark >= 0:
            if mark == _CHUNK_END:
                counts[CHUNKS] += 1
                in_chunk = False
                is_whole = chunk_spans[FILENAME] >= 0 and of_chunk[ENERGY] > 0.0
                counts[INCOMPLETE] += not is_whole
                counts[TORN] += in_crystal and is_whole
                if in_crystal or not is_whole:
                    n_crystals, n_observations = first_crystal, first_observation
                    counts[PROBLEMS] = first_problem
                for n in range(first_crystal, n_crystals):
                    for k in (ENERGY, BANDWIDTH, SERIAL):
                        numbers[n, k] = of_chunk[k]
                    spans[n, :LATTICE] = chunk_spans[:LATTICE]
                continue
            if mark == _CHUNK:
                counts[TORN] += 1
                in_crystal = False
                n_crystals, n_observations = first_crystal, first_observation
                counts[PROBLEMS] = first_problem
                of_chunk[:] = np.nan
                chunk_spans[:] = -1
                continue
            if mark == _CRYSTAL:
                if in_crystal and not is_bad:
                    _add_problem(problems, counts, n_lines, NO_END)
                in_crystal, is_bad = True, False
                numbers[n_crystals] = np.nan
                spans[n_crystals] = -1
                n_observations = start[n_crystals]
                continue
            if mark == _CRYSTAL_END and in_crystal:
                in_crystal = False
                has_cell = True
                for k in range(9):
                    has_cell = has_cell and abs(numbers[n_crystals, AXES + k]) < np.inf
                if not is_bad and has_cell:
                    n_crystals += 1
                    start[n_crystals] = n_observations
                else:
                    n_observations = start[n_crystals]
                    if not is_bad:
                        _add_problem(problems, counts, n_lines, NO_CELL)
                continue
        if not in_crystal and mark == _PEAKS:
            at, n_skipped = _skip_peaks(data, at)
            n_lines += n_skipped
            continue
        if in_crystal and mark == _REFLECTIONS:
            is_first = True
            while at < end_of_data:
                if not is_bad:
                    n_before = n_observations
                    at, n_observations = _read_list(data, at, names, lengths, hkl, values, panel, n_observations)
                    n_lines += n_observations - n_before
                    is_first = is_first and n_observations == n_before
                    if at >= end_of_data:
                        break
                stop = _line_end(data, at, end_of_data)
                mark = _marker(data, at, stop)
                # The marker of a chunk inside a list: its writer was killed.
                if mark in (_CHUNK, _CHUNK_END):
                    break
                at = stop + 1
                n_lines += 1
                if mark == _REFLECTIONS_END:
                    break
                if not is_bad and not is_first:
                    is_bad = True
                    _add_problem(problems, counts, n_lines, BAD_REFLECTION)
                is_first = False
            continue
        if in_crystal:
            if _take_text(data, begin, stop, _FIRST_TEXT_OF_CRYSTAL, _FIRST_NUMBER, spans[n_crystals]):
                continue
            is_right = _take_number(data, begin, stop, _FIRST_OF_CRYSTAL, _WORDS.shape[0], numbers[n_crystals])
        else:
            if _take_text(data, begin, stop, _FIRST_TEXT, _FIRST_TEXT_OF_CRYSTAL, chunk_spans):
                continue
            is_right = _take_number(data, begin, stop, _FIRST_NUMBER, _FIRST_OF_CRYSTAL, of_chunk)
        if not is_right:
            is_bad = True
            _add_problem(problems, counts, n_lines, BAD_VALUE)
    if in_chunk:
        counts[TORN] += 1
        n_crystals, n_observations = first_crystal, first_observation
        counts[PROBLEMS] = first_problem
    counts[CRYSTALS], counts[OBSERVATIONS], counts[LINES] = n_crystals, n_observations, n_lines


def warm_up() -> None:
    """Compile the kernel for the signature that the formats use."""
    read_chunks(
        np.zeros(1, np.uint8),
        np.zeros((1, 1), np.uint8),
        np.ones(1, np.int64),
        np.zeros((2, N_NUMBERS)),
        np.zeros((2, N_SPANS), np.int64),
        np.zeros(3, np.int64),
        np.zeros((2, 3), np.int16),
        np.zeros((N_VALUES, 2), np.float32),
        np.zeros(2, np.int16),
        np.zeros((1, 2), np.int64),
        np.zeros(N_COUNTS, np.int64),
    )
