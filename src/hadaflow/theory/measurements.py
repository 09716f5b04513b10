"""How many Gaussian measurements does it take? Where the flow's vanishing start recovers a sparse vector (paper A).

As its start vanishes the flow ends at a solution of smallest l1 norm. With a Gaussian A that solution is x itself if
and only if the kernel of A misses the *descent cone* of the l1 norm at x (for the positive model: of the l1 norm on the
non-negative orthant). How large that cone is depends on n and on the number s of non-zeros alone; its *statistical
dimension* ``delta = E ||projection of g onto the cone||^2``, g standard normal, is where recovery sets in:

    delta <= J = min_{tau >= 0} s (1 + tau^2) + (n - s) E (|g| - tau)_+^2          (positive: g instead of |g|)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from scipy.optimize import brentq
from scipy.special import gammaln, ndtr, ndtri

from hadaflow._types import Sign
from hadaflow._validation import one_of, positive_number, whole_number

_FAR = 40.0  # a threshold that no normal variable of double precision exceeds
_MANY = 400  # dimensions from which on the mean length is summed from its series, right to 1e-14


@dataclass(frozen=True)
class MeasurementsNeeded:
    """The answer of :func:`measurements_needed`.

    Attributes
    ----------
    count : int
        Smallest number of measurements with which recovery has the probability asked for.
    transition : float
        Measurements with which it succeeds half the time: the statistical dimension of the descent cone.
    spread : float
        Measurements over which success sets in: one standard deviation.
    rule : float
        ``s log(e n / s)``, the rule of thumb of compressed sensing: 0.67 to 1.28 times ``transition`` for n up to 1e8.
    at_least, at_most : float
        Proved bounds on the statistical dimension, between which ``transition`` lies.
    """

    count: int
    transition: float
    spread: float
    rule: float
    at_least: float
    at_most: float


@dataclass(frozen=True)
class ProbabilityBounds:
    """Proved bounds on the probability of recovery.

    Attributes
    ----------
    lower, upper : float
        In [0, 1].
    """

    lower: float
    upper: float


def measurements_needed(n: int, sparsity: int, *, sign: Sign = "both", probability: float = 0.5) -> MeasurementsNeeded:
    """How many Gaussian measurements recover an s-sparse vector of length n as the start vanishes.

    The smallest m with :func:`recovery_probability` at least ``probability``, about
    ``delta + spread * Phi^-1(probability)``.

    Parameters
    ----------
    n : int
        Number of coordinates.
    sparsity : int
        Number s of non-zeros, from 1 to n.
    sign : {"both", "positive"}, default "both"
        Non-zeros of any sign, looked for among all vectors; or non-negative ones, looked for among those.
    probability : float, default 0.5
        Probability of recovery asked for, between 0 and 1.

    Returns
    -------
    MeasurementsNeeded
        ``count``, ``transition``, ``spread``, ``rule``, ``at_least``, ``at_most``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    ``transition / n`` as n grows is the weak threshold of Donoho and Tanner: half as many measurements as
    coordinates recover 0.386 non-zeros per measurement (positive: 0.558). Independent of the sizes of the non-zeros.
    Source: Amelunxen, Lotz, McCoy and Tropp, "Living on the edge" (arXiv 1303.6672); docs/mathematics.md, "How many
    measurements".

    Examples
    --------
    >>> needed = measurements_needed(1000, 20, probability=0.99)
    >>> needed.count, round(needed.transition, 1), round(needed.spread, 1), round(needed.rule, 1)
    (127, 103.8, 9.9, 98.2)
    """
    n, s, cone = _cone(n, sparsity, sign)
    probability = positive_number(probability, "probability")
    if probability >= 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability:g}: only m = n is certain")
    guess = math.ceil(cone.dimension + cone.spread * float(ndtri(probability)))
    return MeasurementsNeeded(
        count=min(max(guess, s), n),
        transition=cone.dimension,
        spread=cone.spread,
        rule=s * (1 + math.log(n / s)),
        at_least=cone.at_least,
        at_most=cone.at_most,
    )


def recovery_probability(m: int, n: int, sparsity: int, *, sign: Sign = "both") -> float:
    """Probability that m Gaussian measurements recover an s-sparse vector of length n as the start vanishes.

    ``Phi((m - delta) / spread)`` with delta and spread of :func:`measurements_needed`; 0 for m < s and 1 for m >= n,
    which is exact.

    Parameters
    ----------
    m : int
        Number of measurements, rows of A.
    n, sparsity, sign
        As in :func:`measurements_needed`.

    Returns
    -------
    float
        The probability.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    See Also
    --------
    recovery_probability_bounds : what is proved at finite n.

    Notes
    -----
    Checked numerically: normal approximation to the intrinsic volumes of the cone (limit theorem of
    Goldstein, Nourdin and Peccati, arXiv 1411.6265), with ``delta = J - c`` to first order in the fluctuation of tau.
    Against sampled cones delta is right to 0.1 and the spread to 5 % up to half non-zeros; for nearly dense x to half a
    measurement each. A flow from a start that has not vanished recovers later, much later at depth 2. Source:
    docs/mathematics.md, "How many measurements".

    Examples
    --------
    >>> round(recovery_probability(20, 100, 5), 2), round(recovery_probability(20, 100, 5, sign="positive"), 2)
    (0.51, 0.87)
    """
    m = whole_number(m, "m", minimum=0)
    n, s, cone = _cone(n, sparsity, sign)
    if m < s or m >= n:
        return float(m >= n)
    return float(ndtr((m - cone.dimension) / cone.spread))


def recovery_probability_bounds(m: int, n: int, sparsity: int, *, sign: Sign = "both") -> ProbabilityBounds:
    """Proved bounds on the probability that :func:`recovery_probability` estimates.

    With ``l_k = E ||g||_2`` in k dimensions and the bounds ``J_- <= delta <= J`` on the statistical dimension::

        1 - exp(-(l_m - sqrt(J))_+^2 / 2)  <=  P  <=  exp(-(l_(n - m) - sqrt(n - J_-))_+^2 / 2).

    Parameters
    ----------
    m, n, sparsity, sign
        As in :func:`recovery_probability`.

    Returns
    -------
    ProbabilityBounds
        ``lower`` and ``upper``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    Proved from Gordon's comparison of Gaussian processes, applied to the descent cone and to its polar.
    Wider than the truth: the lower bound reaches one half some ``2.4 sqrt(J)`` measurements late. Differences of
    lengths are formed without cancellation, so that ``lower <= upper`` at every n; checked up to n = 1e15. Source:
    Chandrasekaran, Recht, Parrilo and Willsky (arXiv 1012.0621) for the lower bound; docs/mathematics.md, "How many
    measurements".

    Examples
    --------
    >>> bounds = recovery_probability_bounds(45, 100, 5)
    >>> round(bounds.lower, 2), bounds.upper
    (0.9, 1.0)
    """
    m = whole_number(m, "m", minimum=0)
    n, s, cone = _cone(n, sparsity, sign)
    if m < s or m >= n:
        return ProbabilityBounds(float(m >= n), float(m >= n))
    missed = _lead(m, cone.at_most, m - cone.at_most)
    met = _lead(n - m, n - cone.at_least, cone.at_least - m)
    return ProbabilityBounds(-math.expm1(-(missed**2) / 2), math.exp(-(met**2) / 2))


def transition_sparsity(m: int, n: int, *, sign: Sign = "both") -> float:
    """How many non-zeros m Gaussian measurements recover half the time as the start vanishes: the transition, read off.

    The s with ``delta(n, s) = m``, delta being ``measurements_needed(n, s).transition``: linear between the two whole s
    around it.

    Parameters
    ----------
    m : int
        Number of measurements, rows of A.
    n, sign
        As in :func:`measurements_needed`.

    Returns
    -------
    float
        From 1 to n; 0 where not even one non-zero is recovered half the time, n for m >= n.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    See Also
    --------
    measurements_needed : the other way round.

    Notes
    -----
    This is where ``recovery_probability(m, n, s)`` is one half, for this very n. As n grows at fixed ``m / n``,
    ``s / m`` falls to the weak threshold of Donoho and Tanner; at n = 200 it is up to 0.02 above. About
    ``log2(n)`` cones. Source: docs/mathematics.md, "How many measurements".

    Examples
    --------
    >>> from hadaflow.theory import transition_sparsity
    >>> round(transition_sparsity(100, 200), 1), round(transition_sparsity(100, 200, sign="positive"), 1)
    (39.0, 56.6)
    """
    m = whole_number(m, "m", minimum=0)
    n, low, first = _cone(n, 1, sign)
    if m >= n:
        return float(n)
    if m < first.dimension:
        return 0.0
    high = n
    while high - low > 1:  # delta(low) <= m < delta(high)
        middle = (low + high) // 2
        low, high = (middle, high) if _cone(n, middle, sign)[2].dimension <= m else (low, middle)
    below, above = (_cone(n, s, sign)[2].dimension for s in (low, high))
    return low + (m - below) / (above - below)


# ---- parts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Exceedance:
    """Moments of ``X = (|g| - tau)_+`` (positive model: ``(g - tau)_+``) for a standard normal g."""

    tau: float
    sides: int
    probability: float = field(init=False)
    mean: float = field(init=False)
    square: float = field(init=False)
    fourth: float = field(init=False)

    def __post_init__(self) -> None:
        t, sides = self.tau, self.sides
        density = math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
        beyond = float(ndtr(-t))
        object.__setattr__(self, "probability", sides * beyond)
        object.__setattr__(self, "mean", sides * (density - t * beyond))
        object.__setattr__(self, "square", sides * ((1 + t**2) * beyond - t * density))
        fourth = (t**4 + 6 * t**2 + 3) * beyond - (t**3 + 5 * t) * density
        object.__setattr__(self, "fourth", sides * fourth)


@dataclass(frozen=True)
class _Cone:
    """Size of the descent cone at an s-sparse point."""

    dimension: float
    spread: float
    at_least: float
    at_most: float


def _cone(n: int, sparsity: int, sign: str) -> tuple[int, int, _Cone]:
    """Checked n and s, and their cone."""
    n, s = whole_number(n, "n"), whole_number(sparsity, "sparsity")
    if s > n:
        raise ValueError(f"sparsity must be at most n = {n}, got {s}: it counts non-zeros among n coordinates")
    sides = 2 if one_of(sign, "sign", ("both", "positive")) == "both" else 1
    return n, s, _measured_cone(n, s, sides)


def _measured_cone(n: int, s: int, sides: int) -> _Cone:
    """Squared distance of a normal vector from tau times the subdifferential, at the best tau, and its fluctuation."""
    if s == n:  # a half-space
        return _Cone(n - 0.5, 0.5, n - 0.5, n - 0.5)
    tau = float(brentq(lambda t: s * t - (n - s) * _Exceedance(t, sides).mean, 0.0, _FAR))
    x = _Exceedance(tau, sides)
    off = n - s
    most = s * (1 + tau**2) + off * x.square
    wobble = s + off * (x.square - x.mean**2)  # a quarter of the variance of the slope in tau
    dimension = most - wobble / (s + off * x.probability)
    # s (2 + 4 tau^2) + (n - s) Var X^2 - 2 J, without its cancellation; never below that of a fair bit: half of the
    # intrinsic volume of a cone that is no subspace is in even dimensions.
    variance = max(0.25, 2 * s * tau**2 + off * (x.fourth - x.square**2 - 2 * x.square))
    return _Cone(dimension, math.sqrt(variance), most - wobble / s, most)


def _lead(k: int, square: float, ahead: float) -> float:
    """``(l_k - sqrt(square))_+`` from ``ahead = k - square``, which the caller has without cancellation."""
    return max(0.0, ahead / (math.sqrt(k) + math.sqrt(square)) - _shortfall(k))


def _shortfall(k: int) -> float:
    """``sqrt(k) - l_k > 0`` with the mean Euclidean norm l_k of a standard normal vector in k dimensions."""
    if k < _MANY:
        return math.sqrt(k) - math.sqrt(2) * math.exp(float(gammaln((k + 1) / 2) - gammaln(k / 2)))
    return (1 / 4 - (1 / 32 + (5 / 128 - 21 / 2048 / k) / k) / k) / math.sqrt(k)
