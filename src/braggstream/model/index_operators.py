"""Operators on Miller indices as text (`k,-h-k,l`), and the operators of an indexing ambiguity.

An operator is a 3 × 3 matrix M with hkl' = hkl · M: its first column tells what the new h is made of.
"""

import re
from fractions import Fraction
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup

Matrix = NDArray[np.int8]

MAX_TEXT = 400
MAX_DEPTH = 8
LETTERS = {letter: axis for letters in ("hkl", "abc", "xyz") for axis, letter in enumerate(letters)}

_TOKEN = re.compile(r"\s*([hklabcxyz]|[0-9]{1,4}|[-+*/()])")

Vector = tuple[Fraction, Fraction, Fraction]
_ZERO: Vector = (Fraction(0), Fraction(0), Fraction(0))


def parse_operator(text: str) -> NDArray[np.int32]:
    """Read one operator on indices, such as `h,-2k,(h+l)/3`.

    Returns
    -------
    int32[3, 3]
        M of hkl' = hkl · M.

    Raises
    ------
    UserError
        Where the text is no operator, or gives fractions.
    """
    rows = parse_axes(text)
    if any(part.denominator != 1 for row in rows for part in row):
        raise UserError(f"operator {text!r}: expected whole numbers of h, k and l")
    return np.array([[int(part) for part in row] for row in rows], np.int32).T.copy()


def parse_operators(text: str) -> tuple[NDArray[np.int32], ...]:
    """Read operators on indices that are separated by semicolons."""
    return tuple(parse_operator(part) for part in text.split(";"))


def parse_axes(text: str) -> tuple[Vector, Vector, Vector]:
    """Read three expressions in the three axes; fractions are possible, for transformations of cells.

    Returns
    -------
    tuple
        For each expression, how much it has of the first, second and third axis.
    """
    parts = text.split(",")
    if len(text) > MAX_TEXT or len(parts) != 3:
        raise UserError(f"operator {text[:60]!r}: expected three expressions such as k,-h-k,l")
    first, second, third = (_Expression(part, text).read() for part in parts)
    return (first, second, third)


def operator_text(operator: NDArray) -> str:
    """Write an operator on indices, such as `k,-h-k,l`."""
    return ",".join(_sum_text(column) for column in np.asarray(operator).T.tolist())


def _sum_text(numbers: list[int]) -> str:
    text = ""
    for number, letter in zip(numbers, "hkl", strict=True):
        if number:
            size = "" if abs(number) == 1 else str(abs(number))
            text += ("-" if number < 0 else "+" if text else "") + size + letter
    return text or "0"


class _Expression:
    """Reader of one expression: signed sums, brackets, a factor in front, a divisor behind."""

    def __init__(self, text: str, whole: str) -> None:
        self._whole = whole
        self._tokens: list[str] = []
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self._refuse()
            self._tokens.append(match[1])
            at = match.end()
        self._next = 0
        self._depth = 0

    def read(self) -> Vector:
        """Read all of it."""
        found = self._sum()
        if self._next != len(self._tokens) or not self._tokens:
            self._refuse()
        return found

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1] if self._next <= len(self._tokens) else ""

    def _sum(self) -> Vector:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse()
        total = _ZERO
        while True:
            sign = 1
            while self._peek() in ("+", "-"):
                sign = -sign if self._take() == "-" else sign
            total = _added(total, _times(self._term(), Fraction(sign)))
            if self._peek() not in ("+", "-"):
                self._depth -= 1
                return total

    def _term(self) -> Vector:
        factor = Fraction(1)
        if self._peek().isdigit():
            factor = Fraction(int(self._take()))
            if self._peek() == "/":
                self._take()
                factor /= self._divisor()
            if self._peek() == "*":
                self._take()
        token = self._take()
        if token == "(":
            found = self._sum()
            if self._take() != ")":
                self._refuse()
        elif token in LETTERS:
            axis = LETTERS[token]
            found = (Fraction(int(axis == 0)), Fraction(int(axis == 1)), Fraction(int(axis == 2)))
        else:
            self._refuse()
        if self._peek() == "/":
            self._take()
            factor /= self._divisor()
        return _times(found, factor)

    def _divisor(self) -> int:
        token = self._take()
        if not token.isdigit() or int(token) == 0:
            self._refuse()
        return int(token)

    def _refuse(self) -> NoReturn:
        raise UserError(f"operator {self._whole[:60]!r}: expected three expressions such as k,-h-k,l")


def _added(one: Vector, other: Vector) -> Vector:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _times(vector: Vector, factor: Fraction) -> Vector:
    return (vector[0] * factor, vector[1] * factor, vector[2] * factor)


def ambiguity_operators(apparent: PointGroup, true: PointGroup) -> tuple[Matrix, ...]:
    """Find the operators that an indexing program cannot tell apart: one for each coset but the true group itself.

    Parameters
    ----------
    apparent
        The symmetry that the lattice seems to have.
    true
        The symmetry of the structure.

    Returns
    -------
    tuple of int8[3, 3]
        Rotations, twofold ones where there are some.

    Raises
    ------
    UserError
        Where the true group is no part of the apparent one, or where the two differ by more than rotations.
    """
    if not true.is_subgroup_of(apparent):
        raise UserError(
            f"{true.name} is no subgroup of {apparent.name}: an ambiguity is between a symmetry and a higher one,"
            " in the same setting"
        )
    seen = {op.tobytes() for op in true.operators}
    found: list[Matrix] = []
    for candidate in apparent.operators:
        if candidate.tobytes() in seen:
            continue
        coset = [np.asarray(candidate @ op, np.int8) for op in true.operators]
        seen |= {op.tobytes() for op in coset}
        rotations = [op for op in coset if round(np.linalg.det(op)) == 1]
        if not rotations:
            raise UserError(
                f"there is no ambiguity operator from {true.name} to {apparent.name} that is a rotation"
            )
        found.append(min(rotations, key=_preference))
    return tuple(found)


def _preference(rotation: Matrix) -> tuple[bool, int, int]:
    """Twofold axes first, then what is simplest to write."""
    is_twofold = np.array_equal(rotation @ rotation, np.eye(3))
    return (not is_twofold, int(np.abs(rotation).sum()), int((rotation < 0).sum()))
