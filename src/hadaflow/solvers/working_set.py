"""A few columns of A with their Gram matrix: the part of the problem the saddle path works on."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Index, Vector
from hadaflow.operators import Operator
from hadaflow.operators.block import Columns, at_work, is_sparse, product


class WorkingSet:
    """Columns ``index`` of A, extended as the path needs them.

    Attributes
    ----------
    index : int array of shape (w,)
        Which columns.
    inside : bool array of shape (n,)
        The same as a mask.
    columns : ndarray or csc_array of shape (m, w)
        The columns in float64.
    gram : ndarray of shape (w, w)
        Their inner products.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.index: Index = np.empty(0, dtype=np.intp)
        self.inside = np.zeros(operator.shape[1], dtype=bool)
        self._place = np.zeros(operator.shape[1], dtype=np.intp)  # of each column that is inside
        self.columns: Columns = None
        self.gram = np.empty((0, 0))
        self._store = np.empty((operator.shape[0], 0), order="F")

    def __len__(self) -> int:
        return len(self.index)

    def extend(self, new: Index) -> None:
        """Add columns; costs ``2 m w`` operations each, in blocks."""
        if len(new) == 0:
            return
        block = at_work(self.operator.columns(new))
        old = len(self)
        gram = np.empty((old + len(new), old + len(new)))
        gram[old:, old:] = product(block, block)
        if old:
            gram[:old, :old] = self.gram
            gram[:old, old:] = product(self.columns, block)
            gram[old:, :old] = gram[:old, old:].T
        self.columns, self.gram = self._joined(block), gram
        self.index = np.concatenate([self.index, new])
        self.inside[new] = True
        self._place[new] = np.arange(old, len(self))

    def keep(self, positions: Index) -> None:
        """Forget all columns but those at ``positions``, which move up in that order."""
        self.columns = self.columns[:, positions]
        if not is_sparse(self.columns):
            self._store = self.columns = np.asfortranarray(self.columns)
        self.gram = self.gram[np.ix_(positions, positions)]
        self.index = self.index[positions]
        self.inside[:] = False
        self.inside[self.index] = True
        self._place[self.index] = np.arange(len(self))

    def _joined(self, block: Columns) -> Columns:
        """The columns so far and a block to their right; room is kept so that dense columns are seldom moved."""
        if is_sparse(block):
            return block if self.columns is None else sp.hstack([self.columns, block], format="csc")
        old, new = len(self), len(self) + block.shape[1]
        if new > self._store.shape[1]:
            store = np.empty((len(block), 2 * new), order="F")
            store[:, :old] = self._store[:, :old]
            self._store = store
        self._store[:, old:new] = block
        return self._store[:, :new]

    def combine(self, positions: Index, values: Vector) -> Vector:
        """``A[:, index[positions]] @ values``."""
        if len(self) == 0:
            return np.zeros(self.operator.shape[0])
        full = np.zeros(len(self))
        full[positions] = values
        return np.asarray(self.columns @ full)  # no copy of the chosen columns

    def positions_of(self, coordinates: Index) -> Index:
        """Where the given columns, all inside, stand in the working set."""
        return self._place[coordinates]

    def longest(self) -> float:
        """Length of the longest column; 0 while there is none."""
        return float(np.sqrt(self.gram.diagonal().max(initial=0.0)))

    def correlate(self, r: Vector) -> Vector:
        """``A[:, index].T @ r``."""
        return np.asarray(self.columns.T @ r)
