"""Verdicts on answers of the library: each "wrong" has a witness, recomputed in extended precision.

A row that does not fit, a shorter point that fits, another point as short, a better fit, a bound above a solution.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from correctness_problems import Drawn, draw
from correctness_reference import EPS, Long, Reference, another, best_fits, row_excess, shortest

import hadaflow as hf

ROW_LIMIT = 1e4  # residual of a row in units of eps (|a_j| |x| + |y_j|): some 2e-12 of the terms it is the sum of
LIMIT_ROWS = 1e9  # the same for the end of a flow, which is come near to: 2e-7 of the terms
FIT_LIMIT = 1e3  # residual of least squares in units of eps (|| |A| |x| || + ||y||), beyond 1e-7 of the best
MEANS_SOLVED = 64  # residual of a row in units of its rounding up to which nobody may say that nothing fits
NORM_LIMIT = 1e-8  # of the shortest norm
SAME_POINT = 1e-6  # relative distance in the weighted l1 norm up to which two minimisers are one


@dataclass(frozen=True)
class Verdict:
    """What one answer said, and what was found wrong with it.

    Attributes
    ----------
    family, seed : str, int
        The problem.
    status : str
        Name of the status, or the error raised.
    ok, unique : bool
        What the answer claimed.
    wrong : list of str
        Claims that are not so; empty if all are.
    rows : float
        Largest residual of a row, in units of its rounding.
    excess : float or None
        Relative excess of the norm over the reference; for least squares of the residual.
    distance : float or None
        Relative distance from the reference point in the weighted l1 norm (where both are minimisers).
    reference : str
        ``closed``: the shortest norm is known to nine digits; ``open``; ``none``: no solution found, or none asked for.
    warned : list of str
        Categories of warnings that are not the library's.
    seconds : float
        Of the call.
    """

    family: str
    seed: int
    shape: tuple[int, int]
    status: str
    ok: bool
    unique: bool = False
    wrong: list[str] = field(default_factory=list)
    rows: float = 0.0
    excess: float | None = None
    distance: float | None = None
    reference: str = "none"
    warned: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def false(self) -> bool:
        """Whether something was claimed that is not so."""
        return bool(self.wrong)

    def record(self) -> dict[str, Any]:
        """For a line of JSON; numbers to four digits."""
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


def check(family: str, seed: int) -> Verdict:
    """Draw, solve and judge one problem."""
    drawn = draw(family, seed)
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = solve(drawn)
        except Exception as error:  # noqa: BLE001 - none of the problems is one to refuse
            return Verdict(family, seed, drawn.A.shape, type(error).__name__, False, wrong=[f"raised: {error}"[:120]])
    seconds = time.perf_counter() - begin
    warned = sorted({w.category.__name__ for w in caught if not w.category.__module__.startswith("hadaflow")})
    return judge(drawn, answer, family, seed, seconds=seconds, warned=warned)


def solve(drawn: Drawn) -> Any:
    """The answer of the library: a Recovery or a SaddlePath."""
    if drawn.call == "saddles":
        return hf.saddles(hf.Problem(drawn.matrix, drawn.y), **drawn.options)
    return hf.recover(drawn.matrix, drawn.y, **drawn.options)


class _Case:
    """One answer and its data in extended precision."""

    def __init__(self, drawn: Drawn, answer: Any) -> None:
        self.drawn, self.answer = drawn, answer
        self.A, self.y = drawn.A.astype(Long), drawn.y.astype(Long)
        given = np.asarray(answer.final if drawn.call == "saddles" else answer.x)
        self.x = given.astype(Long)
        self.finite = bool(np.isfinite(given).all())
        w = drawn.options.get("weights")
        self.w = np.ones(drawn.A.shape[1], dtype=Long) if w is None else np.asarray(w, dtype=Long)
        self.positive = bool(drawn.options.get("positive", False))
        self.certificate = getattr(answer, "certificate", None)
        self.least_squares = answer.status.name == "LEAST_SQUARES"
        self.eps = float(np.finfo(given.dtype).eps)
        self.row_limit = ROW_LIMIT + 64 * self.eps / EPS * (self.eps > EPS)
        self.rows = row_excess(self.A, self.x, self.y) if self.finite else np.inf
        self.residual = float(np.sqrt(np.sum((self.A @ self.x - self.y) ** 2)))
        self.norm = float(self.w @ np.abs(self.x))
        self.target = self.A @ self.x if self.least_squares else self.y

    def rounding_of_fit(self) -> float:
        """What rounding explains of a residual norm."""
        parts = np.abs(self.A) @ np.abs(self.x) + np.abs(self.y)
        return max(EPS, self.eps / 16) * float(np.sqrt(np.sum(parts**2)))


def judge(
    drawn: Drawn, answer: Any, family: str = "", seed: int = 0, *, seconds: float = 0.0, warned: list[str] | None = None
) -> Verdict:
    """Judge an answer to a drawn problem."""
    case = _Case(drawn, answer)
    unique = bool(case.certificate is not None and case.certificate.unique)
    wrong, excess, distance = ["not finite"], None, None
    known = Reference(None, np.inf, 0.0, 0 * case.y)
    if case.finite:
        known = _reference(case)
        wrong, excess, distance = _status(case, known)
        if case.positive and case.answer.status.ok and case.x.min() < 0:
            wrong.append("negative entries")
        if unique:
            wrong += _uniqueness(case, known, seed)
        if case.certificate is not None:
            wrong += _certificate(case, known)
        elif answer.status.ok:
            wrong += _path_end(case)
    return Verdict(
        family, seed, drawn.A.shape, answer.status.name, answer.status.ok, unique, wrong, case.rows, excess, distance,
        known.state, warned or [], seconds,
    )  # fmt: skip


def _status(case: _Case, known: Reference) -> tuple[list[str], float | None, float | None]:
    """What the status says, against what is so; the excess over the reference and the distance from it."""
    status = case.answer.status.name
    if status == "NOISE_LEVEL":
        above = case.residual > case.drawn.options["noise_level"] * (1 + 1e-9)
        return ["above the noise level"] if above else [], None, None
    if status == "LIMIT":
        return ["a row does not fit"] if case.rows > LIMIT_ROWS else [], None, None
    shortness, excess, distance = _shortness(case, known)
    if status == "LEAST_SQUARES":
        wrong, excess = _fit(case)
        return wrong + shortness, excess, distance
    if status == "EXACT":
        return (["a row does not fit"] if case.rows > case.row_limit else []) + shortness, excess, distance
    return [], None, None  # nothing was claimed


def _reference(case: _Case) -> Reference:
    """The shortest solution, or least-squares point; none where a noise level was asked for and met."""
    if case.answer.status.name == "NOISE_LEVEL":
        return Reference(None, np.inf, 0.0, 0 * case.y)
    known = shortest(case.A, case.target, case.w, positive=case.positive)
    planted = case.drawn.planted
    if planted is not None and not case.least_squares and not (case.positive and planted.min() < 0):
        norm = float(case.w @ np.abs(planted))
        if norm < known.norm and row_excess(case.A, planted.astype(Long), case.y) <= 16:
            known = Reference(planted.astype(Long), norm, known.lower, known.dual)
    if known.x is None and case.answer.status.name == "EXACT":  # nothing fits to rounding, but x nearly did
        known = shortest(case.A, case.A @ case.x, case.w, positive=case.positive)
    return known


def _shortness(case: _Case, known: Reference) -> tuple[list[str], float | None, float | None]:
    """Whether a shorter point fits as well; residuals of the answer may explain as much as the dual says."""
    if known.x is None:
        return [], None, None
    explained = float(np.abs(known.dual) @ np.abs(case.A @ (case.x - known.x)))
    over = case.norm - known.norm
    size = max(case.norm, known.norm)
    excess = over / size if size > 0 else 0.0
    wrong = ["a shorter point fits"] if over > NORM_LIMIT * known.norm + 4 * explained else []
    apart = float(case.w @ np.abs(case.x - known.x)) / size if size > 0 else 0.0
    return wrong, excess, apart


def _fit(case: _Case) -> tuple[list[str], float]:
    """Whether another point of float64 fits better than a least-squares point."""
    fits = best_fits(case.A, case.y, positive=case.positive)
    known = [float(np.sqrt(np.sum((case.A @ z.astype(Long) - case.y) ** 2))) for z in fits]
    best = min(known)
    rounding = case.rounding_of_fit()
    wrong = []
    if case.residual > best * (1 + 1e-7) + FIT_LIMIT * rounding:
        wrong.append("another point fits better")
    # A point that is far larger fits more to its own rounding, which says nothing.
    if case.rows <= MEANS_SOLVED or min(row_excess(case.A, z.astype(Long), case.y, case.x) for z in fits) <= 4:
        wrong.append("called least squares where solutions are")
    size = float(np.sqrt(np.sum(case.y**2)))
    return wrong, (case.residual - best) / size if size > 0 else 0.0


def _uniqueness(case: _Case, known: Reference, seed: int) -> list[str]:
    """Whether another point that fits is as short."""
    if known.x is None:
        return []
    others = [known.x]
    if known.closed:
        w = case.w
        others += another(case.A, case.target, w, case.x, known, positive=case.positive, seed=seed)
    for z in others:
        apart = float(case.w @ np.abs(z - case.x))
        fits = row_excess(case.A, z, case.target) <= max(4.0, 4 * case.rows)
        # A short column may do anything within rounding; two solutions differ by what A maps to nothing.
        way = np.where(case.w * np.abs(z - case.x) > 1e-12 * case.norm, z - case.x, 0)
        differ = apart > SAME_POINT * case.norm and row_excess(case.A, way, 0 * case.y) <= 16
        if fits and differ and float(case.w @ np.abs(z)) <= case.norm * (1 + 1e-12):
            return ["not the only one"]
    return []


def _proved_exactly(case: _Case) -> float:
    """The bound that the dual vector proves, in rational numbers."""
    dual = [Fraction(float(value)) for value in case.answer.dual]
    y = [Fraction(float(value)) for value in case.target]
    top = Fraction(0)
    for column, w in zip(np.asarray(case.A, dtype=np.float64).T, np.broadcast_to(case.w, case.A.shape[1]), strict=True):
        size = sum(Fraction(float(a)) * d for a, d in zip(column, dual, strict=True)) / Fraction(float(w))
        top = max(top, size if case.positive else abs(size))
    return float(sum(a * d for a, d in zip(y, dual, strict=True)) / top) if top else 0.0


def _certificate(case: _Case, known: Reference) -> list[str]:
    """Whether the numbers of the certificate are those of the answer, and its bound is one."""
    c, wrong = case.certificate, []
    size_y = float(np.sqrt(np.sum(case.y**2)))
    scale = size_y if size_y > 0 else 1.0
    if abs(c.residual * scale - case.residual) > 1e-6 * case.residual + 1e3 * case.rounding_of_fit():
        wrong.append("residual misstated")
    if abs(c.l1_norm - case.norm) > 1e-12 * case.norm:
        wrong.append("norm misstated")
    dual = np.asarray(case.answer.dual, dtype=Long)
    reach = case.A.T @ dual / case.w
    top = float((reach if case.positive else np.abs(reach)).max())
    noise = case.drawn.options.get("noise_level", 0.0) if case.answer.status.name == "NOISE_LEVEL" else 0.0
    if top > 0:
        proved = float(case.target @ dual - noise * np.sqrt(dual @ dual)) / top
        claimed = c.lower_bound > max(proved, 0.0) * (1 + 1e-12) and c.lower_bound > 0
        # Of long columns that cancel, the last digits are lost in long doubles, too.
        if claimed and (noise or c.lower_bound > max(_proved_exactly(case), 0.0) * (1 + 1e-12)):
            wrong.append("bound not proved by its dual")
    elif c.lower_bound > 0:
        wrong.append("bound not proved by its dual")
    if known.x is not None:
        off = float(np.abs(dual) @ np.abs(case.A @ known.x - case.target)) / top if top > 0 else 0.0
        if c.lower_bound > known.norm * (1 + 1e-12) + 4 * off:
            wrong.append("bound above a solution")
    return wrong


def _path_end(case: _Case) -> list[str]:
    """Whether a path ends where it says: the last plateau has to solve what the end solves, and be as short."""
    last = np.asarray(case.answer.x[[-1]].todense()).ravel().astype(Long)
    apart = float(np.abs(last - case.x).max(initial=0)) > SAME_POINT * float(np.abs(case.x).max(initial=0))
    rows = row_excess(case.A, last, case.target)
    longer = abs(float(case.w @ np.abs(last)) - case.norm) > NORM_LIMIT * case.norm
    return ["path and end differ"] if apart or longer or rows > case.row_limit else []
