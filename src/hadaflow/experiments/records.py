"""Records on disk: one Parquet file per finished task, joined to one per experiment when all are done."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hadaflow as hf
from hadaflow.experiments.base import Experiment, Row, Task, check_labels

if TYPE_CHECKING:
    import pandas as pd

_KEY = b"hadaflow"  # of what is written into the schema of a file, beside its columns
_SCALARS = (str, bool, int, float, np.bool_, np.integer, np.floating)
_PACKAGES = ("numpy", "scipy", "pandas", "matplotlib")


@dataclass(frozen=True)
class Provenance:
    """Where a file of records comes from.

    Attributes
    ----------
    config_hash : str
        That of the experiment which wrote it.
    config : dict
        Its fields; seeds are among them.
    versions : dict
        Of the library, Python and what it computes with.
    finished : str
        When the last task was done, UTC.
    seconds : float
        Work done for it, over all processes.
    """

    config_hash: str
    config: dict[str, Any]
    versions: dict[str, str]
    finished: str
    seconds: float


@dataclass(frozen=True)
class Store:
    """The records of one experiment in a folder.

    While it runs: ``folder/<name>-<hash>/<number>.parquet``, one per task. Then: ``folder/<name>-<hash>.parquet``. With
    the hash of the config in their names, records of several sizes live side by side.
    """

    folder: Path
    experiment: Experiment

    @property
    def path(self) -> Path:
        """The file of all records."""
        return self._parts.with_name(f"{self._parts.name}.parquet")

    @property
    def _parts(self) -> Path:
        return self.folder / f"{self.experiment.name}-{self.experiment.config_hash}"

    def __post_init__(self) -> None:
        check_labels(type(self.experiment))

    def finished(self) -> bool:
        """Whether all records of this very config are there."""
        return _about(self.path).get("config_hash") == self.experiment.config_hash

    def pending(self) -> list[int]:
        """Numbers of the tasks that are not saved yet, or whose file is damaged."""
        if self.finished():
            return []
        return [k for k in range(len(tasks_of(self.experiment))) if "seconds" not in _about(self._part(k))]

    def save(self, number: int, rows: list[dict[str, Any]], seconds: float) -> None:
        """Keep what a task measured."""
        self._parts.mkdir(parents=True, exist_ok=True)
        _write(frame(rows), self._part(number), {"seconds": seconds})

    def finish(self) -> None:
        """Join the files of all tasks, in their order."""
        import pandas as pd

        parts = [self._part(k) for k in range(len(tasks_of(self.experiment)))]
        about = Provenance(
            self.experiment.config_hash,
            self.experiment.config,
            {"hadaflow": hf.__version__, "python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
            datetime.now(UTC).isoformat(timespec="seconds"),
            sum(_about(part)["seconds"] for part in parts),
        )
        _write(pd.concat([pd.read_parquet(p) for p in parts], ignore_index=True), self.path, vars(about))
        shutil.rmtree(self._parts)

    def clear(self) -> None:
        """Forget everything of this experiment, whatever its config."""
        for path in self.folder.glob(f"{self.experiment.name}-" + "[0-9a-f]" * 12 + "*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def read(self) -> pd.DataFrame:
        """All records, one measurement a row."""
        import pandas as pd

        return pd.read_parquet(self.path)

    def provenance(self) -> Provenance:
        """Where the file of all records comes from."""
        return Provenance(**_about(self.path))

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:05d}.parquet"


def tasks_of(experiment: Experiment) -> list[Task]:
    """The tasks of an experiment, checked."""
    tasks = list(experiment.tasks())
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"tasks() of {experiment.name} must give at least one dict, got {tasks!r}")
    return tasks


def rows_of(experiment: Experiment, task: Task) -> list[dict[str, Any]]:
    """Run a task; its keys and what it measured, one dict a row.

    Raises
    ------
    TypeError, ValueError
        If a value is no plain scalar, a row repeats a key of the task, or there is no row.
    """
    rows = []
    for row in experiment.run(**task):
        taken = task.keys() & row.keys()
        if taken:
            raise ValueError(f"a row repeats {min(taken)!r}, which is a key of the task; choose another name")
        for name, value in row.items():
            if not (value is None or isinstance(value, _SCALARS)):
                raise TypeError(
                    f"{name!r} must be a plain scalar, got {type(value).__name__}; record one row per number"
                )
        rows.append(task | dict(row))
    if not rows:
        raise ValueError("it recorded nothing: run() has to yield at least one row")
    return rows


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table."""
    import pandas as pd

    return pd.DataFrame.from_records(list(rows))


def _write(table: pd.DataFrame, path: Path, about: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: json.dumps(about).encode()})
    unfinished = path.with_suffix(".unfinished")  # so that a file which exists is whole
    pq.write_table(arrow, unfinished)
    unfinished.replace(path)


def _about(path: Path) -> dict[str, Any]:
    """What was written beside the columns of a file; nothing if it is missing, damaged, or not one of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_KEY])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}
    return about if isinstance(about, dict) else {}
