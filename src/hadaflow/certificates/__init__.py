"""Proofs of quality computed from the answer itself: nothing here trusts the solver that made it."""

from hadaflow.certificates._arguments import gauge_of
from hadaflow.certificates._basis_pursuit import MOST_COLUMNS, Certificate, certificate_of, certify
from hadaflow.certificates._criterion import Exact, exact_within
from hadaflow.certificates._fit import CLOSEST, FitProof, prove_fit
from hadaflow.certificates._lasso import LassoCertificate, certify_lasso

__all__ = [
    "CLOSEST",
    "MOST_COLUMNS",
    "Certificate",
    "Exact",
    "FitProof",
    "LassoCertificate",
    "certificate_of",
    "certify",
    "certify_lasso",
    "exact_within",
    "gauge_of",
    "prove_fit",
]
