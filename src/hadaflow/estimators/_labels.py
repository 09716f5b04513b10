"""Labels of a classification: the two classes, and folds that have rows of both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow.estimators._read_offs import Fold


def classes(estimator: Any, y: NDArray[Any]) -> NDArray[Any]:
    """The classes in y, sorted; ValueError if there is one only."""
    found = np.unique(y)
    if len(found) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs rows of at least 2 classes with positive weight, but y has 1 class: "
            f"{found[0]!s}"
        )
    return found


def check_folds(folds: list[Fold], y: NDArray[Any], classes: NDArray[Any]) -> None:
    """Each fold has to show every class: of one that it has not seen it would say that it does not exist."""
    for k, (train, _) in enumerate(folds):
        missing = np.setdiff1d(classes, y[train])
        if len(missing):
            raise ValueError(
                f"fold {k} of cv has no row of class {missing[0]!s} to train on (of positive weight), so that its loss "
                f"says nothing about that class: take a splitter that spreads the classes, such as StratifiedKFold or "
                f'StratifiedGroupKFold, fewer folds, or stop="criterion", which needs none'
            )


def stratified(y: NDArray[Any], count: int) -> list[Fold]:
    """Stratified folds, no more of them than the smallest class has rows."""
    from sklearn.model_selection import StratifiedKFold

    classes, sizes = np.unique(y, return_counts=True)
    if len(classes) > 1 and sizes.min() < 2:
        raise ValueError(
            f"cross-validation needs 2 rows of each class, but there is 1 of {classes[sizes.argmin()]!s}: pass splits "
            f'of your own as cv, or stop="criterion", which needs no folds'
        )
    count = min(count, int(sizes.min()))
    return [] if len(classes) < 2 else list(StratifiedKFold(count).split(np.zeros(len(y)), y))
