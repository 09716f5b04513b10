"""Phase diagrams: which sparse vectors are recovered from how many measurements, compared with the theory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hadaflow._extras import require
from hadaflow._types import Sign
from hadaflow._validation import one_of, positive_number, whole_number
from hadaflow.experiments.ensembles import ENSEMBLES
from hadaflow.experiments.panel import Deviation, Panel
from hadaflow.experiments.structures import Kind, Structure
from hadaflow.experiments.sweep_study import Sweep
from hadaflow.experiments.sweeps import SweepResult, run_sweep
from hadaflow.experiments.trials import PRODUCT_SCALE, VALUES, Solver, solver_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Depth = float | None
Lists = dict[str, list[Any]]

#: Cells that differ in these alone see the same matrices and vectors.
_PAIRED = ("solver", "depth", "init_scale", "product_scale")


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """What :func:`phase_diagram` found: one panel per ensemble, group size, depth and scale.

    Attributes
    ----------
    panels : tuple of Panel
        Each with ``title``, ``records``, ``success()``, ``half()``, ``transition`` and ``deviation()``.
    failures : pandas.DataFrame
        Trials that raised an error: they are in no panel.
    paths : tuple of Path
        Files with the records; none without a folder.
    """

    panels: tuple[Panel, ...]
    failures: pd.DataFrame
    paths: tuple[Path, ...]

    def __repr__(self) -> str:
        panels = "1 panel" if len(self.panels) == 1 else f"{len(self.panels)} panels"
        return f"PhaseDiagram({panels}, {len(self.records)} trials, {len(self.failures)} failed)"

    @property
    def records(self) -> pd.DataFrame:
        """The trials of all panels, one a row."""
        import pandas as pd

        return pd.concat([panel.records for panel in self.panels], ignore_index=True)

    def panel(self, **choice: Any) -> Panel:
        """The panel with this ``ensemble``, ``group_size``, ``depth`` (None: vanishing start), ``product_scale``, ...

        Raises
        ------
        ValueError
            If none or several are meant.
        """
        meant = [p for p in self.panels if all(p.choice.get(name) == value for name, value in choice.items())]
        if len(meant) != 1:
            options = "; ".join(str(panel.choice) for panel in self.panels)
            raise ValueError(f"panel(...) must mean one of {len(self.panels)}, got {len(meant)}; there are {options}")
        return meant[0]

    def success(self, **choice: Any) -> pd.DataFrame:
        """:meth:`Panel.success` of the panel meant."""
        return self.panel(**choice).success()

    def half(self, **choice: Any) -> pd.DataFrame:
        """:meth:`Panel.half` of the panel meant."""
        return self.panel(**choice).half()

    def deviation(self, **choice: Any) -> Deviation:
        """:meth:`Panel.deviation` of the panel meant."""
        return self.panel(**choice).deviation()

    @property
    def transition(self) -> pd.DataFrame:
        """The theory's curve, which all panels of one group size share (here the first): ``m_over_n``, ``s_over_m``."""
        return self.panels[0].transition

    def plot(self, *, ax: Axes | Sequence[Axes] | None = None) -> Figure | SubFigure:
        """:func:`hadaflow.plotting.plot_phase_diagram` of it."""
        from hadaflow.plotting import plot_phase_diagram

        return plot_phase_diagram(self, ax=ax)


