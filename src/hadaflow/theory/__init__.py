"""What the papers' theorems say, as functions of depth, scale, noise and matrix (docs/theory.md).

- Paper A: ``l1_bounds`` (excess of the l1 norm, scales, recovery error), ``measurements`` (how many).
- Paper B: ``early_stopping`` (windows, scales), ``early_stopping_practice`` (steps, inputs from data).
- Paper C: ``null_space`` (constants), ``approximation_error`` (bounds), ``leading_error``, ``limit_error``.
- All: ``matrix_properties`` (coherence, isometry, certificates), ``explanation`` (promised and measured).
"""

from hadaflow.theory.approximation_error import (
    ErrorBound,
    certified_error_bound,
    error_lower_bound,
    error_upper_bound,
    predicted_exponent,
)
from hadaflow.theory.dual_certificates import CertificateSearch, dual_certificate
from hadaflow.theory.early_stopping import (
    StoppingWindow,
    largest_useful_scale,
    noise_time,
    signal_time,
    stopping_window,
)
from hadaflow.theory.early_stopping_practice import SafeStep, WindowInputs, estimate_window_inputs, safe_step
from hadaflow.theory.explanation import Explanation, Promise, explain
from hadaflow.theory.l1_bounds import (
    l1_excess_bound,
    largest_init_scale,
    log10_largest_init_scale,
    recovery_error_bound,
    start_weights,
)
from hadaflow.theory.leading_error import LeadingError, leading_error
from hadaflow.theory.limit_error import LimitError, limit_error
from hadaflow.theory.matrix_properties import Coherence, RipEstimate, coherence, rip_estimate
from hadaflow.theory.measurements import (
    MeasurementsNeeded,
    ProbabilityBounds,
    measurements_needed,
    recovery_probability,
    recovery_probability_bounds,
    transition_sparsity,
)
from hadaflow.theory.null_space import Interval, NullSpaceConstants, null_space_constants
from hadaflow.theory.smallest_dual import DualCertificate, smallest_dual_certificate

__all__ = [
    "CertificateSearch",
    "Coherence",
    "DualCertificate",
    "ErrorBound",
    "Explanation",
    "Interval",
    "LeadingError",
    "LimitError",
    "MeasurementsNeeded",
    "NullSpaceConstants",
    "ProbabilityBounds",
    "Promise",
    "RipEstimate",
    "SafeStep",
    "StoppingWindow",
    "WindowInputs",
    "certified_error_bound",
    "coherence",
    "dual_certificate",
    "error_lower_bound",
    "error_upper_bound",
    "estimate_window_inputs",
    "explain",
    "l1_excess_bound",
    "largest_init_scale",
    "largest_useful_scale",
    "leading_error",
    "limit_error",
    "log10_largest_init_scale",
    "measurements_needed",
    "noise_time",
    "null_space_constants",
    "predicted_exponent",
    "recovery_error_bound",
    "recovery_probability",
    "recovery_probability_bounds",
    "rip_estimate",
    "safe_step",
    "signal_time",
    "smallest_dual_certificate",
    "start_weights",
    "stopping_window",
    "transition_sparsity",
]
