"""Overparameterised models: factors to x, and the mirror map that carries their gradient flow."""

from hadaflow.models.base import Branches, Factors, Model
from hadaflow.models.hadamard_power import HadamardPower

__all__ = ["Branches", "Factors", "HadamardPower", "Model"]
