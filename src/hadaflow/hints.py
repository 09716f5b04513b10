"""What to think of an answer that looks like fitted noise, in a sentence; nothing where nothing is odd."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np

from hadaflow._types import Float, Index
from hadaflow._validation import norm
from hadaflow.operators.block import lengths_of
from hadaflow.problems import Problem

_FEW_ROWS = 5  # below which as many non-zeros as rows say nothing
_DENSE = 0.9  # fraction of the rows from which on non-zeros are as many as in any vertex of the l1 problem
_STRETCH = 1e3  # sum |x_i| ||A_i|| / ||y|| from which on a tenth of a per cent of noise would explain all of x
_TRACE = 1e-3  # of the largest entry, below which those of a limit may be left over from its start
_LEFT = 1e-7  # relative residual of a least-squares end that rounding does not explain
_MOST_ENTRIES = 1 << 26  # of A that are read for a hint

_REMEDY = (
    "noise of known size s = ||noise||_2: hf.recover(A, y, noise_level=s), or --noise-level s in the shell; "
    "of unknown size: hf.select(hf.Problem(A, y))"
)


def fitted_noise(
    status: str,
    shape: tuple[int, int],
    *,
    nonzeros: int | None,
    residual: float | None = None,
    noise_level: float = 0.0,
    stretch: Callable[[], float] = float,
) -> str | None:
    """Why an answer may be one to the noise in y, and the two calls that help; None where nothing speaks for it.

    Parameters
    ----------
    status : str
        Name of the status of the answer.
    shape : tuple of int
        Rows and columns of A.
    nonzeros : int or None
        Entries that count as non-zero; None where that is not known.
    residual : float, optional
        ``||A x - y|| / ||y||``, if known.
    noise_level : float, default 0
        What was given as size of the noise, in units of y.
    stretch : callable
        Computes ``sum_i |x_i| ||A_i|| / ||y||``, where it is cheap (:func:`stretch_of`).

    Notes
    -----
    An exactly sparse x from exact data gets none: it has fewer non-zeros than nine in ten of the rows (no method based
    on the l1 norm finds denser ones when rows are fewer than columns), and its entries do not cancel.
    """
    if status == "NOT_CONVERGED":
        message = "the end was not reached: it may be far away because x has to fit noise in y"
    elif status == "LEAST_SQUARES" and (residual is None or residual > _LEFT):
        left = "" if residual is None else f" (a residual of {residual:.2g} of ||y|| is left)"
        message = f"no x fits y{left}: y has noise, or A lacks something; least squares is not sparse and may fit noise"
    elif noise_level > 0 or status not in ("EXACT", "INEXACT", "LIMIT", "LEAST_SQUARES"):
        return None
    else:
        message = _dense(shape, nonzeros, status) or _cancelling(stretch())
        if not message:
            return None
    if noise_level > 0:
        return (
            f"{message}; no point within noise_level = {noise_level:.4g} was found: give a larger one, or try hf.select"
        )
    return f"{message}; {_REMEDY}"


def standing_out(x: Float, index: Index) -> int:
    """How many of the entries ``index`` of a limit, none of whose entries is zero, are no traces of its start."""
    return int(np.count_nonzero(np.abs(x[index]) > _TRACE * np.abs(x).max(initial=0.0)))


def _dense(shape: tuple[int, int], nonzeros: int | None, status: str) -> str:
    m, n = shape
    if nonzeros is None or not _FEW_ROWS <= m <= n or nonzeros < _DENSE * m:
        return ""
    if status == "LIMIT":
        return (
            f"{nonzeros} entries stand out, with {m} measurements: y may be noisy, x not sparse, or the start too large"
        )
    count = "as many non-zeros as measurements" if nonzeros == m else "nearly as many non-zeros as measurements"
    if m == n:
        return f"{count} ({nonzeros} of {m}): if y has noise, x fits it; if it has none, x is not sparse"
    return f"{count} ({nonzeros} of {m}): y may be noisy, or the measurements too few to recover x"


def _cancelling(stretch: float) -> str:
    if not stretch >= _STRETCH:
        return ""
    return (
        f"the entries of x are huge and cancel: the sum of |x_i| ||A_i|| is {stretch:.1e} times ||y||, so that noise "
        f"of {1 / stretch:.0e} of ||y|| could have made all of x"
    )


def stretch_of(problem: Problem, x: Float) -> float:
    """``sum_i |x_i| ||A_i|| / ||y||``; 0 where columns are not at hand or would take long to read."""
    index = np.flatnonzero(x)
    size_y = norm(problem.y)
    if not problem.operator.costs.cheap_columns or len(index) * problem.shape[0] > _MOST_ENTRIES or size_y == 0:
        return 0.0
    total, step = 0.0, max(1, (1 << 20) // problem.shape[0])
    with np.errstate(over="ignore"):
        for i in range(0, len(index), step):
            part = index[i : i + step]
            sizes = np.abs(x[part].astype(np.float64)) / size_y  # first, so that units beyond all squares do no harm
            total += float(lengths_of(problem.operator.columns(part)) @ sizes)
    return total


def with_hint(text: str, hint: str | None) -> str:
    """A repr, and below it the hint."""
    return text if hint is None else f"{text}\n  hint: {hint}"


def as_html(title: str, rows: dict[str, str]) -> str:
    """A small table in the colours of whatever notebook it stands in."""
    cell = "padding:0 1em 0 0;text-align:left;vertical-align:top;white-space:normal"
    body = "".join(
        f'<tr style="background:none"><th scope="row" style="{cell}">{escape(name)}</th>'
        f'<td style="{cell}">{escape(words)}</td></tr>'
        for name, words in rows.items()
    )
    return (
        f'<table style="color:inherit;background:none;border:none"><caption style="{cell};color:inherit">'
        f"{escape(title)}</caption><tbody>{body}</tbody></table>"
    )
