"""Groups of features as users name them, and bases of the columns of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from hadaflow._types import Index, Vector
from hadaflow._validation import check_finite, flag, real_array
from hadaflow.estimators._validated import is_operator
from hadaflow.groups import Groups
from hadaflow.operators import Operator
from hadaflow.operators.block import dense

_SAFE = 1e-3  # smallest pivot of a Gram matrix of unit columns that is as good as orthogonal factors of them
_DEPENDENT = 1e-10  # singular value, relative to the largest, of columns of which others explain one
_DEPENDENT_SINGLE = 1e-5  # of those in single precision


@dataclass(frozen=True, eq=False)
class FeatureGroups:
    """A partition of the features, checked.

    Attributes
    ----------
    labels : int array of shape (n,)
        The group of each, in the order in which groups first appear (or as they are listed).
    weights : ndarray of shape (G,) or None
        Those of the user; 0 for groups that are not penalised. None for the root of the size.
    """

    labels: Index
    weights: Vector | None

    @classmethod
    def of(cls, estimator: Any, X: Any) -> FeatureGroups | None:
        """By the parameters of an estimator that knows its features; None where there are no groups.

        Raises
        ------
        TypeError, ValueError
            If ``feature_groups`` are no partition, ``group_weights`` are none of theirs, or other parameters exclude
            groups.
        """
        joint = flag(estimator.joint, "joint")
        if estimator.feature_groups is None and not joint:
            if not isinstance(estimator.group_weights, str) or estimator.group_weights != "sqrt_size":
                raise ValueError("group_weights are weights of feature_groups, of which there are none: leave them out")
            return None
        asked = "joint=True" if estimator.feature_groups is None else "feature_groups"
        _check_allowed(estimator, X, asked)
        n = X.shape[1]
        if estimator.feature_groups is None:
            labels = np.arange(n)
        else:
            named = _numbered(estimator.feature_groups, vars(estimator).get("feature_names_in_"))
            found = Groups.of(named, n, "feature_groups").labels
            labels = np.arange(n) if found is None else found
        return cls(labels, _weights(estimator.group_weights, int(labels.max()) + 1))

    @property
    def unpenalised(self) -> Vector | None:
        """Weights of the features that are 0 for those of groups of weight 0, else 1; None if there are none such."""
        if self.weights is None or self.weights.all():
            return None
        return np.where(self.weights[self.labels] > 0, 1.0, 0.0)

    def bases(self, operator: Operator, penalised: Index) -> GroupBases:
        """Orthonormal bases of the columns of each penalised group; ``operator`` has these columns alone."""
        _, labels = np.unique(self.labels[penalised], return_inverse=True)
        return GroupBases.of(dense(operator.columns(np.arange(len(penalised)))), labels, operator.dtype)

    def weights_of(self, bases: GroupBases, penalised: Index) -> Vector:
        """Weight of each penalised group."""
        if self.weights is None:
            return np.sqrt(np.bincount(bases.labels).astype(np.float64))
        return self.weights[np.unique(self.labels[penalised])]


@dataclass(frozen=True, eq=False)
class GroupBases:
    """Orthonormal bases of what the columns of each group span: ``basis = columns @ combination``.

    Attributes
    ----------
    basis : ndarray of shape (m, N)
        Group by group. A group that nothing is left of has one column of zeros.
    labels : int array of shape (N,)
        The group of each.
    combination : sparse array of shape (n, N)
        From coefficients of the basis to coefficients of the columns: the shortest ones, for columns of unit length.
    """

    basis: Vector
    labels: Index
    combination: sp.csr_array

    @classmethod
    def of(cls, columns: Vector, labels: Index, dtype: Any) -> GroupBases:
        """Of dense columns and the group of each, 0 to G - 1."""
        columns = np.asarray(columns, dtype=np.float64)
        lengths = np.linalg.norm(columns, axis=0)
        unit = columns / np.where(lengths > 0, lengths, 1.0)
        least = _DEPENDENT_SINGLE if dtype == np.float32 else _DEPENDENT
        order, counts = np.argsort(labels, kind="stable"), np.bincount(labels)
        parts, rows, entries = [], [], []
        for index in np.split(order, np.cumsum(counts)[:-1]):
            present = index[lengths[index] > 0]
            combination = _combination(unit[:, present], least)
            parts.append(unit[:, present] @ combination)
            rows.append(present)
            entries.append(combination / lengths[present, None])
        sizes = np.array([part.shape[1] for part in parts], dtype=np.intp)
        starts = np.cumsum(sizes) - sizes
        at = np.concatenate([np.repeat(row, size) for row, size in zip(rows, sizes, strict=True)])
        to = np.concatenate(
            [np.tile(np.arange(s, s + size), len(row)) for s, size, row in zip(starts, sizes, rows, strict=True)]
        )
        values = np.concatenate([each.ravel() for each in entries])
        combination = sp.csr_array((values, (at, to)), shape=(len(labels), int(sizes.sum())))
        return cls(np.asfortranarray(np.hstack(parts)), np.repeat(np.arange(len(sizes)), sizes), combination)

    def again(self, columns: Vector) -> Vector:
        """The same combinations of other rows of the columns."""
        return np.asfortranarray(np.asarray(self.combination.T @ columns.T).T)

    def coefficients(self, z: Vector) -> Vector:
        """Coefficients of the columns, for those of the basis in the rows of z."""
        return np.asarray(self.combination @ z)


def _combination(unit: Vector, least: float) -> Vector:
    """C with ``unit @ C`` orthonormal, of the same span; one column of zeros of nothing."""
    if unit.shape[1] == 0:
        return np.zeros((0, 1))
    gram = unit.T @ unit
    factor, failed = la.lapack.dpotrf(gram, lower=0)
    if not failed and float(factor.diagonal().min()) > _SAFE:
        return np.asarray(la.lapack.dtrtri(factor)[0])
    _, sizes, turned = la.svd(unit, full_matrices=False, check_finite=False)
    rank = int(np.count_nonzero(sizes > least * sizes[0]))
    return np.asarray(turned[:rank].T / sizes[:rank])


def _check_allowed(estimator: Any, X: Any, asked: str) -> None:
    """Raise ValueError where other parameters exclude groups."""
    if is_operator(X):
        raise ValueError(f"{asked} needs the columns of X, which a LinearOperator does not have")
    if estimator.positive:
        raise ValueError(f"positive=True works feature by feature: leave it or {asked} out")
    if estimator.feature_weights is not None:
        raise ValueError(
            f"feature_weights order features one by one: with {asked} pass group_weights, of which 0 leaves a group "
            f"unpenalised"
        )
    for name, none in (("dynamics", ("auto", "saddles")), ("depth", (None,)), ("init_scale", (None,))):
        value = getattr(estimator, name)
        if value not in none:
            raise ValueError(
                f"{name} belongs to training feature by feature: with {asked} group lassos are followed; leave "
                f"{name}={value!r} out"
            )


def _numbered(groups: Any, names: Any) -> Any:
    """Lists of names of columns as lists of their numbers; anything else as it is."""
    if not isinstance(groups, Sequence) or isinstance(groups, str):
        return groups
    lists = [isinstance(each, (list, tuple, np.ndarray)) and len(each) > 0 for each in groups]
    if not all(lists) or not any(isinstance(name, str) for each in groups for name in each):
        return groups
    if names is None:
        raise ValueError("feature_groups has names of columns, but X has none: pass a DataFrame, or numbers of columns")
    places = {name: place for place, name in enumerate(names)}
    unknown = [name for each in groups for name in each if name not in places]
    if unknown:
        raise ValueError(f"feature_groups names a column {unknown[0]!r}, which X does not have")
    return [[places[name] for name in each] for each in groups]


def _weights(value: Any, count: int) -> Vector | None:
    if isinstance(value, str):
        if value != "sqrt_size":
            raise ValueError(f'group_weights must be "sqrt_size", None or one number per group, got {value!r}')
        return None
    if value is None:
        return np.ones(count)
    weights = real_array(value, "group_weights", 1).astype(np.float64)
    if len(weights) != count:
        raise ValueError(f"group_weights must have one entry per group ({count}), got {len(weights)}")
    check_finite(weights, "group_weights")
    if weights.min() < 0:
        raise ValueError(
            f"group_weights must not be negative, but entry {int(weights.argmin())} is {weights.min():g}; 0 leaves a "
            f"group unpenalised"
        )
    if not weights.any():
        raise ValueError("group_weights are zero everywhere: with nothing penalised, nothing becomes sparse")
    return weights
