"""A matrix in blocks of rows that Dask holds: on disk, in the memory of other processes, or of other machines.

Vectors stay here; each pass sends the operands to the blocks, multiplies there, and adds up what comes back in an order
that depends on the blocks alone, so that neither the number of workers nor the loss of one changes a result.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from hadaflow._sweep import Sweep
from hadaflow._threads import one_blas_thread
from hadaflow._types import Index, Vector
from hadaflow._validation import float_dtype, one_of, reject_kind
from hadaflow.operators.base import DIVERGED, Operator
from hadaflow.operators.block import Columns
from hadaflow.operators.costs import PassCosts
from hadaflow.operators.dense import DenseOperator
from hadaflow.operators.sparse import SparseOperator

MERGED_AT_ONCE = 8  # results that are added up at a time
_SMALL = 1 << 23  # bytes of a block below which its task costs more than its products
_MOST_SMALL = 32  # such blocks up to which nobody minds
PERSISTED_FRACTION = 0.5  # fraction of the workers' memory that A may take up between two passes
_HERE_FRACTION = 0.3  # the same of this machine's, which is not Dask's alone
_PATIENCE = 60.0  # seconds without any workers
_MASKED = "A has masked entries; remove or fill them before the call"


class Part(NamedTuple):
    """What a pass makes of some blocks: entries for their rows, and a part of a sum over all; None for neither."""

    rows: Any
    total: Any


_Kernel = Callable[[Operator, Any, tuple[Any, ...]], Part]


class PartitionedOperator(Operator):
    """A two-dimensional Dask array, cut into blocks of whole rows.

    Parameters
    ----------
    array : dask.array.Array of shape (m, n)
        Real, of known chunk sizes; blocks are NumPy arrays or SciPy sparse matrices. Chunks that split columns are
        joined, and very many small ones too.
    persist : {"auto", "always", "never"}, default "auto"
        Whether the blocks are kept in the memory of the workers from one pass to the next. "auto": if they take up at
        most half of it (without a client: 30 % of this machine's).

    Notes
    -----
    One pass over the blocks for each of ``A @ v``, ``A.T @ r``, any number of columns, and for a pair of products
    (:meth:`residual`, :meth:`matvec_and_rmatvec`). Each pass sends n numbers to each worker, m in all, and brings back
    n + m. Runs wherever Dask does: on the threads of this process, or on the workers of the current client.
    """

    def __init__(self, array: Any, persist: str = "auto") -> None:
        one_of(persist, "persist", ("auto", "always", "never"))
        array = _by_rows(array)
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self.dtype = float_dtype(np.dtype(array.dtype))
        self.costs = PassCosts(pair=1.0, columns_per_pass=inf, request=1.0, matrix_free=False, local=False)
        if persist == "always" or (persist == "auto" and array.nbytes <= _room()):
            array = array.persist()
        self._array = array  # kept, for its blocks are the workers' only as long as somebody holds it
        spans = pairwise(np.cumsum([0, *array.chunks[0]]).tolist())
        blocks = zip(array.to_delayed().ravel(), spans, strict=True)
        self._blocks = [(block, start, stop) for block, (start, stop) in blocks if start < stop]

    def matvec(self, v: Vector) -> Vector:
        return self._checked(self._pass(_product, v).rows, v)

    def rmatvec(self, r: Vector) -> Vector:
        return self._checked(self._pass(_adjoint_product, None, r).total, r)

    def rmatmat(self, r: Vector) -> Vector:
        return self.rmatvec(r)

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        part = self._pass(_residual, x, r)
        return self._checked(part.rows, x, r), self._checked(part.total, x, r)

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        part = self._pass(_both, v, r)
        return self._checked(part.rows, v), self._checked(part.total, r)

    def columns(self, index: Index) -> Columns:
        columns = self._pass(_columns, np.asarray(index)).rows
        return sp.csc_array(columns) if sp.issparse(columns) else np.asfortranarray(columns)

    def column_squares(self) -> Vector:
        return self._checked(self._pass(_squares, None).total)

    @cached_property
    def row_lengths(self) -> Vector:
        return self._checked(self._pass(_row_lengths, None).rows)

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        def products(x: Any, y: Any) -> tuple[Any, Any]:
            if not float(np.abs(x).max(initial=0.0)) < DIVERGED:  # or NaN
                return np.full_like(y, np.inf), np.full_like(x, np.inf)
            part = self._pass(_swept, x, y)
            return part.rows.astype(dtype, copy=False), part.total.astype(dtype, copy=False)

        return Sweep(products, 1.0)

    def _pass(self, kernel: _Kernel, common: Any, *by_rows: Any) -> Part:
        """Run a kernel on every block, with ``common`` whole and of the other operands the rows of the block."""
        from dask import delayed

        shared = delayed(common, pure=False, traverse=False)
        run, merge = delayed(_on_block, pure=False), delayed(_merged, pure=False)
        parts = [
            run(kernel, block, (stop - start, self.shape[1]), shared, tuple(operand[start:stop] for operand in by_rows))
            for block, start, stop in self._blocks
        ]
        while len(parts) > 1:
            parts = [merge(parts[k : k + MERGED_AT_ONCE]) for k in range(0, len(parts), MERGED_AT_ONCE)]
        # Dask gives each worker process one BLAS thread; threads of this process would each start as many as cores.
        with warnings.catch_warnings(), one_blas_thread():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)  # operands, which nothing else has
            try:
                result: Part = _computed(parts[0])
            except Exception as error:
                raise _explained(error, self) from error
        return result

    @staticmethod
    def _checked(product: Any, *operands: Vector) -> Vector:
        if not np.isfinite(product).all() and all(np.isfinite(operand).all() for operand in operands):
            raise ValueError("A contains NaN or infinity, or entries so large that a product overflows; mend the data")
        return np.asarray(product)

    @property
    def largest_block(self) -> int:
        """Bytes of the largest block, dense."""
        rows = max(stop - start for _, start, stop in self._blocks)
        return int(rows * self.shape[1] * self.dtype.itemsize)

    def __repr__(self) -> str:
        return f"PartitionedOperator({self.shape[0]} x {self.shape[1]}, {self.dtype}, {len(self._blocks)} blocks)"


# ---- what happens to a block, wherever it is ------------------------------------------------------------------------


def _on_block(kernel: _Kernel, block: Any, shape: tuple[int, int], common: Any, by_rows: tuple[Any, ...]) -> Part:
    if np.ma.is_masked(block):
        raise ValueError(_MASKED)
    if np.shape(block) != shape:
        found = f"has shape {np.shape(block)}" if hasattr(block, "shape") else f"is a {type(block).__name__}"
        raise ValueError(f"a block of A {found}, where an array of shape {shape} was declared: declare what it has")
    reject_kind(block.dtype, "a block of A")
    wanted = float_dtype(block.dtype)
    if sp.issparse(block):
        operator: Operator = SparseOperator(block.astype(wanted, copy=False))
    else:  # what came in a message may not be aligned, and NumPy then adds in another order
        block = np.require(np.asarray(block), requirements="A")
        operator = DenseOperator(block.astype(wanted, copy=False))
    with np.errstate(all="ignore"):  # what is not finite is reported once, where the parts come together
        return kernel(operator, common, by_rows)


def _product(block: Operator, v: Any, _: tuple[Any, ...]) -> Part:
    return Part(block.matvec(v), None)


def _adjoint_product(block: Operator, _: Any, by_rows: tuple[Any, ...]) -> Part:
    (r,) = by_rows
    return Part(None, block.rmatvec(r) if r.ndim == 1 else block.rmatmat(r))


def _residual(block: Operator, x: Any, by_rows: tuple[Any, ...]) -> Part:
    return Part(*block.residual(x, *by_rows))


def _both(block: Operator, v: Any, by_rows: tuple[Any, ...]) -> Part:
    return Part(*block.matvec_and_rmatvec(v, *by_rows))


def _columns(block: Operator, index: Any, _: tuple[Any, ...]) -> Part:
    return Part(block.columns(index), None)


def _squares(block: Operator, _: Any, __: tuple[Any, ...]) -> Part:
    return Part(None, block.column_squares())


def _row_lengths(block: Operator, _: Any, __: tuple[Any, ...]) -> Part:
    return Part(block.row_lengths, None)


def _swept(block: Operator, x: Any, by_rows: tuple[Any, ...]) -> Part:
    return Part(*block.sweep(x.dtype)(x, *by_rows))


def _merged(parts: Sequence[Part]) -> Part:
    """Rows one below the other, totals added up in order."""
    if parts[0].rows is None:
        rows = None
    elif sp.issparse(parts[0].rows):
        rows = sp.vstack([part.rows for part in parts], format="csc")
    else:
        rows = np.concatenate([part.rows for part in parts])
    total = parts[0].total
    for part in parts[1:] if total is not None else ():
        total = total + part.total
    return Part(rows, total)


def no_work(_: Any) -> None:
    """A task that costs nothing but its way there and back."""


# ---- where blocks are -----------------------------------------------------------------------------------------------


def is_partitioned(A: Any) -> bool:
    """Whether ``A`` is a Dask array; does not import Dask."""
    dask = sys.modules.get("dask.array")
    return dask is not None and isinstance(A, dask.Array)


def _by_rows(array: Any) -> Any:
    """The array in blocks of whole rows."""
    if not is_partitioned(array):
        remedy = (
            "A.to_dask_array(lengths=True) is one"
            if hasattr(type(array), "to_dask_array")
            else "see dask.array.from_delayed"
        )
        raise TypeError(f"A must be a dask.array.Array, got {type(array).__name__}; {remedy}")
    if np.ma.isMaskedArray(array._meta):
        raise ValueError(_MASKED)
    reject_kind(np.dtype(array.dtype), "A")
    if array.ndim != 2:
        raise ValueError(f"A must be two-dimensional, of shape (m, n), got shape {array.shape}")
    if np.isnan(array.shape).any():
        raise ValueError("the Dask array A has chunks of unknown size: call A.compute_chunk_sizes() first")
    if 0 in array.shape:
        raise ValueError(f"A is empty (shape {array.shape}); it needs at least one row and one column")
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    size = array.nbytes / array.numblocks[0]
    if array.numblocks[0] > _MOST_SMALL and size < _SMALL:
        array = array.rechunk({0: max(1, int(_SMALL // (array.nbytes / array.shape[0])))})
    return array


def _client() -> Any:
    """The client that Dask would use; None where blocks are worked on in this process."""
    from dask.base import get_scheduler

    client = getattr(get_scheduler(), "__self__", None)
    return client if hasattr(client, "scheduler_info") else None


def has_workers(client: Any) -> bool:
    """Whether the cluster of a client has any workers."""
    return bool(client.scheduler_info(n_workers=1)["workers"])


def _computed(part: Any) -> Any:
    """Have Dask do the work."""
    client = _client()
    if client is None:
        return part.compute()
    future = client.compute(part)
    try:
        while True:
            try:
                part = future.result(timeout=_PATIENCE)
            except TimeoutError:
                if future.status != "pending":  # a task's own
                    raise
                if not has_workers(client):
                    raise OSError(f"the cluster has had no workers for {_PATIENCE:.0f} s: start some") from None
            else:
                return part
    finally:
        future.release()


def _room() -> float:
    """Bytes that blocks may take up between two passes."""
    client = _client()
    if client is None:
        known = hasattr(os, "sysconf")
        return _HERE_FRACTION * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 0.0
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return PERSISTED_FRACTION * sum(worker["memory_limit"] or np.inf for worker in workers)


def _explained(error: Exception, operator: PartitionedOperator) -> Exception:
    """What to make of an error on the way: of the workers' own if it is theirs, else the error itself."""
    if isinstance(error, ValueError) and "Missing dependency" in str(error):
        return OSError("blocks of A were kept on a Dask cluster, which is closed: make the problem again, or open one")
    if type(error).__name__ in {"FutureCancelledError", "CancelledError"}:
        return OSError(
            f"the cluster gave up a pass over A: its log says why; scheduler, workers and this process need the same "
            f"packages, so start them again after an update ({error})"
        )
    if type(error).__name__ == "KilledWorker":
        size = operator.largest_block / 2**20
        return OSError(
            f"the workers of the cluster died on a pass over A, whose blocks take up to {size:.0f} MiB: give them more "
            f"memory, or A smaller blocks ({error})"
        )
    return error