def phase_diagram(  # noqa: PLR0913 - one argument per parameter of the diagram
    *,
    n: int = 200,
    m_over_n: int | Sequence[float] = 20,
    s_over_m: int | Sequence[float] = 20,
    repeats: int = 20,
    ensemble: str | Sequence[str] = "gaussian",
    sign: Sign = "both",
    values: str = "normal",
    noise: float = 0.0,
    kind: Kind = "real",
    group_size: int | Sequence[int] = 1,
    solver: Solver | None = None,
    depth: Depth | Sequence[Depth] = None,
    init_scale: float | Sequence[float] | None = None,
    product_scale: float | Sequence[float] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    progress: Callable[[Any], object] | None = None,
) -> PhaseDiagram:
    """Recover random sparse vectors over a grid of m / n and s / m, and compare it with the theoretical transition.

    Parameters
    ----------
    n : int, default 200
        Number of coordinates.
    m_over_n, s_over_m : int or sequence of float, default 20
        Measurements per coordinate and non-zeros per measurement, in (0, 1]; a number k means the k middles of equal
        parts of [0, 1]. m and s are rounded, at least 1; curves are drawn at what they became.
    repeats : int, default 20
        Trials per cell.
    ensemble : str or sequence of str, default "gaussian"
        How A is drawn; several give a panel each.
    sign, values, noise, kind
        As in :func:`hadaflow.experiments.trials.recovery`, of all panels.
    group_size : int or sequence of int, default 1
        Entries that are zero together, or the number of columns for ``kind="joint"``; several give a panel each.
        Ratios and counts are of entries (complex numbers, rows of joint columns), s in whole groups.
    solver : {"recover", "limit", "descend"}, optional
        Default "recover" where the depth is None, else "limit".
    depth : float, None or sequence of these, default None
        None: the exact minimiser of the l1 norm, where the flow ends as its start vanishes. Several give a panel each.
    init_scale, product_scale : float or sequence of float, optional
        Start of the panels with a depth, as one or the other; several give a panel each. Default a product scale of
        1e-6.
    tolerance : float, optional
        Relative l2 error up to which a vector counts as recovered; default 1e-4 for exact answers to data without
        noise, else 1e-2. It is applied to the errors on record: another one takes no new trials.
    seed : int, default 0
        Trials of one seed have the same matrices and vectors in panels that differ in depth, scale and solver only.
    folder, jobs, fresh, retry_failed, progress
        As in :func:`hadaflow.experiments.sweep`: records are kept in the folder as they are made, and not made again.

    Returns
    -------
    PhaseDiagram
        ``panels``, ``records``, ``success()``, ``half()``, ``transition``, ``deviation()``, ``plot()``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or some exclude each other.
    OSError
        If the folder cannot be written to, or another run is at work in it.
    ImportError
        Without the extra ``experiments``.

    Notes
    -----
    The theory is that of Gaussian matrices and a vanishing start, at this n and group size, in all panels
    (:func:`hadaflow.theory.transition_sparsity`); joint columns fall short of it unless many more rows than columns are
    not zero. The measured curve is fitted for each m by itself: a logistic curve in log(s / m), by penalised maximum
    likelihood. Default size: 8,000 trials of some 10 ms. Source: Amelunxen, Lotz, McCoy and Tropp, "Living on the edge"
    (arXiv 1303.6672); docs/mathematics.md, "How many measurements".

    Examples
    --------
    >>> from hadaflow.experiments import phase_diagram
    >>> diagram = phase_diagram(n=40, m_over_n=[0.5], s_over_m=[0.1, 0.3, 0.4, 0.5, 0.9], repeats=6, jobs=1)
    >>> diagram.success()[0.5].round(2).tolist(), diagram.deviation().columns
    ([1.0, 0.83, 1.0, 0.17, 0.0], 1)
    """
    require("joblib", "pandas", extra="experiments", what="phase diagrams")
    import pandas as pd

    n = whole_number(n, "n", minimum=2)
    tolerance = None if tolerance is None else positive_number(tolerance, "tolerance")
    fixed: dict[str, Any] = {
        "n": n,
        "sign": one_of(sign, "sign", ("both", "positive")),
        "values": one_of(values, "values", VALUES),
        "noise": positive_number(noise, "noise", strict=False),
    }
    cells: Lists = {
        "m_over_n": _ratios(m_over_n, "m_over_n"),
        "s_over_m": _ratios(s_over_m, "s_over_m"),
        "ensemble": [one_of(name, "ensemble", ENSEMBLES) for name in _listed(ensemble)],
    }
    sizes = _listed(group_size)
    structures = {size: Structure.of(kind, size) for size in sizes}
    for structure in structures.values():
        structure.check(n=n, sign=sign, noise=fixed["noise"], solver=solver)
    fixed |= {} if kind == "real" else {"kind": kind}  # records of single numbers stay what they were
    cells |= {} if sizes == [1] else {"group_size": sizes}
    starts = _starts(_listed(depth), init_scale, product_scale, solver)
    for choice in (choice for start in starts for choice in _choices(start)):
        checked = {"init_scale": None, "product_scale": None} | choice
        solver_of(**checked, sign=sign, structure=structures[sizes[0]])
    panels: list[Panel] = []
    failures: list[Any] = []
    paths: list[Path] = []
    for start in starts:
        grid = cells | {name: options for name, options in start.items() if options != [None]}
        paired = [name for name in _PAIRED if name in grid]
        study = Sweep.of("recovery", grid, repeats=repeats, fixed=fixed, seed=seed, paired=paired)
        result = run_sweep(
            study,
            folder,
            jobs=jobs,
            retry_failed=retry_failed,
            fresh=fresh and not panels,  # it forgets the records of all starts
            progress=progress,
        )
        failures.append(result.failures)
        paths.extend([] if result.path is None else [result.path])
        choices = _choices({name: cells[name] for name in ("ensemble", "group_size") if name in cells} | start)
        panels.extend(
            Panel(choice, _those(result, choice), n, sign, tolerance, structures[choice.get("group_size", 1)])
            for choice in choices
        )
    return PhaseDiagram(tuple(panels), pd.concat(failures, ignore_index=True), tuple(paths))


