"""What the papers' theorems say, as functions of depth, scale, noise and matrix."""

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
from hadaflow.theory.matrix_properties import (
    CertificateSearch,
    Coherence,
    RipEstimate,
    coherence,
    dual_certificate,
    rip_estimate,
)
from hadaflow.theory.measurements import (
    MeasurementsNeeded,
    ProbabilityBounds,
    measurements_needed,
    recovery_probability,
    recovery_probability_bounds,
)
