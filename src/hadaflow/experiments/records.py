"""Records on disk: a journal that grows while tasks get done, and one Parquet file of all when they are."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hadaflow as hf
from hadaflow._extras import require
from hadaflow.convergence import quietly
from hadaflow.experiments.base import Experiment, Row, Study, Task, check_labels, writable
from hadaflow.experiments.journal import Contents, Entry, Journal, canonical

if TYPE_CHECKING:
    import pandas as pd

_KEY = b"hadaflow"  # of what is written into the schema of a file, next to its columns
_PACKAGES = ("numpy", "scipy", "pandas", "matplotlib")


@dataclass(frozen=True)
class Provenance:
    """Where a file of records comes from.

    Attributes
    ----------
    config_hash : str
        That of the study which wrote it.
    config : dict
        Its fields; seeds are among them.
    versions : dict
        Of the library, Python and what it computes with.
    finished : str
        When the last task was done, UTC.
    seconds : float
        Work done for it, over all processes.
    failed, skipped : int
        Tasks of which there are no records.
    """

    config_hash: str
    config: dict[str, Any]
    versions: dict[str, str]
    finished: str
    seconds: float
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Store:
    """The records of one study in a folder.

    ``folder/<name>-<identity>.jsonl`` is the journal: what came of each task, kept as soon as it is done. When all are,
    ``folder/<name>-<config hash>.parquet`` is made of it. With hashes in their names, records of several configs live
    side by side.

    Parameters
    ----------
    folder : Path or None
        Where; with None nothing is kept on disk.
    study : Study
        Whose.
    """

    folder: Path | None
    study: Study

    def __post_init__(self) -> None:
        if isinstance(self.study, Experiment):
            check_labels(type(self.study))

    @property
    def path(self) -> Path | None:
        """The file of all records."""
        return self.folder and self.folder / f"{self.study.known_as}-{self.study.config_hash}.parquet"

    @property
    def journal(self) -> Path | None:
        """The file of what is done."""
        return self.folder and self.folder / f"{self.study.known_as}-{self.study.identity}.jsonl"

    def finished(self) -> bool:
        """Whether all records of this very config are there, and whole."""
        return self._about_whole() is not None

    def pending(self, *, retry_failed: bool = True) -> list[int]:
        """Numbers of the tasks that are not done, or whose line is damaged; those that failed among them, or not."""
        if self.study.needs_all and self.finished():
            return []
        entries = Contents.of(self.journal).entries if self.journal else {}
        return pending(keys_of(tasks_of(self.study)), entries, retry_failed=retry_failed)

    def open(self) -> Journal:
        """The journal, mended and ready to be written to."""
        journal = Journal(self.journal)
        journal.open()
        return journal

    def finish(self, entries: Mapping[str, Entry]) -> None:
        """Make the file of all records, unless it is there: those of the tasks of this config, in their order.

        Raises
        ------
        TypeError
            If a column holds values of several kinds.
        OSError
            If it cannot be written.
        """
        if self.path is None:
            return
        tasks = tasks_of(self.study)
        chosen = [entries[key] for key in keys_of(tasks)]
        failed, skipped = sum(e.failed for e in chosen), sum(e.skipped for e in chosen)
        about = self._about_whole()
        if about and (about.get("failed", 0), about.get("skipped", 0)) == (failed, skipped):
            return
        provenance = Provenance(
            self.study.config_hash,
            self.study.config,
            {"hadaflow": hf.__version__, "python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
            datetime.now(UTC).isoformat(timespec="seconds"),
            sum(entry.seconds for entry in chosen),
            failed,
            skipped,
        )
        _write(table_of(self.study, tasks, entries), self.path, vars(provenance))

    def clear(self) -> None:
        """Forget everything of this study, whatever its config."""
        if self.folder:
            for path in self.folder.glob(f"{self.study.known_as}-" + "[0-9a-f]" * 12 + "*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def read(self) -> pd.DataFrame:
        """All records, one measurement a row."""
        require("pandas", "pyarrow", extra="experiments", what="records")
        import pandas as pd

        return pd.read_parquet(self._known_path())

    def provenance(self) -> Provenance:
        """Where the file of all records comes from."""
        return Provenance(**_about(self._known_path()))

    def _known_path(self) -> Path:
        if self.path is None:
            raise ValueError("this store has no folder, and so no file of records")
        return self.path

    def _about_whole(self) -> dict[str, Any] | None:
        """What stands next to the columns, if the file is there and whole."""
        if self.path is None:
            return None
        about = _about(self.path)
        if about.get("config_hash") != self.study.config_hash:
            return None
        return about if _whole(self.path) else None


def tasks_of(study: Study) -> list[Task]:
    """The tasks of a study, checked."""
    tasks = list(study.tasks())
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"tasks() of {study.known_as} must give at least one dict, got {tasks!r}")
    return tasks


def keys_of(tasks: Iterable[Task]) -> list[str]:
    """What tasks are known by in a journal.

    Raises
    ------
    TypeError, ValueError
        If a task holds what is no plain scalar, or two are the same.
    """
    keys = [canonical(task) for task in tasks]
    if len(set(keys)) < len(keys):
        seen = set[str]()
        twice = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the task {twice} is there twice; tasks have to differ")
    return keys


def pending(keys: Iterable[str], entries: Mapping[str, Entry], *, retry_failed: bool) -> list[int]:
    """Numbers of the tasks that are left to do."""
    found = enumerate(map(entries.get, keys))
    return [number for number, entry in found if entry is None or (retry_failed and entry.failed)]


def rows_of(study: Study, task: Task) -> list[dict[str, Any]]:
    """Run a task; what it measured as plain scalars, one dict a row, without the columns of the task.

    Raises
    ------
    TypeError, ValueError
        If a value is no plain scalar, a row repeats a column of the task, or there is no row.
    """
    columns = study.columns_of(task).keys()
    rows = []
    for row in quietly(lambda: list(study.run(**task))):  # what is not ok by the thousand: the record says so
        taken = columns & row.keys()
        if taken:
            raise ValueError(f"a row repeats {min(taken)!r}, which is a key of the task; choose another name")
        rows.append({name: _plain(name, value) for name, value in row.items()})
    if not rows:
        raise ValueError("it recorded nothing: there has to be at least one row")
    return rows


def _plain(name: object, value: Any) -> str | bool | int | float | None:
    """A scalar as Python's own, so that it is the same before and after it was written."""
    if not isinstance(name, str):
        raise TypeError(f"names of what is measured must be strings, got {name!r}")
    if not writable(name):
        raise ValueError(
            f"names of what is measured must be texts, got {name!r}, where half a surrogate pair is missing"
        )
    if value is None or type(value) in (float, bool):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{name!r} must fit into 64 bits, got {value}; record it as a float or a string")
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, str):
        if not writable(value):
            raise ValueError(f"{name!r} must be a text, got {value!r}, where half a surrogate pair is missing")
        return str(value)
    raise TypeError(f"{name!r} must be a plain scalar, got {type(value).__name__}; record one row per number")


