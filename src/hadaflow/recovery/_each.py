"""The door for many right-hand sides: A is looked at once, columns are searched together where that is faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hadaflow._threads import one_blas_thread
from hadaflow._types import Float, Index, Vector
from hadaflow._validation import check_finite, positive_number, real_array, whole_number
from hadaflow.certificates import Certificates
from hadaflow.convergence import columns_reported
from hadaflow.gauges import Gauge
from hadaflow.problems import Problem
from hadaflow.recovery._options import options_of
from hadaflow.recovery._strategies import Options
from hadaflow.recovery._together import Proved, Together
from hadaflow.recovery._vanishing_start import vanishing_start
from hadaflow.results import Progress, ProgressCallback, Recoveries, Recovery, Stats

Job = TypeVar("Job")
Done = TypeVar("Done")

_WORTH_SHARING = 3  # columns from which on work that is done once for all pays


def recover_each(  # noqa: PLR0913 - the options of recover
    A: Any,
    Y: Any,
    *,
    positive: bool = False,
    weights: Any = None,
    gauge: Gauge | None = None,
    groups: Any = None,
    real: bool = False,
    noise_level: Any = 0.0,
    method: Literal["auto", "saddles", "limit"] = "auto",
    progress: ProgressCallback | None = None,
    n_threads: int = 1,
) -> Recoveries:
    """Recover a sparse x from each column of Y: as many problems as there are columns, with one A.

    The answers are those of :func:`hadaflow.recover`, called for each column, and each is proved by a certificate of
    its own; what depends on A alone is done once. Columns whose x have one support are another question: see
    ``joint`` of :func:`hadaflow.recover`.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, scipy LinearOperator, or dask.array.Array
        Measurement matrix or operator, real or complex.
    Y : array_like of shape (m, k)
        Measurements, a right-hand side in each column, real or complex.
    positive : bool, default False
        Only non-negative x.
    weights : array_like of shape (n,), optional
        Minimise ``sum_i w_i |x_i|`` instead, w > 0; one weight per group where there are groups.
    gauge : Gauge, optional
        What to minimise in place of an l1 norm (:mod:`hadaflow.gauges`); not together with positive or weights.
    groups : int, array_like of shape (n,) or sequence of int arrays, optional
        Coordinates that are zero, or not, together, as in :func:`hadaflow.recover`.
    real : bool, default False
        Whether x is real though A and Y are complex.
    noise_level : float or array_like of shape (k,), default 0
        Bound on ``||noise||_2`` of each column, in units of Y; one number for all, or one for each.
    method : {"auto", "saddles", "limit"}, default "auto"
        How the solutions are found, as in :func:`hadaflow.recover`.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` as columns are done.
    n_threads : int, default 1
        How many threads work on columns at a time. Of small problems little is left to them; products of a
        LinearOperator have to bear being called from several.

    Returns
    -------
    Recoveries
        ``x`` of shape (n, k), ``statuses``, ``certificates`` and more, column by column; ``r[j]`` is the
        :class:`hadaflow.Recovery` of column j.

    Raises
    ------
    TypeError, ValueError
        As :func:`hadaflow.recover`.

    Warns
    -----
    ConvergenceWarning
        Once, naming the columns, if the status of some is ``INEXACT`` or ``NOT_CONVERGED``.

    See Also
    --------
    recover : one right-hand side, or several columns with one support.

    Notes
    -----
    For a real float64 matrix in memory of up to 260,000 entries and an l1 norm, the saddle paths of all columns are
    walked in step, by products of blocks, and non-negative least squares are found by an active set (Lawson and Hanson
    1974, chapter 23); what is not proved to be the only answer then, and all else, is searched column by column: there
    only the checks and measures of A are shared. The dual vectors need not be those of :func:`hadaflow.recover`, and
    answers may differ from its in the last digits.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 200))
    >>> X = np.zeros((200, 3))
    >>> X[[3, 77, 120], [0, 1, 2]] = [2.0, -1.0, 0.5]
    >>> r = hf.recover_each(A, A @ X)
    >>> r.status.name, r.certificates.unique, r[1].support()
    ('EXACT', array([ True,  True,  True]), array([77]))
    """
    began = time.perf_counter()
    block = _right_hand_sides(Y)
    k = block.shape[1]
    problem = Problem(A, np.zeros(len(block), block.dtype), groups=groups, real=real)
    n_threads = whole_number(n_threads, "n_threads")
    noise = _noise_levels(noise_level, k)
    options = options_of(
        problem,
        positive=positive,
        weights=weights,
        gauge=gauge,
        noise_level=float(noise.max(initial=0.0)),
        method=method,
        progress=progress,
    )
    found = _Found(problem, block, noise, options)
    if k >= _WORTH_SHARING and Together.suits(problem, options):
        found.search_together(n_threads)
    found.search_each(n_threads)
    return columns_reported(found.recoveries(time.perf_counter() - began))


def _right_hand_sides(Y: Any) -> NDArray[Any]:
    shape = np.shape(Y)
    if len(shape) == 1:
        raise ValueError(
            f"Y must be two-dimensional, a right-hand side in each column, got shape {shape}: "
            f"one of them is for hadaflow.recover"
        )
    block: NDArray[Any] = real_array(Y, "Y", 2, complex_too=True)
    check_finite(block, "Y")
    return block


def _noise_levels(value: Any, k: int) -> Vector:
    """One noise level per column."""
    if np.ndim(value) == 0:
        return np.full(k, positive_number(value, "noise_level", strict=False))
    levels = real_array(value, "noise_level", 1).astype(np.float64)
    if len(levels) != k:
        raise ValueError(f"noise_level must be a number or one for each of the {k} columns of Y, got {len(levels)}")
    check_finite(levels, "noise_level")
    if levels.min(initial=0.0) < 0:
        raise ValueError(f"noise_level must not be negative, but entry {int(levels.argmin())} is {levels.min():g}")
    return levels


class _Found:
    """Answers as they come in, column by column."""

    def __init__(self, problem: Problem, block: NDArray[Any], noise: Vector, options: Options) -> None:
        self.problem, self.block, self.noise, self.options = problem, block, noise, options
        k = block.shape[1]
        m, n = problem.shape
        self.x: Float = np.zeros((k, n), problem.dtype)
        self.dual: Vector = np.zeros((k, m))
        self.certificates = Certificates.empty(k)
        self.statuses = np.full(k, None, dtype=object)
        self.stats = [Stats()] * k

    def search_together(self, n_threads: int) -> None:
        """All columns at once, in parts; those without a proof are left."""
        together = Together(self.problem, self.options)
        y = np.ascontiguousarray(self.block.T, dtype=np.float64)

        def search(part: Index) -> tuple[Index, list[Proved], float]:
            began = time.perf_counter()
            proved = together.search(part, y[part], self.noise[part])
            return part, proved, time.perf_counter() - began

        with one_blas_thread():
            for part, proved, seconds in _done(search, together.parts(len(y)), n_threads):
                for each in proved:
                    self._take(each, seconds / len(part))
                self._report()

    def search_each(self, n_threads: int) -> None:
        """Those that are left, one by one."""
        for j, recovery in _done(self._searched, [int(j) for j in np.flatnonzero(self._missing())], n_threads):
            layout = self.problem.layout
            self.x[j], self.dual[j] = layout.real_x(recovery.x), layout.real_y(recovery.dual)
            self.certificates.fill(np.array([j]), [recovery.certificate])
            self.statuses[j], self.stats[j] = recovery.status, recovery.stats
            self._report()

    def _searched(self, j: int) -> tuple[int, Recovery]:
        options = replace(self.options, noise_level=float(self.noise[j]), progress=None)
        try:
            return j, vanishing_start(self.problem.with_measurements(self.block[:, j]), options)
        except ValueError as error:
            raise ValueError(f"column {j} of Y: {error}") from error

    def _take(self, proved: Proved, seconds: float) -> None:
        index = proved.index
        self.x[index], self.dual[index] = proved.x, proved.dual
        self.certificates.fill(index, proved.certificates)
        self.statuses[index] = proved.status
        method, jumps, passes = proved.effort
        for j, events in zip(index, jumps, strict=True):
            self.stats[j] = Stats(seconds, passes / len(index), 0, int(events), method, (method,))

    def _missing(self) -> NDArray[np.bool_]:
        return np.array([status is None for status in self.statuses], dtype=bool)

    def _report(self) -> None:
        if self.options.progress is not None:
            done, k = int((~self._missing()).sum()), len(self.statuses)
            self.options.progress(Progress("recover_each", done / k, f"{done} of {k} columns"))

    def recoveries(self, seconds: float) -> Recoveries:
        """All of them."""
        layout, options = self.problem.layout, self.options
        x = [layout.x(each) for each in self.x]
        dual = [layout.y(each) for each in self.dual]
        m, n = self.problem.shape[0] // layout.width_y, self.problem.shape[1] // layout.width
        methods = list(dict.fromkeys(each.method for each in self.stats))
        stats = Stats(
            seconds,
            sum(each.passes for each in self.stats),
            sum(each.newton_steps for each in self.stats),
            sum(each.events for each in self.stats),
            " + ".join(methods),
            tuple(dict.fromkeys(name for each in self.stats for name in each.tried)),
        )
        return Recoveries(
            np.array(x).T if x else np.zeros((n, 0), layout.x(np.zeros(2, self.problem.dtype)).dtype),
            np.array(dual).T if dual else np.zeros((m, 0), layout.y(np.zeros(2)).dtype),
            self.statuses,
            self.certificates,
            tuple(self.stats),
            stats,
            self.problem,
            self.block,
            self.noise,
            options.positive,
            options.weights,
            options.gauge,
        )


def _done(function: Callable[[Job], Done], jobs: Iterable[Job], n_threads: int) -> Iterator[Done]:
    """What a function makes of some jobs, as they are done."""
    if n_threads == 1:
        yield from map(function, jobs)
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(n_threads) as pool:
        running = [pool.submit(function, job) for job in jobs]
        try:
            for each in as_completed(running):
                yield each.result()
        finally:
            for each in running:
                each.cancel()