# ---- parts -----------------------------------------------------------------------------------------------------------


def _listed(value: Any) -> list[Any]:
    """One value or several, as a list."""
    if value is None or np.ndim(value) == 0:
        return [value]
    return list(value)


def _ratios(value: int | Sequence[float], name: str) -> list[float]:
    """The values of an axis: those given, or so many middles of equal parts of [0, 1]."""
    if np.ndim(value) == 0:
        if isinstance(value, float) and 0 < value < 1:
            raise ValueError(f"{name} must be a number of cells, or a list of ratios; for one ratio give [{value:g}]")
        count = whole_number(value, name)
        return [(2 * k + 1) / (2 * count) for k in range(count)]
    ratios = [positive_number(ratio, f"an entry of {name}") for ratio in np.asarray(value).tolist()]
    if not ratios or max(ratios) > 1:
        got = f"{max(ratios):g}" if ratios else "none"
        raise ValueError(f"{name} must hold numbers in (0, 1], got {got}; a whole number k means k of them")
    return ratios


def _starts(depths: list[Depth], init_scale: Any, product_scale: Any, solver: Solver | None) -> list[Lists]:
    """What to solve with: the vanishing start, and starts of all depths and scales."""
    starts: list[Lists] = []
    if None in depths:
        starts.append({"solver": [solver or "recover"], "depth": [None]})
    finite = [positive_number(depth, "depth") for depth in depths if depth is not None]
    if init_scale is not None and product_scale is not None:
        raise ValueError("init_scale and product_scale exclude each other: product scale = init_scale^depth")
    if finite:
        name, given = ("product_scale", product_scale) if init_scale is None else ("init_scale", init_scale)
        scales = [positive_number(scale, name) for scale in _listed(PRODUCT_SCALE if given is None else given)]
        starts.append({"solver": [solver or "limit"], "depth": finite, name: scales})
    elif init_scale is not None or product_scale is not None:
        raise ValueError("a scale needs a depth beside it: without one the start vanishes")
    if not starts:
        raise ValueError("depth must be None, a number or some of these, got none")
    return starts


def _choices(lists: Lists) -> list[dict[str, Any]]:
    """All combinations."""
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def _those(result: SweepResult, choice: dict[str, Any]) -> pd.DataFrame:
    """The records of one panel."""
    records = result.records
    if len(records):
        for name in (name for name, value in choice.items() if value is not None):
            records = records[records[name] == choice[name]]
    if not len(records):
        reason = result.failures["error"].iloc[0]
        raise RuntimeError(f"no trial with {choice} could be made: {reason}")
    return records.reset_index(drop=True)
