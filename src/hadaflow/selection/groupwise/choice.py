"""Which groups do noisy data speak for? Group lassos propose, criteria without a hold-out decide."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hadaflow._types import Vector
from hadaflow.results import Progress, ProgressCallback
from hadaflow.selection.criterion import CriterionName
from hadaflow.selection.groupwise.data import GroupedData
from hadaflow.selection.groupwise.lassos import Lasso, Lassos
from hadaflow.selection.groupwise.prices import GroupPrices
from hadaflow.selection.groupwise.search import GroupModel, GroupSearch

_RATIO = 0.75  # of one penalty to the one before
_LAST = 1e-4  # penalty, relative to the first, at which to end
_FULL = 0.8  # coordinates, relative to the most that a model may have, at which to end too
_PIECE = 4  # penalties between two looks at what they propose
_STARTS = 5  # sizes from which a model is looked for
_ROOM = 3  # times as many coordinates as the best model has, the path has to have seen
_NEAR = 4.0  # times the excess risk of the best model: above, no lasso is expected to fall below it


@dataclass(frozen=True, eq=False)
class GroupSelection:
    """The answer of :func:`select_groups`.

    Attributes
    ----------
    x : ndarray of shape (N, L)
        Coefficients, with exact zeros.
    read_out : str
        ``"model"``: least squares on groups; or ``"lasso"``: the group lasso.
    time : float
        One over the penalty it was read at; of a model that of the group lasso with the smallest criterion.
    reason : str
        Why this one, with the numbers that decided.
    variance : float
        Of the noise in one measurement, from the selected model.
    model : GroupModel
        The selected model, whichever was read out.
    lassos : list of Lasso
        The path, as far as it was followed.
    settled : bool
        Whether every point of it was found.
    """

    x: Vector
    read_out: str
    time: float
    reason: str
    variance: float
    model: GroupModel
    lassos: list[Lasso] = field(repr=False)

    @property
    def settled(self) -> bool:
        return all(lasso.settled for lasso in self.lassos)


@dataclass(frozen=True)
class GroupCriterion:
    """What is asked for, by the names that :func:`hadaflow.select` has for it."""

    criterion: CriterionName
    chance: float
    read_out: str


def select_groups(data: GroupedData, asked: GroupCriterion, progress: ProgressCallback | None = None) -> GroupSelection:
    """A model of few groups, or the group lasso that can be expected to predict better.

    Parameters
    ----------
    data : GroupedData
        The regression.
    asked : GroupCriterion
        By which criterion; ``read_out`` may be "auto" or "model".
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` now and then.

    Returns
    -------
    GroupSelection

    Notes
    -----
    The risk of a group lasso is Stein's: ``(||A X - Y||^2 + 2 variance freedom) / observations``. The path is followed
    to three times as many coordinates as the model has. Source: docs/mathematics.md, "Choosing a model".
    """
    search = GroupSearch(data, GroupPrices(data, asked.criterion, asked.chance))
    path = Lassos(data)
    lassos = [path.empty]
    found: GroupModel = search.settle(search.model(()))
    while path.first > 0:
        for _ in range(_PIECE):
            lassos.append(path.at(path.first * _RATIO ** len(lassos)))
            if _ended(search, lassos):
                break
        if progress is not None:
            message = f"{len(lassos)} penalties, {len(lassos[-1].chosen)} groups"
            progress(Progress("group lasso", None, message))
        found = min((found, _best_model(search, lassos)), key=search.value)
        if _seen(search, found, lassos):
            break
    return _read_out(data, search, found, path, lassos, asked.read_out)


def _best_model(search: GroupSearch, lassos: list[Lasso]) -> GroupModel:
    """The best end of local searches from the groups of several lassos."""
    sizes = np.array([len(lasso.places) for lasso in lassos])
    top = max(1, min(int(sizes.max()), search.prices.most))
    wanted = np.unique(np.geomspace(1, top, _STARTS).astype(np.intp))
    rows = {int(np.argmax(sizes >= size)) for size in wanted if size <= sizes.max()}
    rows.add(int(np.argmin(_criteria(search, lassos))))
    starts = [search.start(lassos[row].chosen) for row in sorted(rows)]
    return min((search.settle(model) for model in starts), key=search.value)


def _criteria(search: GroupSearch, lassos: list[Lasso]) -> Vector:
    """Of least squares on the groups of each lasso; infinite where they are too many."""
    return np.array([search.worth(lasso.chosen, len(lasso.places)) for lasso in lassos])


def _seen(search: GroupSearch, model: GroupModel, lassos: list[Lasso]) -> bool:
    """Whether neither the best model nor the best lasso lies near the end of what was followed."""
    size = len(model.places)
    if _ended(search, lassos):
        return True
    if _ROOM * size > len(lassos[-1].places):
        return False
    risks = _risks(search, model, lassos)
    k = int(risks.argmin())
    rows = search.prices.rows
    return k <= 3 * len(lassos) // 4 or risks[k] > search.variance(model) * (1 + _NEAR * size / rows)


def _ended(search: GroupSearch, lassos: list[Lasso]) -> bool:
    """Whether the path has come to where it fits anything, or nothing is left of y."""
    last = lassos[-1]
    return len(last.places) >= _FULL * search.prices.most or last.penalty <= _LAST * lassos[0].penalty


def _risks(search: GroupSearch, model: GroupModel, lassos: list[Lasso]) -> Vector:
    """Stein's estimates of the mean squared errors of group lassos on new measurements."""
    rss, freedom = np.array([lasso.rss for lasso in lassos]), np.array([lasso.freedom for lasso in lassos])
    return np.asarray((rss + 2 * search.variance(model) * freedom) / search.prices.observations)


def _read_out(
    data: GroupedData, search: GroupSearch, model: GroupModel, path: Lassos, lassos: list[Lasso], read_out: str
) -> GroupSelection:
    variance, risks = search.variance(model), _risks(search, model, lassos)
    model_risk = variance * (1 + len(model.places) / search.prices.rows)
    k = int(risks.argmin())
    rounding = 10 * search.floor / search.prices.observations
    chosen = "lasso" if read_out == "auto" and risks[k] + rounding < model_risk else "model"
    if chosen == "model":
        x, row = data.whole(model.places, model.values), int(np.argmin(_criteria(search, lassos)))
        reason = _of_model(search, model)
    else:
        lassos[k] = path.again(lassos[k])
        x, row = data.whole(lassos[k].places, lassos[k].values), k
        reason = (
            f"the group lasso at penalty {lassos[k].penalty:.4g} has the smallest risk, with {len(lassos[k].chosen)} "
            f"groups"
        )
    if read_out == "auto":
        relation = "below" if chosen == "lasso" else "not below"
        reason += f"; risk of the group lasso {risks[k]:.4g}, {relation} that of the selected model, {model_risk:.4g}"
    time = 1 / lassos[row].penalty if row else 0.0
    return GroupSelection(x, chosen, time, reason, variance, model, lassos)


def _of_model(search: GroupSearch, model: GroupModel) -> str:
    count = len(model.chosen)
    message = f"no single change of the groups ({count} of {search.prices.count}) improves the criterion"
    if count == 0:
        return message
    return f"{message}, and the weakest of them is worth {search.weakest(model):.3g} of it"
