"""Proofs of quality computed from the answer itself: nothing here trusts the solver that made it."""

from hadaflow.certificates._arguments import gauge_of
from hadaflow.certificates._basis_pursuit import MOST_COLUMNS, Certificate, certificate_of, certify
from hadaflow.certificates._criterion import Exact, exact_within
from hadaflow.certificates._fit import CLOSEST, FitProof, prove_fit
from hadaflow.certificates._lasso import LassoCertificate, certify_lasso
from hadaflow.certificates._many import Certificates, Sheet, certificates_of
from hadaflow.certificates._supports import Supports, alike_in_size

__all__ = [
    "CLOSEST",
    "MOST_COLUMNS",
    "Certificate",
    "Certificates",
    "Exact",
    "FitProof",
    "LassoCertificate",
    "Sheet",
    "Supports",
    "alike_in_size",
    "certificate_of",
    "certificates_of",
    "certify",
    "certify_lasso",
    "exact_within",
    "gauge_of",
    "prove_fit",
]
