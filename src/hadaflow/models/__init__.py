"""Overparameterised models: factors to x, and the mirror map that carries their gradient flow."""

from hadaflow.models.base import Factors, Model
from hadaflow.models.branches import Branch, Linear, Map
from hadaflow.models.exponential import Exponential
from hadaflow.models.group_product import GroupProduct
from hadaflow.models.hadamard_power import HadamardPower
from hadaflow.models.mirror import Mirror
from hadaflow.models.power import Power

__all__ = [
    "Branch",
    "Exponential",
    "Factors",
    "GroupProduct",
    "HadamardPower",
    "Linear",
    "Map",
    "Mirror",
    "Model",
    "Power",
]
