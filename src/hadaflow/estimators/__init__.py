"""Estimators for scikit-learn: sparse regression and classification by gradient flow.

Needs the extra ``hadaflow[estimators]``.
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("estimators need scikit-learn: pip install 'hadaflow[estimators]'") from error

from hadaflow.estimators._classifier import SparseFlowClassifier
from hadaflow.estimators._regressor import SparseFlowRegressor
from hadaflow.estimators._regressor_cv import SparseFlowRegressorCV

__all__ = ["SparseFlowClassifier", "SparseFlowRegressor", "SparseFlowRegressorCV"]
