"""What ``A`` may be, behind one small protocol.

Everything above this package asks an :class:`Operator` for three things: ``A @ v``, ``A.T @ r`` and a few
columns of ``A`` as a matrix. All products are returned in float64, whatever the dtype of the data.
"""

from hadaflow.operators.around import Around, Composed, Metered, Scaled
from hadaflow.operators.base import Operator
from hadaflow.operators.block import Columns
from hadaflow.operators.cancelled import Cancelled
from hadaflow.operators.complexes import ComplexOperator
from hadaflow.operators.costs import PassCosts
from hadaflow.operators.dense import DenseOperator
from hadaflow.operators.making import as_operator
from hadaflow.operators.matrix_free import MatrixFreeOperator
from hadaflow.operators.partitioned import PartitionedOperator
from hadaflow.operators.repeated import Repeated
from hadaflow.operators.sparse import SparseOperator

__all__ = [
    "Around",
    "Cancelled",
    "Columns",
    "ComplexOperator",
    "Composed",
    "DenseOperator",
    "MatrixFreeOperator",
    "Metered",
    "Operator",
    "PartitionedOperator",
    "PassCosts",
    "Repeated",
    "Scaled",
    "SparseOperator",
    "as_operator",
]
