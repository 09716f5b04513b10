"""What a study is: something made of tasks. And what an experiment is: a study that knows how to read its records."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import hadaflow as hf
from hadaflow.experiments.claims import Claim

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: A unit of work that is saved by itself: flat, of plain scalars.
Task = dict[str, Any]
#: One measurement: flat, of plain scalars.
Row = Mapping[str, Any]
Size = Literal["quick", "full"]


class Study(ABC):
    """What consists of many tasks, knows which, and how to run one; :func:`execute` does the rest.

    Attributes
    ----------
    needs_all : bool
        Whether its records mean nothing while one task is not done. If not, a task that failed is left out of them.
    """

    needs_all: ClassVar[bool] = True

    @property
    @abstractmethod
    def known_as(self) -> str:
        """What it is called in messages, and its files are called after."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """12 digits that change with all that a record depends on, its task apart: they name the journal."""

    @property
    @abstractmethod
    def config_hash(self) -> str:
        """12 digits that change with the identity and with the tasks: they name the file of all records."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What the hashes are made of, as it is saved next to the records."""

    @abstractmethod
    def tasks(self) -> Sequence[Task]:
        """The units of work. Each is saved when it is done, so that a killed run goes on where it was."""

    @abstractmethod
    def run(self, *_: Any, **task: Any) -> Iterable[Row]:  # so spelt, subclasses may name the keys of their tasks
        """Measure one task, given by keywords. Depends on the config and the task alone: it seeds its own rng.

        Yields
        ------
        dict
            Tidy rows; the keys of the task are added to each.
        """

    def columns_of(self, task: Task) -> Task:
        """Keys of a task that are stored as columns."""
        return task

    def detached(self) -> tuple[Study, Callable[..., Any] | None]:
        """The study without the function that it measures, and the function; by default it has none.

        The two travel to workers apart: the function may come from a file that workers cannot import.
        """
        return self, None

    def attached(self, function: Callable[..., Any]) -> Study:
        """The study with its function again."""
        return self


@dataclass(frozen=True)
class Experiment(Study):
    """An experiment: its fields are its config, its methods what to do with it.

    Subclass it as a frozen dataclass in a file of its own (docs/adding_an_experiment.md). The docstring of the
    subclass stands in the report. Fields have to be plain: numbers, strings, bools, None, tuples of those.

    Attributes
    ----------
    name : str
        Unique; names the files and is what the command line takes.
    paper : str
        "A", "B", "C", or another word that groups experiments; not empty.
    title : str
        One line for the report; not empty.
    revision : int
        Raised whenever ``run`` records something else, so that older records are not taken for new ones.
    figsize : tuple of float
        Width and height of the figure in inches.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    title: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    figsize: ClassVar[tuple[float, float]] = (7.5, 4.2)

    @classmethod
    @abstractmethod
    def quick(cls) -> Self:
        """The config of a few seconds; the class without arguments is the full size."""

    @abstractmethod
    def claims(self, records: pd.DataFrame) -> Sequence[Claim]:
        """What the records say about the paper; from the records only."""

    @abstractmethod
    def draw(self, figure: Figure, records: pd.DataFrame) -> None:
        """Draw on an empty figure; from the records only."""

    @classmethod
    def of_size(cls, size: Size) -> Self:
        """The quick or the full config."""
        return cls.quick() if size == "quick" else cls()

    @property
    def known_as(self) -> str:
        return self.name

    @property
    def config(self) -> dict[str, Any]:
        """The fields, as they are saved next to the records."""
        return asdict(self)

    @property
    def identity(self) -> str:
        """Records of different configs have nothing in common."""
        return self.config_hash

    @property
    def config_hash(self) -> str:
        """12 digits that change with the config, the revision and the version of the library."""
        try:
            return digest([self.name, self.revision, hf.__version__, self.config])
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the fields of experiment {self.name!r} must be numbers, strings, bools or None: {error}"
            ) from error


class Skip(Exception):
    """Raised while a task is measured to say, with a reason, that there is nothing to measure.

    Examples
    --------
    >>> raise Skip("more nonzeros than measurements")
    Traceback (most recent call last):
        ...
    hadaflow.experiments.base.Skip: more nonzeros than measurements
    """


def digest(identity: Any) -> str:
    """12 digits of what is plain."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def writable(text: str) -> bool:
    """Whether UTF-8 can hold a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_labels(kind: type[Experiment]) -> None:
    """Raise TypeError or ValueError unless name, paper and title are words, and the name can be that of a file."""
    for label, text in (("name", kind.name), ("paper", kind.paper), ("title", kind.title)):
        if not (text and isinstance(text, str)):
            raise TypeError(f"experiment {kind.__name__} needs a class attribute {label}, a string that is not empty")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", kind.name) or kind.name == "all":
        raise ValueError(
            f"name of experiment {kind.__name__} must be letters, digits, - and _, and not 'all', got {kind.name!r}: "
            f"files are called after it"
        )
