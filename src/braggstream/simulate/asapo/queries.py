"""Conditions on messages in the style of SQL, such as `meta.hits > 5 and name like 'run%' order by meta.hits desc`.

Known are `= != <> < <= > >=`, `between … and …`, `in (…)`, `like`, `and`, `or`, `not`, parentheses, and `order by`.
Regular expressions, which the real broker knows, are not: one of them can keep a processor busy without end.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS, MAX_WORDS, MAX_NESTING = 4096, 500, 30

Value = int | float | str
Test = Callable[[Mapping[str, Any]], bool]

WORD = re.compile(
    r"\s*(?:(?P<number>[-+]?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?)|'(?P<text>[^']*)'"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)|(?P<sign><=|>=|<>|!=|[<>=(),]))"
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
KEYWORDS = ("and", "or", "not", "between", "in", "like", "order", "by", "asc", "desc")


class BadQuery(Exception):
    """A query that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages are wanted, and in which order."""

    test: Test
    order: str | None = None
    """Name of the member that they are ordered by; None = as they are."""
    is_descending: bool = False

    def ordered(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put records in order; those without the member come first, as in the database behind ASAP::O."""
        if self.order is None:
            return records
        name = self.order
        return sorted(records, key=lambda record: _rank(_member(record, name)), reverse=self.is_descending)


def parse(text: str) -> Query:
    """Read a query; raises `BadQuery`."""
    return _Parser(_words(text)).query()


def _words(text: str) -> list[tuple[str, Value]]:
    """Kind and content of each word."""
    if len(text) > MAX_CHARACTERS:
        raise BadQuery("the query is too long")
    words: list[tuple[str, Value]] = []
    at = 0
    while text[at:].strip():
        match = WORD.match(text, at)
        if match is None or len(words) >= MAX_WORDS:
            raise BadQuery(f"cannot read: {text[at : at + 20]!r}")
        kind, content = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "number":
            words.append((kind, float(content) if set(content) & set(".eE") else int(content)))
        elif kind == "name" and content.lower() in KEYWORDS:
            words.append(("keyword", content.lower()))
        else:
            words.append((kind, content))
        at = match.end()
    return words


class _Parser:
    """Recursive descent over the words."""

    def __init__(self, words: list[tuple[str, Value]]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    def query(self) -> Query:
        test: Test = _everything
        if self._words and not self._is("keyword", "order"):
            test = self._either()
        order, is_descending = None, False
        if self._took("keyword", "order"):
            self._expect("keyword", "by")
            order = str(self._expect("name"))
            is_descending = self._took("keyword", "desc") or (self._took("keyword", "asc") and False)
        if self._at < len(self._words):
            raise BadQuery(f"did not expect {self._words[self._at][1]!r}")
        return Query(test, order, is_descending)

    def _either(self) -> Test:
        tests = [self._both()]
        while self._took("keyword", "or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._took("keyword", "and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise BadQuery("too many parentheses")
        if self._took("keyword", "not"):
            refused = self._one()
            found: Test = lambda record: not refused(record)  # noqa: E731
        elif self._took("sign", "("):
            found = self._either()
            self._expect("sign", ")")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Test:
        name = str(self._expect("name"))
        is_negated = self._took("keyword", "not")
        if self._took("keyword", "between"):
            low = self._value()
            self._expect("keyword", "and")
            high = self._value()
            test: Callable[[Any], bool] = lambda found: _compare(">=", found, low) and _compare("<=", found, high)  # noqa: E731
        elif self._took("keyword", "in"):
            values = self._values()
            test = lambda found: any(_compare("=", found, value) for value in values)  # noqa: E731
        elif self._took("keyword", "like"):
            pattern = str(self._expect("text"))
            test = lambda found: isinstance(found, str) and _is_like(found, pattern)  # noqa: E731
        elif is_negated:
            raise BadQuery("expected between, in or like after not")
        else:
            sign, value = str(self._expect("sign")), self._value()
            if sign not in COMPARISONS:
                raise BadQuery(f"did not expect {sign!r}")
            test = lambda found: _compare(sign, found, value)  # noqa: E731
        return lambda record: test(_member(record, name)) is not is_negated

    def _values(self) -> list[Value]:
        self._expect("sign", "(")
        values = [self._value()]
        while self._took("sign", ","):
            values.append(self._value())
        self._expect("sign", ")")
        return values

    def _value(self) -> Value:
        if self._at < len(self._words) and self._words[self._at][0] in ("number", "text"):
            self._at += 1
            return self._words[self._at - 1][1]
        raise BadQuery("expected a number or a text in quotes")

    def _is(self, kind: str, content: str | None) -> bool:
        there = self._words[self._at] if self._at < len(self._words) else ("end", "")
        return there[0] == kind and content in (None, there[1])

    def _took(self, kind: str, content: str) -> bool:
        if self._is(kind, content):
            self._at += 1
            return True
        return False

    def _expect(self, kind: str, content: str | None = None) -> Value:
        if not self._is(kind, content):
            raise BadQuery(f"expected {content or kind}")
        self._at += 1
        return self._words[self._at - 1][1]


def _everything(_record: Mapping[str, Any]) -> bool:
    return True


def _member(record: Mapping[str, Any], name: str) -> Any:
    found: Any = record
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _compare(sign: str, found: Any, value: Value) -> bool:
    """Numbers with numbers, texts with texts; nothing else is alike, so that it differs from everything."""
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if is_number != isinstance(value, int | float) or not (is_number or isinstance(found, str)):
        return sign in ("!=", "<>")
    return COMPARISONS[sign](found, value)


def _is_like(text: str, pattern: str) -> bool:
    """Where `%` stands for anything; each piece is looked for once, from left to right."""
    first, *middle = pattern.split("%")
    if not middle:
        return text == pattern
    last = middle.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _rank(found: Any) -> tuple[int, Any]:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return 1, found
    return (2, found) if isinstance(found, str) else (0, 0)
