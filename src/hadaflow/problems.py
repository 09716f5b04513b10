"""The data of a problem: measurements ``y`` of an unknown ``x`` through ``A``, and the loss that compares them."""

from __future__ import annotations

from copy import copy
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow._validation import check_finite, flag, real_array
from hadaflow.groups import Groups
from hadaflow.layouts import Layout
from hadaflow.losses import Loss, Squared
from hadaflow.operators import Operator, Repeated, as_operator
from hadaflow.operators.making import complex_operator, is_complex


@dataclass(frozen=True, eq=False)
class Problem:
    """Measurements ``y`` of ``A x``, checked once.

    The objective that every dynamics of the library follows downhill is ``F(x) = 1/2 ||A x - y||_2^2``, or with another
    loss l ``F(x) = sum_j l((A x)_j, y_j)``.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, scipy LinearOperator, or dask.array.Array
        Measurement matrix or operator, real or complex. Never copied when contiguous, never written to; so do not
        change it while the problem is in use.
    y : array_like of shape (m,), or (m, k) with ``joint``
        Measurements, real or complex; what else the loss asks for (:class:`hadaflow.losses.Logistic`: labels -1 and
        +1).
    loss : Loss out of ``hadaflow.losses``, default Squared()
        What compares ``A x`` with y. :func:`hadaflow.descend`, :func:`hadaflow.descend_batch` and :func:`hadaflow.flow`
        take any; all else is about the squared loss, and says so.
    groups : int, array_like of shape (n,) or sequence of int arrays, optional
        Coordinates of x that are zero, or not, together: a size of consecutive ones, a label for each coordinate, or
        lists of coordinates. Default: each coordinate by itself.
    joint : bool, default False
        Whether y has k columns whose x have one support: x is a matrix of shape (n, k), and its rows are zero, or not,
        as a whole.
    real : bool, default False
        Whether x is real though A and y are complex.

    Attributes
    ----------
    operator : Operator
        ``A`` behind the library's operator protocol: always a real matrix.
    y : ndarray of shape (m,)
        Measurements as one real vector. Complex ones take two numbers each, real and imaginary part; of a matrix rows
        follow one another (:class:`hadaflow.layouts.Layout`).
    layout : Layout
        From vectors of the user, complex or with columns, to real ones and back.
    groups : Groups
        The coordinates of real vectors that count together: a complex number is a group of two, a row of a joint x one
        of k.
    shape : tuple of int
        ``(m, n)`` of the real problem.
    dtype : numpy.dtype
        Precision of the answers: float32 if ``A`` and ``y`` are single, else float64.

    Raises
    ------
    TypeError
        If ``A`` or ``y`` is no numeric data, or ``loss`` is no loss.
    ValueError
        If a shape is wrong, ``A`` is empty, an entry is NaN or infinite (the message names the entry), the loss cannot
        take ``y``, or groups are no partition of the coordinates.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> hf.Problem(np.ones((2, 3)), [1.0, 1.0]).shape
    (2, 3)
    """

    A: Any
    y: Float
    loss: Loss = field(default_factory=Squared)
    _: KW_ONLY
    groups: Any = None
    joint: bool = False
    real: bool = False
    operator: Operator = field(init=False, repr=False)
    layout: Layout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        joint, real = flag(self.joint, "joint"), flag(self.real, "real")
        y = self._measurements(joint)
        operator, layout = _placed(self.A, y, joint, real)
        m, n = operator.shape[0] // (layout.width_y), operator.shape[1] // layout.width
        if len(y) != m:
            raise ValueError(f"y must have one entry per row of A: A has shape {(m, n)}, y has length {len(y)}")
        check_finite(y, "y")
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss must be a loss out of hadaflow.losses, such as Logistic(), got {self.loss!r}")
        if not layout.plain and type(self.loss) is not Squared:
            raise ValueError(f"complex data and joint=True are for the squared loss, got loss={self.loss!r}")
        y = layout.real_y(y)
        self.loss.check(y)
        groups = Groups.of(self.groups, n) if not isinstance(self.groups, Groups) else self.groups
        if not isinstance(self.groups, Groups) and layout.width > 1:
            groups = Groups(np.repeat(np.arange(n) if groups.labels is None else groups.labels, layout.width))
        for name, value in (("operator", operator), ("layout", layout), ("y", y), ("groups", groups)):
            object.__setattr__(self, name, value)

    def _measurements(self, joint: bool) -> Float:
        """y as an array of its own kind."""
        given: Any = self.y
        shape = given.shape if isinstance(given, np.ndarray) else ()
        if not joint and len(shape) == 2 and min(shape) > 1:
            raise ValueError(
                f"y must be one-dimensional, got shape {shape}: pass joint=True where the x of its columns have one "
                f"support; columns that have nothing to do with each other are for hadaflow.recover_each"
            )
        y = real_array(self.y, "y", 2 if joint else 1, complex_too=True)
        if joint and y.shape[1] == 0:
            raise ValueError(f"y has no columns (shape {y.shape}): joint=True needs a right-hand side in each")
        return y

    def __repr__(self) -> str:
        loss = "" if self.squared else f", {self.loss!r}"
        kind = f"{type(self.A).__name__}{loss}"
        groups = "" if self.groups.single else f", {self.groups.count} groups"
        return f"Problem({self.size}, {self.layout.dtype_name(self.dtype)}, {kind}{groups})"

    @property
    def given_shape(self) -> tuple[int, int]:
        """``(m, n)`` of A as it was given: a complex number counts once."""
        return self.shape[0] // self.layout.width_y, self.shape[1] // self.layout.width

    @property
    def size(self) -> str:
        """``m x n`` of A as it was given, and how many columns there are."""
        m, n = self.given_shape
        return f"{m} x {n}" if self.layout.columns is None else f"{m} x {n}, {self.layout.columns} columns"

    def with_data(self, operator: Operator, y: Float) -> Problem:
        """The same problem with other real data, such as an operator that is metered; nothing is checked again."""
        problem = copy(self)
        for name, value in (("A", operator), ("operator", operator), ("y", y)):
            object.__setattr__(problem, name, value)
        return problem

    def with_measurements(self, y: Float) -> Problem:
        """The same with other measurements, checked ones of the user's kind: A is not looked at again."""
        problem = copy(self)
        object.__setattr__(problem, "y", self.layout.real_y(y))
        return problem

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(self.operator.dtype, self.y.dtype)

    @property
    def squared(self) -> bool:
        """Whether the loss is the squared one; a subclass of it may be something else."""
        return type(self.loss) is Squared

    @property
    def negative_gradient_at_zero(self) -> NDArray[np.float64]:
        """Minus dF/dp at ``x = 0``, shape (m,), float64: y itself for the squared loss."""
        y = self.y.astype(np.float64)
        return y if self.squared else -np.asarray(self.loss.gradient(np.zeros_like(y), y))


