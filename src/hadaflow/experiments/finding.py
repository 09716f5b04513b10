"""Which experiments there are: those of the catalogue, and those of a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hadaflow.experiments.base import Experiment, check_labels

Kind = type[Experiment]

_OF_FILE = "hadaflow_experiments_of_"  # modules made of a user's files


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


def load(path: Path) -> dict[str, Kind]:
    """The experiments of a Python file, by name.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it holds none, or one with a name that is taken.
    """
    path = path.resolve()
    source = path.read_bytes()  # so that a missing file is told as such
    name = f"{_OF_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # one per path
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path.name} is not a Python file: its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {error}{_line_in(path, error)}"
        ) from error
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
    """An experiment on its way to a worker process, which cannot import classes of a user's file by their name.

    Parameters
    ----------
    file : str
        Where the class stands.
    name : str
        Of the experiment.
    config : dict
        Its fields.
    """

    file: str
    name: str
    config: dict[str, Any]

    def open(self) -> Experiment:
        """The experiment."""
        return load(Path(self.file))[self.name](**self.config)


def pack(experiment: Experiment) -> Experiment | Parcel:
    """What to send to a worker: the experiment, or a parcel if its class comes from a file."""
    module = sys.modules[type(experiment).__module__]
    if not module.__name__.startswith(_OF_FILE):
        return experiment
    return Parcel(str(module.__file__), experiment.name, experiment.config)


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
