"""Results that are paths: of training step by step, of the flow, of the flow as its start vanishes, of group lassos."""

from hadaflow.paths.base import Path, PathFromStart, ReadOut
from hadaflow.paths.flow_path import FlowPath
from hadaflow.paths.lasso_path import GroupLassoPath
from hadaflow.paths.reading import Reading
from hadaflow.paths.saddle_path import SaddlePath
from hadaflow.paths.trajectory import Trajectory

__all__ = ["FlowPath", "GroupLassoPath", "Path", "PathFromStart", "ReadOut", "Reading", "SaddlePath", "Trajectory"]