def require_squared(problem: Problem, name: str) -> None:
    """Raise ValueError unless the loss is the squared one, naming what asks for it."""
    if not problem.squared:
        raise ValueError(
            f"{name} works for the squared loss only, but the problem has loss={problem.loss!r}: pass "
            f"Problem(A, y) without a loss; hadaflow.descend and hadaflow.flow take any"
        )


def require_single(problem: Problem, name: str, instead: str) -> None:
    """Raise ValueError unless every coordinate is a group of its own, naming what asks for it and what to do."""
    if not problem.groups.single:
        raise ValueError(f"{name} works coordinate by coordinate, but the problem has {_what(problem)}: {instead}")


def require_real_vector(problem: Problem, name: str, instead: str) -> None:
    """Raise ValueError where x is complex or a matrix, naming what asks for it and what to do."""
    if problem.layout.complex_x or problem.layout.columns is not None:
        raise ValueError(f"{name} takes a real vector x, but the problem has {_what(problem)}: {instead}")


def _what(problem: Problem) -> str:
    """What makes coordinates count together, in words."""
    if problem.layout.complex_x:
        return "complex data"
    return "groups" if problem.layout.columns is None else "joint columns"


def _placed(A: Any, y: Float, joint: bool, real: bool) -> tuple[Operator, Layout]:
    """A as a real operator, and how x and y lie in the vectors that it takes."""
    of_a, columns = is_complex(A), y.shape[1] if joint else None
    complex_y = of_a or y.dtype.kind == "c"
    layout = Layout(complex_y and not real, complex_y, columns)
    if not of_a:
        operator: Operator = as_operator(A)
        if complex_y and real:
            raise ValueError("real=True asks for a real x, but A is real and y complex: no real x has a complex A x")
        repeats = layout.width
    else:
        operator, repeats = complex_operator(A, real=real), columns or 1
    return (operator if repeats == 1 else Repeated(operator, repeats)), layout
