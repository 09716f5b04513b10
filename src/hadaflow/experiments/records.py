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

import hadaflow as hf
from hadaflow.experiments.base import Experiment, Row, Task

if TYPE_CHECKING:
    import pandas as pd

_KEY = b"hadaflow"  # of what is written into the schema of a file, beside its columns
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

    While it runs: ``folder/<name>-<hash>/<number>.parquet``, one per task. Then: ``folder/<name>.parquet``.
    """

    folder: Path
    experiment: Experiment

    @property
    def path(self) -> Path:
        """The file of all records."""
        return self.folder / f"{self.experiment.name}.parquet"

    @property
    def _parts(self) -> Path:
        return self.folder / f"{self.experiment.name}-{self.experiment.config_hash}"

    def finished(self) -> bool:
        """Whether all records of this very config are there."""
        try:
            return self.provenance().config_hash == self.experiment.config_hash
        except (OSError, ValueError, KeyError):  # missing, or not a file of ours
            return False

    def pending(self) -> list[int]:
        """Numbers of the tasks that are not saved yet."""
        if self.finished():
            return []
        return [k for k in range(len(self.experiment.tasks())) if not self._part(k).exists()]

    def save(self, number: int, rows: list[dict[str, Any]], seconds: float) -> None:
        """Keep what a task measured."""
        self._parts.mkdir(parents=True, exist_ok=True)
        _write(frame(rows), self._part(number), {"seconds": seconds})

    def finish(self) -> None:
        """Join the files of all tasks, in their order."""
        import pandas as pd

        parts = [self._part(k) for k in range(len(self.experiment.tasks()))]
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
        self.path.unlink(missing_ok=True)
        for folder in self.folder.glob(f"{self.experiment.name}-" + "[0-9a-f]" * 12):
            shutil.rmtree(folder)

    def read(self) -> pd.DataFrame:
        """All records, one measurement a row."""
        import pandas as pd

        return pd.read_parquet(self.path)

    def provenance(self) -> Provenance:
        """Where the file of all records comes from."""
        return Provenance(**_about(self.path))

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:05d}.parquet"


def rows_of(experiment: Experiment, task: Task) -> list[dict[str, Any]]:
    """Run a task; its keys and what it measured, one dict a row."""
    return [task | dict(row) for row in experiment.run(**task)]


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
    import pyarrow.parquet as pq

    about: dict[str, Any] = json.loads(pq.read_schema(path).metadata[_KEY])
    return about
