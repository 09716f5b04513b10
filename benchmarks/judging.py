"""What an answer is worth, computed here in float64 from x and the dual vector alone: no solver judges itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from problems import Instance

EXCESS_TARGET = 1e-6
FEASIBILITY_TARGET = 1e-8


@dataclass(frozen=True)
class Judgement:
    """ℓ1 norm, relative residual and sign violation of x; lower bound on the minimal ℓ1 norm that the dual proves."""

    l1: float
    feasibility: float
    negativity: float
    nonzeros: int
    distance: float  # to the planted x, relative: tells whether the minimiser is what was planted
    lower_bound: float | None

    @property
    def gap(self) -> float | None:
        """Relative gap between the ℓ1 norm and the bound proved by the answer's own dual."""
        return None if self.lower_bound is None else (self.l1 - self.lower_bound) / max(self.l1, np.finfo(float).tiny)

    @property
    def feasible(self) -> bool:
        """Whether Ax = y, and x ≥ 0 where asked for, hold to the target; false for NaN."""
        return bool(self.feasibility <= FEASIBILITY_TARGET and self.negativity <= FEASIBILITY_TARGET)


def judge(instance: Instance, x: np.ndarray, dual: np.ndarray | None) -> Judgement:
    """Judge one answer."""
    x = np.asarray(x, dtype=float).ravel()
    residual = np.linalg.norm(instance.matrix @ x - instance.y) / np.linalg.norm(instance.y)
    largest = float(np.abs(x).max())
    return Judgement(
        l1=float(np.abs(x).sum()),
        feasibility=float(residual),
        negativity=max(0.0, -float(x.min()) / largest) if instance.positive and largest > 0 else 0.0,
        nonzeros=int(np.count_nonzero(x)),
        distance=float(np.linalg.norm(x - instance.planted) / np.linalg.norm(instance.planted)),
        lower_bound=None if dual is None else lower_bound(instance, np.asarray(dual, dtype=float).ravel()),
    )


def lower_bound(instance: Instance, dual: np.ndarray) -> float | None:
    """The dual, scaled until |Aᵀdual| ≤ 1 (Aᵀdual ≤ 1 for x ≥ 0), bounds the minimal ℓ1 norm by y·dual."""
    correlations = instance.matrix.T @ dual
    largest = float(np.max(correlations if instance.positive else np.abs(correlations)))
    return float(instance.y @ dual) / largest if largest > 0 else None


def excess(judgement: Judgement, reference: float | None) -> float | None:
    """Relative ℓ1 excess over the reference value."""
    return None if reference is None else (judgement.l1 - reference) / reference


def target_met(judgement: Judgement, reference: float | None) -> bool:
    """Whether an answer is feasible and its ℓ1 norm minimal, both to the target."""
    over = excess(judgement, reference)
    return over is not None and bool(over <= EXCESS_TARGET) and judgement.feasible


def best_reference(judgements: dict[str, Judgement], optimal: set[str]) -> tuple[float | None, str]:
    """The best certified minimal ℓ1 norm and where it comes from.

    The optimum of an LP solver among ``optimal`` (that ended at optimality and passes here) comes first, then the
    largest lower bound that any answer's dual proves.
    """
    proved = {name: j for name, j in judgements.items() if j.lower_bound is not None}
    linear = {name: j for name, j in proved.items() if name in optimal and name.startswith("highs") and j.feasible}
    if linear:
        name = min(linear, key=lambda key: linear[key].gap or 0.0)
        return linear[name].l1, f"optimum of {name}"
    if proved:
        name = max(proved, key=lambda key: proved[key].lower_bound or 0.0)
        return proved[name].lower_bound, f"lower bound from the dual of {name}"
    return None, "none"
