"""Proofs of quality computed from the answer itself: nothing here trusts the solver that made it."""

from hadaflow.certificates._basis_pursuit import MOST_COLUMNS, Certificate, certify
from hadaflow.certificates._fit import CLOSEST, FitProof, prove_fit
from hadaflow.certificates._lasso import LassoCertificate, certify_lasso

__all__ = [
    "CLOSEST",
    "MOST_COLUMNS",
    "Certificate",
    "FitProof",
    "LassoCertificate",
    "certify",
    "certify_lasso",
    "prove_fit",
]
