"""Regression on real tables, side by side: prediction, number of features, time.

Two tables, one of them wide:

- diabetes: ten measurements of 442 patients, as scikit-learn ships them, with all squares and products of two, and the
  progress of the disease a year later. The square of the sex is left out, since it says what the sex says: 64 features;
- genes: 700 blood cells and 765 genes, as scanpy ships them (``pip install --no-deps scanpy h5py`` is enough; without
  it this table is left out). What is predicted is the logarithmic count of CST3, the gene that varies most, and of
  NKG7, a mark of killer cells, from those of the 764 others.

Ten random splits each: four fifths of the patients and half of the cells are for training, features are standardised
by what the training part says, and every choice (penalties, sizes) is made within it, so the test part is new to all.
The estimators and their settings are those of ``benchmarks/regression.py``.

Run it with ``python examples/regression_comparison.py``; it needs scikit-learn, and skglm and abess for their rows.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

SEXES = 1  # the column of scikit-learn's diabetes table that holds the sex
CELLS = "datasets/10x_pbmc68k_reduced.h5ad"


@dataclass(frozen=True, eq=False)
class Table:
    """Features, what to predict, and the share of the rows that is for training."""

    title: str
    X: np.ndarray
    y: np.ndarray
    share: float


@dataclass(frozen=True)
class Score:
    """How one estimator did on one split."""

    r2: float
    features: int
    seconds: float


def diabetes() -> Table | None:
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import PolynomialFeatures

    X, y = load_diabetes(return_X_y=True)
    powers = PolynomialFeatures(2, include_bias=False).fit(X)
    features = powers.transform(X)[:, powers.powers_[:, SEXES] < 2]
    return Table("diabetes, squares and products", features, y, 0.8)


def gene(name: str) -> Table | None:
    """One gene from all others; None where the file is not there. Read without scanpy, whose import takes seconds."""
    scanpy = importlib.util.find_spec("scanpy")
    if scanpy is None or scanpy.origin is None or importlib.util.find_spec("h5py") is None:
        return None
    import h5py
    from scipy.sparse import csr_array

    with h5py.File(Path(scanpy.origin).parent / CELLS) as file:
        genes = list(file["raw.var"]["index"].astype(str))
        stored = file["raw.X"]
        parts = (stored["data"][:].astype(float), stored["indices"][:], stored["indptr"][:])
        counts = csr_array(parts, shape=(len(stored["indptr"]) - 1, len(genes))).toarray()
    place = genes.index(name)
    return Table(f"{name} from the other genes", np.delete(counts, place, axis=1), counts[:, place], 0.5)


TABLES: dict[str, Callable[[], Table | None]] = {
    "diabetes": diabetes,
    "CST3": lambda: gene("CST3"),
    "NKG7": lambda: gene("NKG7"),
}


def entrants() -> dict[str, Any]:
    """The estimators of the benchmark that are installed."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # a folder of scripts, no package
    try:
        known = importlib.import_module("regression_entrants").ENTRANTS
    finally:
        sys.path.pop(0)
    return {name: entrant for name, entrant in known.items() if entrant.installed}


def score(fit: Callable[[np.ndarray, np.ndarray], np.ndarray], table: Table, split: int) -> Score:
    """Train on one part of a random split, judge on the other."""
    order = np.random.default_rng(split).permutation(len(table.y))
    train, test = np.split(order, [round(table.share * len(order))])
    mean, spread = table.X[train].mean(axis=0), table.X[train].std(axis=0)
    kept = spread > 0  # a gene that no cell of the training part shows
    Z, fresh = ((table.X[rows][:, kept] - mean[kept]) / spread[kept] for rows in (train, test))
    y, truth = table.y[train], table.y[test]
    begin = time.process_time()
    coef = fit(Z, y)
    seconds = time.process_time() - begin
    wrong = truth - (y.mean() + fresh @ coef)  # the features have mean zero, so the intercept is the mean
    r2 = 1 - np.sum(wrong**2) / np.sum((truth - truth.mean()) ** 2)
    return Score(float(r2), int(np.count_nonzero(coef)), seconds)


def line(name: str, scores: Sequence[Score]) -> str:
    """Mean and standard deviation over the splits, and the median time."""
    r2 = [s.r2 for s in scores]
    features = [s.features for s in scores]
    seconds = np.median([s.seconds for s in scores])
    quality = f"{np.mean(r2):8.3f} ± {np.std(r2):.3f}"
    return f"{name:16}{quality}{np.mean(features):8.1f} ± {np.std(features):<5.1f}{seconds:8.2g}"


def main(argv: Sequence[str] | None = None) -> None:
    known = entrants()
    parser = argparse.ArgumentParser(description="Compare estimators of sparse regression on real tables.")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), metavar="TABLE")
    parser.add_argument("--entrants", nargs="+", choices=list(known), default=list(known), metavar="NAME")
    parser.add_argument("--splits", type=int, default=10)
    options = parser.parse_args(argv)
    if options.splits < 1:
        parser.error(f"--splits must be at least 1, got {options.splits}")
    rng = np.random.default_rng(0)
    small = rng.standard_normal((60, 30)), rng.standard_normal(60)
    for name in options.tables:
        table = TABLES[name]()
        if table is None:
            print(f"{name}: left out; get the table with: pip install --no-deps scanpy h5py\n")
            continue
        rows, columns = table.X.shape
        print(f"{table.title}: {round(table.share * rows)} of {rows} rows for training, {columns} features")
        print(f"{'':16}{'test R²':>16}{'features':>16}{'CPU s':>8}")
        for entrant in options.entrants:
            with warnings.catch_warnings(), threadpool_limits(limits=1):
                warnings.simplefilter("ignore")  # of coordinate descent that is cut short at the smallest penalties
                known[entrant].fit(*small)  # imports and compiles
                scores = [score(known[entrant].fit, table, split) for split in range(options.splits)]
            print(line(entrant, scores), flush=True)
        print()


if __name__ == "__main__":
    main()
