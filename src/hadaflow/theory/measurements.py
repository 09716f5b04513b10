"""How many Gaussian measurements does it take? Where the flow's vanishing start recovers a sparse vector (paper A).

As its start vanishes the flow ends at a solution of smallest l1 norm. With a Gaussian A that solution is x itself if
and only if the kernel of A misses the *descent cone* of the l1 norm at x (for the positive model: of the l1 norm on the
non-negative orthant). How large that cone is depends on n and on the number s of non-zeros alone; its *statistical
dimension* ``delta = E ||projection of g onto the cone||^2``, g standard normal, is where recovery sets in:

    delta <= J = min_{tau >= 0} s (1 + tau^2) + (n - s) E (|g| - tau)_+^2          (positive: g instead of |g|)

The same with groups of d coordinates and the sum of their lengths: n and s count groups then, 1 + tau^2 becomes
d + tau^2, and g is a standard normal vector in d dimensions. Complex numbers are groups of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import gammaln, ndtr, ndtri

from hadaflow._types import Sign
from hadaflow._validation import positive_number, whole_number
from hadaflow.theory._descent_cone import checked

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
        ``s log(e n / s)``, the rule of thumb of compressed sensing: 0.67 to 1.28 times ``transition`` for n up to 1e8;
        with groups ``s (d + log(n / s))``, 0.46 to 0.83 times it.
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


def measurements_needed(
    n: int, sparsity: int, *, sign: Sign = "both", group_size: int = 1, probability: float = 0.5
) -> MeasurementsNeeded:
    """How many Gaussian measurements recover an s-sparse vector of length n, or of n groups, as the start vanishes.

    The smallest m with :func:`recovery_probability` at least ``probability``, about
    ``delta + spread * Phi^-1(probability)``.

    Parameters
    ----------
    n : int
        Number of coordinates; with ``group_size`` of groups.
    sparsity : int
        Number s of those that are not zero, from 1 to n.
    sign : {"both", "positive"}, default "both"
        Non-zeros of any sign, looked for among all vectors; or non-negative ones, looked for among those. Only the
        former with groups.
    group_size : int, default 1
        Coordinates d of each group. For complex data 2: the answer then counts real measurements, two to each complex
        one. For L joint columns L, and L to each row of ``A``; there it says too little unless ``sparsity`` is several
        times L (at ``sparsity = 2.5 L`` by 7 %).
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
    Mean excesses of lengths are integrated to 13 digits. Source: Amelunxen, Lotz, McCoy and Tropp, "Living on the edge"
    (arXiv 1303.6672); docs/mathematics.md, "How many measurements".

    Examples
    --------
    >>> needed = measurements_needed(1000, 20, probability=0.99)
    >>> needed.count, round(needed.transition, 1), round(needed.spread, 1), round(needed.rule, 1)
    (127, 103.8, 9.9, 98.2)

    The same 20 non-zeros in five groups of four; 20 complex ones, in complex measurements:

    >>> round(measurements_needed(250, 5, group_size=4).transition, 1)
    64.4
    >>> round(measurements_needed(1000, 20, group_size=2).transition / 2, 1)
    79.8
    """
    n, fewest, most, cone = checked(n, sparsity, sign, group_size)
    probability = positive_number(probability, "probability")
    if probability >= 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability:g}: only m = {most} is certain")
    guess = math.ceil(cone.dimension + cone.spread * float(ndtri(probability)))
    return MeasurementsNeeded(
        count=min(max(guess, fewest), most),
        transition=cone.dimension,
        spread=cone.spread,
        rule=sparsity * (most // n + math.log(n / sparsity)),
        at_least=cone.at_least,
        at_most=cone.at_most,
    )


def recovery_probability(m: int, n: int, sparsity: int, *, sign: Sign = "both", group_size: int = 1) -> float:
    """Probability that m Gaussian measurements recover an s-sparse vector of length n as the start vanishes.

    ``Phi((m - delta) / spread)`` with delta and spread of :func:`measurements_needed`; 0 for m < s and 1 for m >= n
    (with groups, the number of coordinates), which is exact, as is 0 before that where no group is zero.

    Parameters
    ----------
    m : int
        Number of measurements, rows of A.
    n, sparsity, sign, group_size
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
    _, fewest, most, cone = checked(n, sparsity, sign, group_size)
    if m < fewest or m >= most:
        return float(m >= most)
    return float(ndtr((m - cone.dimension) / cone.spread))


def recovery_probability_bounds(
    m: int, n: int, sparsity: int, *, sign: Sign = "both", group_size: int = 1
) -> ProbabilityBounds:
    """Proved bounds on the probability that :func:`recovery_probability` estimates.

    With ``l_k = E ||g||_2`` in k dimensions and the bounds ``J_- <= delta <= J`` on the statistical dimension::

        1 - exp(-(l_m - sqrt(J))_+^2 / 2)  <=  P  <=  exp(-(l_(n - m) - sqrt(n - J_-))_+^2 / 2)

    (n: the number of coordinates).

    Parameters
    ----------
    m, n, sparsity, sign, group_size
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
    _, fewest, most, cone = checked(n, sparsity, sign, group_size)
    if m < fewest or m >= most:
        return ProbabilityBounds(float(m >= most), float(m >= most))
    missed = _lead(m, cone.at_most, m - cone.at_most)
    met = _lead(most - m, most - cone.at_least, cone.at_least - m)
    return ProbabilityBounds(-math.expm1(-(missed**2) / 2), math.exp(-(met**2) / 2))


def transition_sparsity(m: int, n: int, *, sign: Sign = "both", group_size: int = 1) -> float:
    """How many non-zeros (groups) m Gaussian measurements recover half the time as the start vanishes.

    The transition, read off: the s with ``delta(n, s) = m``, delta being ``measurements_needed(n, s).transition``:
    linear between the two whole s around it.

    Parameters
    ----------
    m : int
        Number of measurements, rows of A.
    n, sign, group_size
        As in :func:`measurements_needed`.

    Returns
    -------
    float
        From 1 to n; 0 where not even one non-zero is recovered half the time, n where all coordinates are measured.

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
    n, _, most, first = checked(n, 1, sign, group_size)
    if m >= most:
        return float(n)
    if m < first.dimension:
        return 0.0

    def dimension(s: int) -> float:
        return checked(n, s, sign, group_size)[-1].dimension

    low, high = 1, n
    while high - low > 1:  # dimension(low) <= m < dimension(high)
        middle = (low + high) // 2
        low, high = (middle, high) if dimension(middle) <= m else (low, middle)
    below, above = dimension(low), dimension(high)
    return low + (m - below) / (above - below)


# ---- parts -----------------------------------------------------------------------------------------------------------


def _lead(k: int, square: float, ahead: float) -> float:
    """``(l_k - sqrt(square))_+`` from ``ahead = k - square``, which the caller has without cancellation."""
    return max(0.0, ahead / (math.sqrt(k) + math.sqrt(square)) - _shortfall(k))


def _shortfall(k: int) -> float:
    """``sqrt(k) - l_k > 0`` with the mean Euclidean norm l_k of a standard normal vector in k dimensions."""
    if k < _MANY:
        return math.sqrt(k) - math.sqrt(2) * math.exp(float(gammaln((k + 1) / 2) - gammaln(k / 2)))
    return (1 / 4 - (1 / 32 + (5 / 128 - 21 / 2048 / k) / k) / k) / math.sqrt(k)
