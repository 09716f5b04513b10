"""Names for arrays: each is defined here and nowhere else."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: Real numbers in the precision that the solvers work in.
Vector = NDArray[np.float64]
#: Real numbers in the precision of the data.
Float = NDArray[np.floating[Any]]
#: Positions.
Index = NDArray[np.intp]
#: Which ones.
Mask = NDArray[np.bool_]

#: Which signs entries of x may have.
Sign = Literal["both", "positive"]
