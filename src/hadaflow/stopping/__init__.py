"""When to stop: small rule objects, combined with ``|`` (either) and ``&`` (both at once).

A rule is configuration only. A run asks it for a watch, which sees one :class:`hadaflow.Snapshot` after the other and
answers with a :class:`Verdict` once it is met. Rules whose meaning rests on the squared loss (:class:`Discrepancy`,
:class:`CertificateGap`, :class:`LassoGap`) refuse problems with another one.
"""

from hadaflow._rules import BestWatch, Rule, Verdict, Watch
from hadaflow.stopping.budgets import MaxSeconds, MaxSteps, MaxTime
from hadaflow.stopping.change import Plateau, StableSupport, Validation, When
from hadaflow.stopping.fit import CertificateGap, Discrepancy, LassoGap, NullGradient, Residual

__all__ = [
    "BestWatch",
    "CertificateGap",
    "Discrepancy",
    "LassoGap",
    "MaxSeconds",
    "MaxSteps",
    "MaxTime",
    "NullGradient",
    "Plateau",
    "Residual",
    "Rule",
    "StableSupport",
    "Validation",
    "Verdict",
    "Watch",
    "When",
]
