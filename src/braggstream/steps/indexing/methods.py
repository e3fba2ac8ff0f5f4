"""Names of indexing methods: which there are, and what is wrong with a list of them.

Nothing here loads a kernel, so that a parent process can check an option without compiling anything.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from braggstream.model.errors import UserError
from braggstream.model.near_names import did_you_mean
from braggstream.model.settings import IndexingSettings
from braggstream.steps.registry import make

if TYPE_CHECKING:
    from braggstream.steps.indexing.indexer import Indexer

INDEXERS: Mapping[str, str] = {
    "ffbidx": "braggstream.steps.indexing.ffbidx:make_indexer",
    "xgandalf": "braggstream.steps.indexing.xgandalf:make_indexer",
    "taketwo": "braggstream.steps.indexing.taketwo:make_indexer",
    "smallcell": "braggstream.steps.indexing.smallcell:make_indexer",
    "asdf": "braggstream.steps.indexing.asdf:make_indexer",
    "file": "braggstream.steps.indexing.from_file:make_indexer",
    "pinkIndexer": "braggstream.steps.indexing.pinkindexer:make_indexer",
    "dirax": "braggstream.steps.indexing.external.dirax:make_indexer",
    "mosflm": "braggstream.steps.indexing.external.mosflm:make_indexer",
    "xds": "braggstream.steps.indexing.external.xds:make_indexer",
    "felix": "braggstream.steps.indexing.external.felix:make_indexer",
}
"""Method name -> `module:factory`; the factory takes the settings and gives an indexer."""

NEED_CELL = frozenset({"ffbidx", "taketwo", "smallcell", "pinkIndexer", "felix"})
"""Methods that look for a known cell only."""

OTHER_SPELLINGS = {"pinkindexer": "pinkIndexer"}

PROGRAMS = frozenset({"dirax", "mosflm", "xds", "felix"})
"""Methods that are programs of the same name, found on the search path."""

GIVE_SEVERAL = frozenset({"file", "felix"})
"""Methods that give several lattices of a frame at once, all of which are wanted."""

KEEP_SETTING = frozenset({"file"})
"""Methods whose choice among equivalent axes is kept where it fits the cell: it may have been made on purpose."""

SEARCH_ONCE = frozenset({"ffbidx", "xgandalf", "taketwo", "file", "pinkIndexer"})
"""Methods that find with all peaks what they would find without the weakest ones: they are not tried again."""

JUDGE_THEMSELVES = frozenset({"pinkIndexer"})
"""Methods that weigh their lattices against chance with the width of the spectrum and the radius of lattice points
in mind; the general weighing of peaks knows neither."""

ON_CUDA = frozenset({"ffbidx"})
"""Methods whose kernels have twins for CUDA devices; the others run on the CPU whatever the device."""

NO_INDEXING = "none"
KNOWN_CELL_METHOD = "ffbidx"
"""What is taken where a cell is known, if nothing else is wanted."""
NO_CELL_METHOD = "asdf"
"""What is taken where none is known."""

_REFERENCE_METHODS = frozenset({"simulation"})
_OLD_MODIFIERS = frozenset(
    {
        *("latt", "nolatt", "cell", "nocell", "retry", "noretry", "multi", "nomulti"),
        *("refine", "norefine", "raw", "bad", "comb", "axes"),
    }
)


def parse_methods(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split method words into names and notices about ignored modifiers such as `-latt-cell`.

    Raises
    ------
    UserError
        For a name that is unknown, not built here or given twice, and for an unknown modifier.
    """
    names: list[str] = []
    notices: list[str] = []
    for word in words:
        name, *modifiers = word.strip().split("-")
        name = OTHER_SPELLINGS.get(name, name)
        _check_name(name)
        _check_modifiers(word, modifiers)
        if modifiers:
            notices.append(
                f"--indexing: {word}: ignored: -{'-'.join(modifiers)} (the cell is used as far as it is known)"
            )
        if name in names:
            raise UserError(f"--indexing: {name} is there twice; each method is tried once")
        names.append(name)
    if not names:
        raise UserError(f"--indexing: expected one or more of {_available()}")
    return tuple(names), tuple(notices)


def check_methods(methods: Iterable[str], *, has_cell: bool = True) -> tuple[str, ...]:
    """Check a list of methods; gives notices for the user, one line each.

    Raises
    ------
    UserError
        As `parse_methods`, and where a method needs a cell and there is none.
    """
    names, notices = parse_methods(methods)
    for name in names:
        if name in NEED_CELL and not has_cell:
            raise UserError(f"--indexing={name} needs a unit cell: give one with -p")
    return notices


def check_means(settings: IndexingSettings) -> None:
    """Check that what the methods need besides the cell is there, before anything is started.

    Raises
    ------
    UserError
        Where the method `file` has no list that can be opened, or a program is not installed.
    """
    names, _ = parse_methods(settings.methods)
    if "file" in names:
        _check_solutions_file(settings.solutions_file)
    if uses_programs(settings):
        from braggstream.steps.indexing.external.program import find_program

        for name in PROGRAMS.intersection(names):
            find_program(name)


def uses_programs(settings: IndexingSettings) -> bool:
    """Whether other programs will be run, which need a place for their files."""
    names, _ = parse_methods(settings.methods)
    return not PROGRAMS.isdisjoint(names)


def make_indexers(settings: IndexingSettings) -> "dict[str, Indexer]":
    """Make the indexer of each method, in the order in which they are tried."""
    check_methods(settings.methods, has_cell=settings.target_cell is not None)
    check_means(settings)
    names, _ = parse_methods(settings.methods)
    if settings.find_cell:
        # It is needed later: its kernels are to be ready by then.
        import_module(INDEXERS[KNOWN_CELL_METHOD].partition(":")[0])
    indexers: dict[str, Indexer] = {}
    for name in names:
        if name != NO_INDEXING:
            indexers[name] = make(INDEXERS[name], settings)
    return indexers


def _check_name(name: str) -> None:
    if name in INDEXERS or name == NO_INDEXING:
        return
    if name.lower() in _REFERENCE_METHODS:
        raise UserError(
            f"--indexing: {name} is a method of CrystFEL that is not built here; there are {_available()}"
        )
    near = did_you_mean(name, [*INDEXERS, NO_INDEXING])
    raise UserError(f"--indexing: unknown method '{name}'; there are {_available()}{near}")


def _check_solutions_file(path: str | None) -> None:
    if path is None:
        raise UserError("--indexing=file needs a list of solutions: give one with --fromfile-input-file")
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise UserError(f"cannot read the list of solutions: {error.strerror or error}", path=path) from None


def _check_modifiers(word: str, modifiers: Iterable[str]) -> None:
    for modifier in modifiers:
        if modifier not in _OLD_MODIFIERS:
            raise UserError(f"--indexing: {word}: unknown modifier '-{modifier}'; the name of the method is enough")


def _available() -> str:
    return ", ".join([*INDEXERS, NO_INDEXING])
