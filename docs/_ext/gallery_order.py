"""The order of the gallery: what most readers come for, before what researchers do."""

from __future__ import annotations

ORDER = (
    "plot_ecg.py",
    "plot_photograph.py",
    "plot_mri.py",
    "plot_joint_channels.py",
    "plot_noisy_regression.py",
    "plot_pipeline.py",
    "plot_categories.py",
    "plot_pylops.py",
    "plot_weights_and_signs.py",
    "plot_depths.py",
    "plot_average_path.py",
    "plot_own_matrix.py",
    "plot_phase_diagram.py",
)


def sort_key(file: str) -> int:
    """The place of a script."""
    return ORDER.index(file)
