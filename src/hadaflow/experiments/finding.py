"""Which experiments there are: those of the catalogue, and those of a file. Functions that are named by strings."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hadaflow.experiments.base import Experiment, check_labels

Kind = type[Experiment]

_OF_FILE = "hadaflow_experiments_of_"  # modules made of a user's files
_SOURCES = dict[str, bytes]()  # of these modules: the files may be edited while they are in use


def known() -> dict[str, Kind]:
    """The experiments of the catalogue by name, ordered by paper and by file."""
    return dict(_catalogue())


@cache
def _catalogue() -> dict[str, Kind]:
    package = importlib.import_module("hadaflow.experiments.catalogue")
    names = sorted(f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__))
    found: dict[str, Kind] = {}
    for name in names:
        _add(found, importlib.import_module(name))
    return found


def load(path: Path, source: bytes | None = None) -> dict[str, Kind]:
    """The experiments of a Python file, or of what once stood in it, by name.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it holds none, or one with a name that is taken.
    """
    module = _module_of(path, source)
    found: dict[str, Kind] = {}
    _add(found, module)
    if not found:
        raise ValueError(f"{path.name} holds no experiment: {_missing(module)}")
    taken = sorted(found.keys() & known().keys())
    if taken:
        raise ValueError(
            f"the name {taken[0]!r} in {path.name} is taken by an experiment of the library; choose another"
        )
    return found


def _module_of(path: Path, source: bytes | None = None) -> ModuleType:
    """A Python file, or what once stood in it, as a module, run anew."""
    path = path.resolve()
    source = path.read_bytes() if source is None else source  # so that a missing file is told as such
    name = f"{_OF_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # one per path
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path.name} is not a Python file: its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    _SOURCES[name] = source
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {error}{_line_in(path, error)}"
        ) from error
    return module


def function_of(word: str, folder: Path | None = None) -> Callable[..., Any]:
    """The function that a string names.

    Parameters
    ----------
    word : str
        A trial of the library such as "recovery", "package.module:function", or "file.py:function".
    folder : Path, optional
        What the path of a file is relative to; default the working directory.

    Raises
    ------
    ValueError
        If there is no such trial, module or function.
    OSError
        If a file cannot be read.
    """
    place, colon, name = word.rpartition(":")
    if not colon:
        trials: dict[str, Callable[..., Any]] = importlib.import_module("hadaflow.experiments.trials").TRIALS
        if word not in trials:
            raise ValueError(
                f"experiment {word!r} is unknown: give {_one_of(word, trials)}, 'file.py:function' or "
                f"'package.module:function'"
            )
        return trials[word]
    if place.endswith(".py"):
        module = _module_of((folder or Path()) / place)
    else:
        try:
            module = importlib.import_module(place)
        except (ImportError, ValueError, TypeError) as error:
            raise ValueError(
                f"experiment {word!r}: {place!r} cannot be imported ({error}); for a file give 'file.py:{name}'"
            ) from error
    function = getattr(module, name, None)
    if not callable(function):
        here = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        raise ValueError(  # noqa: TRY004 - it is the string that is wrong
            f"experiment {word!r}: {place} has no function {name!r}; it has {_one_of(name, here)}"
        )
    return function  # type: ignore[no-any-return]


def _one_of(word: str, names: Iterable[str]) -> str:
    """The names that could be meant, the nearest first."""
    names = list(names)
    near = get_close_matches(word, names, n=1)
    return ", ".join(map(repr, near + [name for name in names if name not in near])) or "none"


def _missing(module: ModuleType) -> str:
    """What a file without experiments lacks."""
    for kind in vars(module).values():
        if inspect.isclass(kind) and issubclass(kind, Experiment) and kind.__module__ == module.__name__:
            return f"class {kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}"
    return "subclass hadaflow.experiments.Experiment"


def _line_in(path: Path, error: BaseException) -> str:
    """The line of the file that an error came from, where that can be told."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


@dataclass(frozen=True)
class Parcel:
    """What comes from a user's file, on its way to a worker process, which cannot import it by its name.

    Parameters
    ----------
    file : str
        Where it stands.
    source : bytes
        What stood in it when it was read: all workers have to run the same, whatever becomes of the file.
    name : str
        Of the experiment, or of the function.
    config : dict or None
        The fields of the experiment; None for a function.
    """

    file: str
    source: bytes
    name: str
    config: dict[str, Any] | None = None

    def open(self) -> Any:
        """The experiment, or the function."""
        if self.config is None:
            return getattr(_module_of(Path(self.file), self.source), self.name)
        return load(Path(self.file), self.source)[self.name](**self.config)


def parcel_of(what: Any) -> Any:
    """What to send to a worker: an experiment or a function itself, or a parcel if it comes from a file."""
    kind = type(what) if isinstance(what, Experiment) else what
    home = getattr(kind, "__module__", None) or ""
    if not home.startswith(_OF_FILE):
        return what
    module = sys.modules[home]
    file, source = str(module.__file__), _SOURCES[home]
    if isinstance(what, Experiment):
        return Parcel(file, source, what.name, what.config)
    # What has no name in its file (a closure, say) travels by its value, as from anywhere else.
    name = getattr(what, "__name__", "")
    return Parcel(file, source, name) if getattr(module, name, None) is what else what


def _add(found: dict[str, Kind], module: ModuleType) -> None:
    """Concrete experiments that a module defines, in the order of its lines."""
    for kind in vars(module).values():
        if not (inspect.isclass(kind) and issubclass(kind, Experiment) and kind.__module__ == module.__name__):
            continue
        if inspect.isabstract(kind):
            continue
        check_labels(kind)
        _join(found, {kind.name: kind})


def _join(found: dict[str, Kind], more: dict[str, Kind]) -> None:
    for name, kind in more.items():
        if found.setdefault(name, kind) is not kind:
            raise ValueError(f"two experiments are called {name!r}; names have to differ")


def find(wanted: Iterable[str]) -> dict[str, Kind]:
    """The experiments that are meant.

    Parameters
    ----------
    wanted : iterable of str
        Each "all", a paper such as "A", the name of an experiment, or the path of a Python file that holds some.

    Returns
    -------
    dict
        Classes by name, each once.

    Raises
    ------
    ValueError
        If there is no such experiment, or a file holds none.
    OSError
        If a file cannot be read.
    """
    catalogue = known()
    found: dict[str, Kind] = {}
    for word in wanted:
        if word.endswith(".py"):
            _join(found, load(Path(word)))
        elif word in catalogue:
            found[word] = catalogue[word]
        else:
            some = {n: k for n, k in catalogue.items() if word == "all" or k.paper.casefold() == word.casefold()}
            if not some:
                papers = ", ".join(dict.fromkeys(k.paper for k in catalogue.values()))
                raise ValueError(
                    f"no experiment is called {word!r}: choose all, a paper ({papers}), a file.py, "
                    f"or one of {', '.join(catalogue)}"
                )
            found |= some
    return found
