"""What to keep of a run, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import (
    callback,
    check_finite,
    flag,
    norm,
    real_array,
    whole_number,
)
from hadaflow.problems import Problem
from hadaflow.snapshots import Snapshot

#: A number, or an array of fixed shape, of a snapshot.
Metric = Callable[[Snapshot], Any]

#: Metrics known by name.
METRICS: Mapping[str, Metric] = {
    "residual": lambda snapshot: snapshot.relative_residual,
    "l1_norm": lambda snapshot: snapshot.l1_norm,
    "support_size": lambda snapshot: len(snapshot.support),
    "l1_gap": lambda snapshot: snapshot.l1_gap,
    "lasso_penalty": lambda snapshot: snapshot.penalty,
    "lasso_gap": lambda snapshot: snapshot.lasso_gap,
    "seconds": lambda snapshot: snapshot.seconds,
}


def error_to(truth: Any) -> Metric:
    """The metric ``||x - truth||_2``.

    Parameters
    ----------
    truth : array_like of shape (n,), or (n, k) of joint columns
        What x should be.

    Returns
    -------
    callable
        For ``metrics`` of :class:`hadaflow.Recorder`.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> record = hf.Recorder(metrics={"error": hf.recording.error_to([1.0, 0.0])})
    >>> run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, record=record)
    >>> run.history["error"].round(2)[[0, -1]]
    array([1.  , 0.11])
    """
    target = real_array(truth, "truth", 2 if min(np.shape(truth)[1:], default=1) > 1 else 1, complex_too=True)
    check_finite(target, "truth")
    target = target.astype(np.complex128 if target.dtype.kind == "c" else np.float64)

    def error(snapshot: Snapshot) -> float:
        x = snapshot.x
        if x.shape != target.shape and (x.size != target.size or target.ndim > 1):
            raise ValueError(f"truth must have the shape of x, {x.shape}, got {target.shape}")
        return norm(np.abs(x - target.reshape(x.shape)))

    return error


def largest_outside(support: object) -> Metric:
    """The metric ``max |x_i|`` over the coordinates (of a matrix x: rows) outside ``support``.

    Parameters
    ----------
    support : array_like of int
        Indices to leave out.

    Returns
    -------
    callable
        For ``metrics`` of :class:`hadaflow.Recorder`.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> record = hf.Recorder(metrics={"outside": hf.recording.largest_outside([0])})
    >>> run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, record=record)
    >>> run.history["outside"].round(2)[[0, -1]]
    array([0. , 0.1])
    """
    index = np.unique(np.asarray(support, dtype=np.intp))
    return lambda snapshot: float(np.abs(np.delete(snapshot.x, index, axis=0)).max(initial=0.0))


def entries(index: object) -> Metric:
    """The metric ``x[index]``.

    Parameters
    ----------
    index : int or array_like of int
        Which entries to keep.

    Returns
    -------
    callable
        For ``metrics`` of :class:`hadaflow.Recorder`.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> record = hf.Recorder(metrics={"first": hf.recording.entries(0)})
    >>> run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, record=record)
    >>> run.history["first"].round(2)[[0, -1]]
    array([0.  , 0.95])
    """
    chosen = np.asarray(index)
    return lambda snapshot: snapshot.x[chosen]


@dataclass(frozen=True, eq=False)
class Recorder:
    """Which snapshots of a run to keep, and what of them. The first and the last one are always kept.

    Give at most one of ``every``, ``times`` and ``per_decade``; the default is 40 snapshots per decade of flow time.

    Parameters
    ----------
    every : int, optional
        Every so many steps.
    times : array_like, optional
        Flow times, increasing: exactly these in continuous time, the first step at or after each in discrete time.
    per_decade : int, optional
        So many snapshots, evenly spread in log-time, while flow time grows tenfold.
    x, average : bool, default False
        Whether to keep the iterate and the running average.
    metrics : iterable of str, or mapping of str to callable, default ("residual", "l1_norm", "support_size")
        Numbers to keep: names out of ``residual`` (relative), ``l1_norm``, ``support_size``, ``l1_gap``,
        ``lasso_penalty``, ``lasso_gap``, ``seconds``, or functions of a :class:`hadaflow.Snapshot` under names of your
        own.
    max_bytes : int, default 2**30
        Bound on the memory of the kept arrays, and of the path itself in continuous time. Where the number of snapshots
        is not known beforehand and would exceed the bound, every second one is dropped and the spacing doubled, as
        often as needed.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.
    """

    every: int | None = None
    times: Any = None
    per_decade: int | None = None
    x: bool = False
    average: bool = False
    metrics: Iterable[str] | Mapping[str, Metric] = ("residual", "l1_norm", "support_size")
    max_bytes: int = 2**30
    _metrics: dict[str, Metric] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = [name for name in ("every", "times", "per_decade") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        for name in ("every", "per_decade"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(getattr(self, name), name))
        if self.times is not None:
            times = real_array(self.times, "times", 1).astype(np.float64)
            check_finite(times, "times")
            if len(times) == 0 or times[0] < 0 or (np.diff(times) <= 0).any():
                raise ValueError("times must be non-negative and increasing, with at least one entry")
            object.__setattr__(self, "times", times)
        flag(self.x, "x"), flag(self.average, "average")
        object.__setattr__(self, "max_bytes", whole_number(self.max_bytes, "max_bytes"))
        object.__setattr__(self, "_metrics", _named(self.metrics))

    def bytes_per_snapshot(self, problem: Problem) -> int:
        """Memory of one kept snapshot, in bytes; a metric counts as one number."""
        vectors = int(self.x) + int(self.average)
        return 16 + 8 * len(self._metrics) + vectors * problem.shape[1] * problem.dtype.itemsize

    def most_snapshots(self, problem: Problem) -> int:
        """How many snapshots ``max_bytes`` allows, at least 16."""
        return max(16, self.max_bytes // self.bytes_per_snapshot(problem))


def _named(metrics: Any) -> dict[str, Metric]:
    if isinstance(metrics, Mapping):
        for name, metric in metrics.items():
            if metric is None:
                raise TypeError(f"metrics[{name!r}] must be callable, got None")
            callback(metric, f"metrics[{name!r}]")
        return dict(metrics)
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"metrics must be among {', '.join(METRICS)}, or a mapping to functions; got {name!r}")
    return {name: METRICS[name] for name in names}


@dataclass(frozen=True, eq=False)
class History:
    """The snapshots that a run kept.

    Attributes
    ----------
    steps : ndarray of int, shape (k,)
        Their steps.
    times : ndarray of shape (k,)
        Their flow times.
    x, average : ndarray of shape (k, n) or None
        Iterates and running averages, where asked for.
    metrics : dict of str to ndarray
        One array of length k per metric.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(2), np.array([1.0, 0.5]))
    >>> model, stop = hf.HadamardPower(2), hf.stopping.MaxSteps(100)
    >>> run = hf.descend(problem, model, init_scale=0.1, step=0.05, stop=stop, record=hf.Recorder(every=50))
    >>> run.history.steps, run.history["l1_norm"].round(2)
    (array([  0,  50, 100]), array([0.  , 1.37, 1.5 ]))
    """

    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    x: NDArray[np.floating[Any]] | None = field(repr=False)
    average: NDArray[np.floating[Any]] | None = field(repr=False)
    metrics: dict[str, NDArray[Any]] = field(repr=False)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.metrics[name]

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        kept = ", ".join([*(name for name in ("x", "average") if getattr(self, name) is not None), *self.metrics])
        return f"History({len(self)} snapshots: {kept})"


def as_recorder(record: object) -> Recorder:
    """``record``, or the default for None."""
    if record is not None and not isinstance(record, Recorder):
        raise TypeError(f"record must be a hadaflow.Recorder, got {record!r}")
    return record or Recorder()


class RecordBuffer:
    """A recorder at work on one run."""

    def __init__(self, recorder: Recorder, problem: Problem) -> None:
        self.recorder = recorder
        self._most = recorder.most_snapshots(problem)
        if recorder.times is not None and len(recorder.times) > self._most:
            raise ValueError(
                f"{len(recorder.times)} times of {recorder.bytes_per_snapshot(problem)} bytes each exceed "
                f"max_bytes={recorder.max_bytes}: take fewer, or raise the bound"
            )
        self._stride = recorder.every or 1
        self._ratio = 10.0 ** (1.0 / (recorder.per_decade or 40))
        self._next = 0
        self._due = 0.0
        self._count = 0
        self._columns: dict[str, NDArray[Any]] = {}

    def wants(self, step: int, time: float) -> bool:
        """Whether this snapshot is to be kept."""
        if self._count == 0:
            return True
        if self.recorder.every is not None:
            return step % self._stride == 0
        if self.recorder.times is not None:
            return self._next < len(self.recorder.times) and time >= self.recorder.times[self._next]
        return time >= self._due

    def keep(self, snapshot: Snapshot) -> None:
        """Keep it, in order of time: a snapshot that is chosen in the end may lie before others."""
        count = self._count
        place = int(np.searchsorted(self._columns["time"][:count], snapshot.time, side="right")) if count else 0
        if (
            place
            and self._columns["time"][place - 1] == snapshot.time
            and self._columns["step"][place - 1] == snapshot.step
        ):
            return
        self._insert(place, self._row(snapshot))
        if place < count:
            return
        recorder = self.recorder
        if recorder.times is not None:
            self._next = int(np.searchsorted(recorder.times, snapshot.time, side="right"))
        self._due = snapshot.time * self._ratio
        if recorder.times is None and self._count > self._most:
            kept = (self._count + 1) // 2
            for column in self._columns.values():
                column[:kept] = column[: self._count : 2].copy()
            self._count = kept
            self._stride, self._ratio = 2 * self._stride, self._ratio**2

    def history(self, until: float = np.inf) -> History:
        """What was kept up to a time, as arrays."""
        count = int(np.searchsorted(self._columns["time"][: self._count], until, side="right"))
        arrays = {name: column[:count].copy() for name, column in self._columns.items()}
        metrics = {name: arrays["metrics." + name] for name in self.recorder._metrics}
        return History(arrays["step"], arrays["time"], arrays.get("x"), arrays.get("average"), metrics)

    def _row(self, snapshot: Snapshot) -> dict[str, NDArray[Any]]:
        row = {"step": np.asarray(snapshot.step, dtype=np.int64), "time": np.asarray(snapshot.time, dtype=np.float64)}
        if self.recorder.x:
            row["x"] = snapshot.x
        if self.recorder.average:
            row["average"] = snapshot.average
        return row | {
            "metrics." + name: np.asarray(metric(snapshot)) for name, metric in self.recorder._metrics.items()
        }

    def _insert(self, place: int, row: dict[str, NDArray[Any]]) -> None:
        if not self._columns:
            size = sum(value.nbytes for value in row.values())
            self._most = max(16, min(self._most, self.recorder.max_bytes // size))
        for name, value in row.items():
            column = self._columns.get(name, np.empty((0, *value.shape), dtype=value.dtype))
            if value.shape != column.shape[1:]:
                raise ValueError(f"{name} must keep its shape during a run: {column.shape[1:]} became {value.shape}")
            dtype = np.promote_types(column.dtype, value.dtype)
            if len(column) == self._count or dtype != column.dtype:
                wider = np.empty((max(16, 2 * self._count), *value.shape), dtype=dtype)
                wider[: self._count] = column[: self._count]
                column = self._columns[name] = wider
            column[place + 1 : self._count + 1] = column[place : self._count].copy()
            column[place] = value
        self._count += 1
