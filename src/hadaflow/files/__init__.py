"""Matrices and vectors from files, and answers back into files.

Reading goes by suffix: ``.npy``, ``.npz``, ``.mtx``, ``.mat``, ``.csv``, ``.tsv``, ``.parquet``. Whatever is wrong
with a file ends in one line that names the file and the remedy. Writing is atomic: a file is whole or not there.
"""

from hadaflow.files._common import FileFormatError
from hadaflow.files._read import MAP_FROM_BYTES as MAP_FROM_BYTES
from hadaflow.files._read import read_matrix, read_vector
from hadaflow.files._write import VECTOR_SUFFIXES as VECTOR_SUFFIXES
from hadaflow.files._write import atomic_writer, check_output, write_arrays, write_text, write_vector

__all__ = [
    "FileFormatError",
    "atomic_writer",
    "check_output",
    "read_matrix",
    "read_vector",
    "write_arrays",
    "write_text",
    "write_vector",
]
