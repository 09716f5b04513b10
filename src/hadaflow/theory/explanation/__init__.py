"""Compare what theory promises of an answer with what was measured, in one table."""

from __future__ import annotations

import html
import textwrap
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from hadaflow._validation import positive_number
from hadaflow.paths import FlowPath, Trajectory
from hadaflow.results import Recovery
from hadaflow.theory.explanation.case import Case
from hadaflow.theory.explanation.promise import Promise
from hadaflow.theory.explanation.rows import promises

__all__ = ["Explanation", "Promise", "explain"]

_WIDTH = 100
_SIGNS = {"=": "=", "<=": "≤", ">=": "≥", ">": ">"}
_VERDICTS = {True: "yes", False: "NO", None: "-"}


@dataclass(frozen=True)
class Explanation:
    """The table of :func:`explain`; ``print`` it.

    Attributes
    ----------
    subject : str
        What is explained.
    rows : tuple of Promise
        One per quantity.
    left_out : tuple of str
        What could not be said, and why.
    seconds : float
        Time it took.
    """

    subject: str
    rows: tuple[Promise, ...]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether no promise is broken. Rows that decide nothing do not count."""
        return all(row.holds is not False for row in self.rows)

    def __getitem__(self, key: str) -> Promise:
        """The row of that key."""
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(f"no row {key!r}; there are {', '.join(row.key for row in self.rows)}")

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Rows by key, each as a dict of plain values."""
        return {row.key: {name: value for name, value in vars(row).items() if name != "key"} for row in self.rows}

    def __str__(self) -> str:
        """The table in plain text, at most 100 columns wide."""
        cells = [_HEADER, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(_HEADER))]
        lines = [self.subject, ""]
        for number, line in enumerate(cells):
            lines.append("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
            if number == 0:
                lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        notes = [f"{row.quantity}: {row.note}" for row in self.rows if row.note]
        notes += [f"Left out: {text}" for text in self.left_out]
        for note in notes:
            lines += ["", *textwrap.wrap(note, _WIDTH)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The table for notebooks."""

        def line(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        rows = "".join(line((*_cells(row), row.note), "td") for row in self.rows)
        notes = "".join(f"<p>Left out: {html.escape(text)}</p>" for text in self.left_out)
        head = line((*_HEADER, "note"), "th")
        return f"<table><caption>{html.escape(self.subject)}</caption>{head}{rows}</table>{notes}"


_HEADER = ("quantity", "promise", "measured", "holds", "source")


def _cells(row: Promise) -> tuple[str, ...]:
    promise = "-" if row.promise is None else f"{_SIGNS[row.relation]} {_number(row.promise)}"
    measured = "-" if row.measured is None else _number(row.measured)
    quantity = f"{row.quantity} [{row.unit}]" if row.unit else row.quantity
    return quantity, promise, measured, _VERDICTS[row.holds], row.source


def _number(value: float) -> str:
    whole = float(value).is_integer() and abs(value) < 1e6
    return f"{value:.0f}" if whole else f"{value:.4g}"


def explain(result: Recovery | FlowPath | Trajectory, *, time_limit: float = 5.0) -> Explanation:
    """What theory promises of a result, and what was measured.

    Parameters
    ----------
    result : Recovery, FlowPath or Trajectory
        The answer of :func:`hadaflow.recover` (as the start vanishes, from a given start, or within a noise level), of
        :func:`hadaflow.flow` or of :func:`hadaflow.descend`.
    time_limit : float, default 5
        Seconds that a row may take, by an estimate from the shape of A and what the result counted, never from a clock:
        the same rows come out on every machine. A LinearOperator counts like an array of its shape. Rows beyond it are
        left out, and the explanation says so.

    Returns
    -------
    Explanation
        Rows with promise, measured number, verdict and source; ``str()`` is a table of at most 100 columns.

    Raises
    ------
    TypeError
        If ``result`` is of another kind.
    ValueError
        If ``time_limit`` is not positive.

    Notes
    -----
    Which rows there are depends on the result. As the start vanishes: smallest l1 norm, uniqueness, and what sparsity
    coherence and the Gaussian phase transition ask for. From a given start also excess and error in the l1 norm against
    the bounds of papers A and C, for which the minimal solution is found and certified. Stopped early: the window of
    paper B, its inputs estimated from the data, and the lasso at the penalty of the average. No row holds unless both
    numbers were computed. Measurement counts are for Gaussian A, windows for nearly orthogonal columns: rules of thumb
    elsewhere. Source: the sections of docs/mathematics.md that the modules of ``hadaflow.theory`` name.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.theory import explain
    >>> explanation = explain(hf.recover(np.array([[1.0, 0.5]]), np.array([2.0])))
    >>> explanation.holds, explanation["l1_norm"].measured, explanation["separation"].measured
    (True, 2.0, 0.5)
    """
    began = time.perf_counter()
    case = Case.of(result, positive_number(time_limit, "time_limit"))
    # Numbers of data at the ends of the range may leave it: rows about them stay undecided.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        rows = tuple(promises(case))
    return Explanation(case.subject, rows, tuple(case.left_out), time.perf_counter() - began)