def table_of(study: Study, tasks: Iterable[Task], entries: Mapping[str, Entry]) -> pd.DataFrame:
    """The records of those tasks that are done, in the order of the tasks."""
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for task in tasks:
        entry = entries.get(canonical(task))
        first = study.columns_of(task)
        columns |= dict.fromkeys(first)
        rows += [first | row for row in entry.rows] if entry else []
    return frame(rows, columns)


def frame(rows: Iterable[Row], columns: Iterable[str] = ()) -> pd.DataFrame:
    """Rows as a table, whose first columns are known even if there is no row.

    Raises
    ------
    TypeError, ValueError
        If one column holds values of several kinds, or floats next to an integer that no float is equal to.
    """
    import pandas as pd

    rows = list(rows)
    if not rows:
        return pd.DataFrame(columns=list(columns))
    table = pd.DataFrame.from_records(rows)
    for name in [name for name, kind in table.dtypes.items() if kind.kind in ("f", "O")]:
        values = [row.get(name) for row in rows]
        if _whole_or_missing(values):
            # A float has no room for all digits of an integer, and is what pandas would make of it.
            table[name] = pd.array(values, dtype="Int64")
        elif table[name].dtype.kind == "O":
            _check_kind(name, values)
        else:
            _check_digits(name, values)
    return table


def _check_kind(name: object, values: list[Any]) -> None:
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    if len(kinds) > 1:
        told = f"{name!r} was recorded as {' and as '.join(kinds)}"
        raise TypeError(f"{told}; record one kind of values under one name")


def _check_digits(name: object, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, int) and int(float(value)) != value:
            raise ValueError(f"{name!r} was recorded as {value} and as floats, which cannot hold all its digits")


def _whole_or_missing(values: Iterable[Any]) -> bool:
    """Whether integers are among them, and else nothing but missing values."""
    some = False
    for value in values:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole and value is not None:
            return False
        some = some or whole
    return some


def _write(table: pd.DataFrame, path: Path, about: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: json.dumps(about).encode()})
    unfinished = path.with_suffix(".unfinished")  # so that a file which exists is whole
    try:
        pq.write_table(arrow, unfinished, write_page_checksum=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _about(path: Path) -> dict[str, Any]:
    """What was written next to the columns of a file; nothing if it is missing, damaged, or not one of ours."""
    require("pyarrow", extra="experiments", what="records")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_KEY])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}
    return about if isinstance(about, dict) else {}


def _whole(path: Path) -> bool:
    """Whether every page of a file has its checksum."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return False
    return True
