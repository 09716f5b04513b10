"""When is the right moment to stop? Windows, times and scales for early stopping (paper B).

Everything here is about one coordinate that no other one disturbs: exact if the columns of A are orthogonal, an
approximation if they nearly are. Times are flow times of the shared-vector flow on ``1/2 ||A x - y||^2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from hadaflow._renamed import renamed_arguments
from hadaflow._types import Sign
from hadaflow._validation import positive_number
from hadaflow.theory._coordinate import Coordinate, loss_factor, proper_fraction

Loss = Literal["half", "mean"]

_SMALLEST = math.log(1e-290)  # of the logarithms of product scales
_GRID = 80  # scales at which a window is looked for, between the largest and the smallest that doubles hold


@dataclass(frozen=True)
class StoppingWindow:
    """From when to when a stopped path is good; see :func:`stopping_window`.

    Attributes
    ----------
    start : float
        First good time: from here on every coordinate of the support has come that ``fraction`` of its way.
    stop : float
        Last good time: up to here no coordinate off the support exceeds ``level``; infinite without noise.
    level : float
        That size, in units of x.
    start_asymptotic, stop_asymptotic : float
        Closed forms of ``start`` and ``stop`` for a small scale.
    unit : str
        ``"flow time"`` or ``"steps"``: what start and stop are counted in.
    """

    start: float
    stop: float
    level: float
    start_asymptotic: float
    stop_asymptotic: float
    unit: Literal["flow time", "steps"] = "flow time"

    @property
    def open(self) -> bool:
        """Whether there is a good time at all: ``start < stop``."""
        return self.start < self.stop

    @property
    def size(self) -> float:
        """``stop - start``, or 0 if the window is closed; in units of ``unit``."""
        return max(0.0, self.stop - self.start)

    @property
    def ratio(self) -> float:
        """``stop / start``; above 1 where the window is open."""
        return self.stop / self.start if self.start > 0 else math.inf

    def in_steps(self, step: float, *, loss: Loss = "half", rows: int | None = None) -> StoppingWindow:
        """The same window counted in steps of gradient descent.

        Parameters
        ----------
        step : float
            Constant step size of :func:`hadaflow.descend`.
        loss : {"half", "mean"}, default "half"
            Loss it is meant for: ``1/2 ||A x - y||^2``, or ``(1/m) ||A x - y||^2`` as in paper B.
        rows : int, optional
            m, the number of rows of A; needed for ``loss="mean"``.

        Returns
        -------
        StoppingWindow
            With ``unit="steps"``; not rounded.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong kind or range, or the window is in steps already.

        Examples
        --------
        >>> window = stopping_window(depth=3, init_scale=1e-2, signal=1.0, noise=0.1, column_square=500)
        >>> round(window.in_steps(0.2 / 9, loss="mean", rows=500).start)
        750
        """
        if self.unit == "steps":
            raise ValueError("the window is in steps already: convert the one in flow time")
        lasts = positive_number(step, "step") * loss_factor(loss, rows)
        return replace(
            self,
            start=self.start / lasts,
            stop=self.stop / lasts,
            start_asymptotic=self.start_asymptotic / lasts,
            stop_asymptotic=self.stop_asymptotic / lasts,
            unit="steps",
        )


@renamed_arguments(reach="fraction")
def stopping_window(
    *,
    depth: float,
    init_scale: float,
    signal: float,
    noise: float,
    sign: Sign = "both",
    column_square: float = 1.0,
    fraction: float = 0.9,
    level: float | None = None,
) -> StoppingWindow:
    """First and last good time to stop: the support has grown, the rest has not.

    ``start`` is when a coordinate that heads for ``signal`` has come to ``fraction * signal``, ``stop`` when one that
    noise pulls with constant strength comes to ``level``::

        start = int_0^b dtheta / (c (signal - B(theta))),   B(b) = fraction * signal
        stop  = B^-1(level) / (c noise)

    with the mirror map B of ``HadamardPower(depth, sign)`` and ``c = ||A_i||^2``.

    Parameters
    ----------
    depth : float
        D, any real number >= 2.
    init_scale : float
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``.
    signal : float
        Size of the smallest entry on the support, in units of x: of the value it heads for,
        ``|x_i + (A^T e)_i / ||A_i||^2|``.
    noise : float
        Largest ``|(A^T e)_i| / ||A_i||^2`` off the support, in units of x, >= 0; e is the noise in y.
    sign : {"both", "positive"}, default "both"
        Model ``x = u^D - v^D``, or ``x = u^D``.
    column_square : float, default 1
        ``||A_i||^2``; for entries +-1 the number of rows.
    fraction : float, default 0.9
        Fraction of its way that the support must have come, in (0, 1).
    level : float, optional
        Size up to which coordinates off the support are good; default ``product_scale ** (1/4)``.

    Returns
    -------
    StoppingWindow
        In flow time; :meth:`StoppingWindow.in_steps` counts steps of gradient descent. A time beyond the range of
        doubles is infinite.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    Proved: if ``A^T A = c I``, the signed flow is within ``1 - fraction`` (relative) of its end on the support and
    below ``level`` off it throughout ``[start, stop]``; the positive one as well where ``product_scale`` is small
    against ``fraction * signal``. For nearly orthogonal designs it is an approximation: in the settings of paper B (100
    x 200 and 500 x 3000 signs) the support was there up to 45 % after ``start``, and the others came up within 25 % of
    ``stop``. The default level is from the paper's published code. O(1): quadrature of a smooth function to 1e-12.
    Source: paper B; docs/mathematics.md, "Early stopping".

    Examples
    --------
    >>> window = stopping_window(depth=3, init_scale=0.005, signal=1.0, noise=0.195, column_square=100)
    >>> window.open, round(window.ratio, 2)
    (True, 5.03)
    """
    point = Coordinate.of(depth, init_scale, sign)
    signal, fraction = positive_number(signal, "signal"), proper_fraction(fraction, "fraction")
    noise = positive_number(noise, "noise", strict=False)
    c = positive_number(column_square, "column_square")
    level = point.product_scale**0.25 if level is None else positive_number(level, "level")
    return StoppingWindow(
        start=point.signal_time(signal, fraction, c),
        stop=point.noise_time(level, noise, c),
        level=level,
        start_asymptotic=point.signal_time_asymptotic(signal, fraction, c),
        stop_asymptotic=point.noise_time_asymptotic(level, noise, c),
    )


@renamed_arguments(reach="fraction")
def signal_time(
    *,
    depth: float,
    init_scale: float,
    signal: float,
    fraction: float = 0.9,
    sign: Sign = "both",
    column_square: float = 1.0,
) -> float:
    """Flow time after which a coordinate that heads for ``signal`` has come to ``fraction * signal``.

    ``int_0^b dtheta / (c (signal - B(theta)))`` with ``B(b) = fraction * signal``.

    Parameters
    ----------
    depth, init_scale, signal, fraction, sign, column_square
        As in :func:`stopping_window`.

    Returns
    -------
    float
        Flow time; 0 where the positive model starts beyond ``fraction * signal``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    Exact for orthogonal columns, on the support and off it: a coordinate that only noise feeds heads for ``noise``, and
    has come to ``level`` after ``signal_time(signal=noise, fraction=level / noise)``. Source:
    docs/mathematics.md, "Early stopping".

    Examples
    --------
    >>> [round(signal_time(depth=3, init_scale=0.01, signal=x), 2) for x in (1.0, 2.0)]
    [33.32, 16.66]
    """
    point = Coordinate.of(depth, init_scale, sign)
    signal, fraction = positive_number(signal, "signal"), proper_fraction(fraction, "fraction")
    return point.signal_time(signal, fraction, positive_number(column_square, "column_square"))


def noise_time(
    *,
    depth: float,
    init_scale: float,
    noise: float,
    level: float | None = None,
    sign: Sign = "both",
    column_square: float = 1.0,
) -> float:
    """Flow time up to which a coordinate that noise pulls stays below ``level``: ``B^-1(level) / (c noise)``.

    Parameters
    ----------
    depth, init_scale, noise, level, sign, column_square
        As in :func:`stopping_window`.

    Returns
    -------
    float
        Flow time; infinite for ``noise=0``, 0 where the positive model starts beyond ``level``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    The pull is taken as constant. With orthogonal columns it fades as the coordinate grows, and the true time is later
    (:func:`signal_time` has it exactly). Source: docs/mathematics.md, "Early stopping".

    Examples
    --------
    >>> round(noise_time(depth=4, init_scale=0.005, noise=0.2, column_square=100), 1)
    249.9
    """
    point = Coordinate.of(depth, init_scale, sign)
    noise = positive_number(noise, "noise", strict=False)
    level = point.product_scale**0.25 if level is None else positive_number(level, "level")
    return point.noise_time(level, noise, positive_number(column_square, "column_square"))


@renamed_arguments(reach="fraction")
def largest_useful_scale(
    *,
    depth: float,
    signal: float,
    noise: float,
    sign: Sign = "both",
    fraction: float = 0.9,
    level: float | None = None,
) -> float:
    """Largest init scale from which stopping early is useful.

    Useful means: the window of :func:`stopping_window` is open, so there is a time at which the support has come that
    ``fraction`` of its way and nothing else exceeds ``level``; and the product scale is at most ``level``.

    Parameters
    ----------
    depth, signal, noise, sign, fraction
        As in :func:`stopping_window`; here ``noise > 0``.
    level : float, optional
        Size up to which coordinates off the support are good, at most ``fraction * signal``; default ``noise``, which
        is what least squares would make of them (``fraction * signal`` if that is less). There are many of them: for an
        error of ``eps`` in the l1 norm pass ``eps / n``.

    Returns
    -------
    float
        The scale a of a factor entry; its product scale is ``a ** depth``. 0 if no scale is useful, as where noise is
        stronger than signal.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or ``level`` exceeds ``fraction * signal``.

    Notes
    -----
    Found by bisection above the topmost of 80 product scales, evenly spaced in the logarithm down to 1e-290
    ``sqrt(level * signal)``, at which the window is open. ``column_square`` does not matter: it moves both ends
    alike. As the scale vanishes, ``stop / start`` tends to ``signal / noise`` (proved: leading terms), so there is a
    useful scale whenever ``noise < signal``; at depth 2 it may be too small for doubles. Checked numerically: the
    useful product scale grows with depth, as the abstract of paper B says of depth. Source:
    docs/mathematics.md, "Early stopping".

    Examples
    --------
    >>> [round(largest_useful_scale(depth=d, signal=1.0, noise=0.2) ** d, 4) for d in (2, 3, 5)]
    [0.1068, 0.1896, 0.2]
    """
    signal, fraction = positive_number(signal, "signal"), proper_fraction(fraction, "fraction")
    noise = positive_number(noise, "noise")
    highest = fraction * signal
    level = min(noise, highest) if level is None else positive_number(level, "level")
    if level > highest:
        raise ValueError(f"level must be at most fraction * signal = {highest:g}, got {level:g}: lower it")
    depth = Coordinate.of(depth, 1.0, sign).depth  # checks them
    # In units in which level * signal = 1: windows do not depend on units, and all sizes are inside the range.
    unit, size = math.sqrt(level) * math.sqrt(signal), math.sqrt(signal) / math.sqrt(level)
    log_noise = math.log(noise) - math.log(unit)

    def opening(log_scale: float) -> float:
        """log(stop / start) at a product scale."""
        point = Coordinate.of(depth, math.exp(log_scale / depth), sign)
        dual = point.dual(1 / size)
        return math.log(dual) - log_noise - math.log(point.signal_time(size, fraction)) if dual > 0 else -math.inf

    top = -math.log(size)
    above = top - 1e-9  # just below: the positive model starts there
    for scale in map(float, np.linspace(top, _SMALLEST, _GRID)[1:]) if top > _SMALLEST else ():
        if opening(scale) > 0:
            edge = above if opening(above) > 0 else brentq(opening, scale, above, xtol=1e-12)
            return math.exp((edge + math.log(unit)) / depth)
        above = scale
    return 0.0
