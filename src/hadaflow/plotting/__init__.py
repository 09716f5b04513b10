"""Figures of answers and paths. Matplotlib is imported when the first one is drawn; it comes with the extra ``plot``.

- Of an answer: :func:`plot_recovery` (with its proof), :func:`plot_support` (its non-zeros, by name).
- Of a path: :func:`plot_path` (coefficients over time), :func:`plot_window` (when to stop, if the truth is known),
  :func:`plot_training` (coordinates, residual and l1 norm of one run).
- Of many trials: :func:`plot_phase_diagram` (what is recovered from how many measurements, compared with the theory).
"""

from hadaflow.plotting._drawing import blank_figure
from hadaflow.plotting.path import plot_path
from hadaflow.plotting.phase import plot_phase_diagram
from hadaflow.plotting.recovery import plot_recovery
from hadaflow.plotting.support import plot_support
from hadaflow.plotting.training import plot_training
from hadaflow.plotting.window import plot_window

__all__ = [
    "blank_figure",
    "plot_path",
    "plot_phase_diagram",
    "plot_recovery",
    "plot_support",
    "plot_training",
    "plot_window",
]
