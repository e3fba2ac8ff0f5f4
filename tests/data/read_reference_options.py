"""Reads the reference's options from a description of its command line: names, whether they take a value, default.

python tests/data/read_reference_options.py cli.md > tests/data/reference_options.tsv
"""

import re
import sys
from pathlib import Path

NAME = re.compile(r"`(--?[A-Za-z?][\w-]*)")
FLAG_WORDS = ("–", "– (flag)")
NOT_OPTIONS = ("--opt", "--index", "--ffbidx")
"""Examples of syntax, and the beginning of a group of names."""


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(text):
    """Name, argument, default of every option in a table; None where the table has no such column."""
    header = []
    for line in text.splitlines():
        if not line.startswith("|"):
            header = []
        elif not header:
            header = [cell.lower() for cell in cells(line)]
        elif header[0] == "option" and not line.startswith("|---"):
            found = cells(line)
            for first in (n for n, title in enumerate(header) if title == "option"):
                names = NAME.findall(found[first]) + aliases(found[first], found[-1])
                argument = found[header.index("arg")] if "arg" in header else None
                default = found[first + 1] if "default" in header[first + 1 :][:1] else None
                if "arg" in header:
                    default = found[header.index("default")]
                yield from ((name, argument, default) for name in names)


def aliases(first, last):
    """Short forms that the text gives: `(-cpc)` behind a longer name, `alias --x` among the notes."""
    prefix = re.match(r"`(--[A-Za-z]+)-", first)
    short = re.findall(r"\(`-([a-z]+)`\)", first)
    other_end = re.match(r"`(--[\w-]+)-[a-z]+` / `-([a-z]+)`", first)
    if other_end:
        return ["-".join(other_end.groups())]
    return [f"{prefix[1]}-{word}" for word in short if prefix] + re.findall(r"alias `(--[\w-]+)`", last)


def main():
    text = Path(sys.argv[1]).read_text()
    found = {name: (argument, default) for name, argument, default in rows(text)}
    for name in re.findall(r"(?<![\w-])--[A-Za-z][\w-]*[A-Za-z0-9]", text):
        found.setdefault(name, (None, None))
    for name, (argument, default) in sorted(found.items()):
        if name in NOT_OPTIONS or not (name.startswith("--") or len(name) == 2):
            continue
        takes = "" if not argument else "no" if argument in FLAG_WORDS else "yes"
        print(name, takes, default or "", sep="\t")


main()
