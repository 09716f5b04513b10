import contextlib
import os
import stat
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from hadaflow import files
from hadaflow.files import FileFormatError, read_matrix, read_vector, write_arrays, write_text, write_vector

MATRIX = np.array([[1.0, -2.5, 0.0], [0.1, 3e-300, 4.0]])
VECTOR = np.array([1.0, -0.1, 3e-300, 4e200])


def save_parquet(path, array):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {f"c{j}": column for j, column in enumerate(np.atleast_2d(array).T if array.ndim == 2 else [array])}
    parquet.write_table(pa.table(columns), path)


def save_text(separator):
    return lambda path, array: np.savetxt(path, array, delimiter=separator, fmt="%.17g")


def save_shouting(path, array):
    with path.open("wb") as handle:
        np.save(handle, array)


SAVERS = {
    "npy": (".npy", np.save),
    "npz named": (".npz", lambda path, array: np.savez(path, A=array, y=array, other=np.ones(7))),
    "npz alone": (".npz", lambda path, array: np.savez(path, whatever=array)),
    "mtx dense": (".mtx", lambda path, array: scipy.io.mmwrite(path, np.atleast_2d(array), precision=17)),
    "mat named": (".mat", lambda path, array: scipy.io.savemat(path, {"A": array, "y": array, "z": "text"})),
    "mat alone": (".mat", lambda path, array: scipy.io.savemat(path, {"whatever": array})),
    "mat version 4": (".mat", lambda path, array: scipy.io.savemat(path, {"A": array}, format="4")),
    "csv": (".csv", save_text(",")),
    "csv semicolon": (".csv", save_text(";")),
    "csv blanks": (".csv", save_text(" ")),
    "csv tabs": (".csv", save_text("\t")),
    "tsv blanks": (".tsv", save_text(" ")),
    "tsv": (".tsv", save_text("\t")),
    "parquet": (".parquet", save_parquet),
    "upper case": (".NPY", save_shouting),
}


@pytest.fixture(params=SAVERS, ids=str)
def saved(request, tmp_path):
    suffix, save = SAVERS[request.param]

    def write(array):
        path = tmp_path / f"data{suffix}"
        save(path, array)
        return path

    return write


def test_matrices_and_vectors_come_back_as_they_were(saved):
    np.testing.assert_array_equal(read_matrix(saved(MATRIX)), MATRIX)
    with pytest.raises(FileFormatError, match=r"data\.\w+ holds an array of shape \(2, 3\), but y must be a vector"):
        read_vector(saved(MATRIX))
    for shape in ((4,), (4, 1), (1, 4)):
        vector = read_vector(saved(VECTOR.reshape(shape)))
        assert vector.shape == (4,)
        np.testing.assert_array_equal(vector, VECTOR)
    path = saved(np.array([[2.5]]))
    assert read_matrix(path).shape == (1, 1)
    assert read_vector(path).shape == (1,)


def test_the_dtype_of_the_file_is_kept(tmp_path):
    for dtype in ("float32", ">f8", "int64", "bool", "uint8"):
        array = np.eye(3).astype(dtype)
        np.save(tmp_path / "A.npy", array)
        assert read_matrix(tmp_path / "A.npy").dtype == array.dtype


SPARSE_SAVERS = {
    "npz": (".npz", sp.save_npz),
    "mtx": (".mtx", scipy.io.mmwrite),
    "mat": (".mat", lambda path, matrix: scipy.io.savemat(path, {"A": matrix})),
}


@pytest.mark.parametrize(("suffix", "save"), SPARSE_SAVERS.values(), ids=SPARSE_SAVERS)
def test_sparse_matrices_and_vectors(tmp_path, suffix, save):
    save(tmp_path / f"A{suffix}", sp.coo_array(MATRIX))
    matrix = read_matrix(tmp_path / f"A{suffix}")
    assert isinstance(matrix, sp.csc_array)
    np.testing.assert_array_equal(matrix.toarray(), MATRIX)
    save(tmp_path / f"y{suffix}", sp.csc_array(VECTOR[:, None]))
    np.testing.assert_array_equal(read_vector(tmp_path / f"y{suffix}"), VECTOR)


def test_every_format_of_save_npz(tmp_path):
    for make in (sp.csr_matrix, sp.csc_matrix, sp.bsr_array, sp.dia_array):
        sp.save_npz(tmp_path / "A.npz", make(MATRIX))
        np.testing.assert_array_equal(read_matrix(tmp_path / "A.npz").toarray(), MATRIX)


def test_a_large_npy_file_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("hadaflow.files._read.MAP_FROM_BYTES", 100)
    np.save(tmp_path / "A.npy", MATRIX)
    matrix = read_matrix(tmp_path / "A.npy")
    assert isinstance(matrix, np.memmap)
    assert not matrix.flags.writeable


def test_one_npz_file_can_hold_both(tmp_path):
    write_arrays(tmp_path / "data.npz", {"A": MATRIX, "y": VECTOR[:2]})
    np.testing.assert_array_equal(read_matrix(tmp_path / "data.npz"), MATRIX)
    np.testing.assert_array_equal(read_vector(tmp_path / "data.npz"), VECTOR[:2])
    assert read_vector(str(tmp_path / "data.npz"), name="y").shape == (2,)


# ---- text tables -------------------------------------------------------------------------------------------

GOOD_TABLES = {
    "header": "a,b\n1,2\n3,4\n",
    "quoted header": '"a","b"\n1,2\n3,4\n',
    "quoted numbers": '"1","2"\n"3","4"\n',
    "comments and blank lines": "# made by hand\n\na,b\n1,2 # first\n\n3,4\n\n",
    "byte-order mark": "\ufeff1,2\n3,4\n",
    "byte-order mark and header": "\ufeffa,b\n1,2\n3,4\n",
    "spaces": " 1 , 2\n 3 , 4 \n",
    "windows line ends": "a,b\r\n1,2\r\n3,4\r\n",
    "no last line end": "1,2\n3,4",
    "semicolons": "a;b\n1;2\n3;4\n",
    "blanks": "  1.0   2.0\n  3.0   4.0\n",
    "blanks and header": "a b\n1 2\n3 4\n",
    "blanks and header of np.savetxt": "# a b\n1 2\n3 4\n",
}


@pytest.mark.parametrize("text", GOOD_TABLES.values(), ids=GOOD_TABLES)
def test_tables_as_people_write_them(tmp_path, text):
    (tmp_path / "A.csv").write_bytes(text.encode())
    np.testing.assert_array_equal(read_matrix(tmp_path / "A.csv"), [[1, 2], [3, 4]])


def test_a_single_row_or_a_single_column(tmp_path):
    path = tmp_path / "y.csv"
    for text in ("1,2,3", "1;2;3\n", "1 2 3\n", "1\t2\t3", "# made by hand\n1, 2, 3\n"):
        path.write_text(text)
        np.testing.assert_array_equal(read_vector(path), [1, 2, 3])
        assert read_matrix(path).shape == (1, 3)
    for header in ("sensor 1", '"sensor 1"', "flow rate", "y"):  # the name of a single column may have blanks
        path.write_text(f"{header}\n1\n2\n")
        np.testing.assert_array_equal(read_vector(path), [1, 2])


BAD_TABLES = {
    "blanks and text": ("1 2\n3 x\n", r"line 2: column 2: 'x' is not a number"),
    "blanks and text first": ("1 x\n3 4\n", r"line 1: names and numbers mixed \(such as 'x'\)"),
    "blanks and ragged": ("1 2\n3\n", r"line 2: 1 numbers where the lines above have 2"),
    "long field": ("1,2\n3," + "x" * 10_000, rf"column 2: '{'x' * 27}\.\.\.' is not a number"),
    "long field first": ("1," + "x" * 99 + "\n3,4", rf"such as '{'x' * 27}\.\.\.'\);"),
    "ragged": ("a,b\n1,2\n\n3,4,5\n", r"A\.csv, line 4: 3 numbers where the lines above have 2; make all"),
    "text": ("1,2\n3,x\n", r"A\.csv, line 2: column 2: 'x' is not a number; mend it"),
    "not available": ("a,b\n1,NA\n", r"line 2: column 2: 'NA' is not a number"),
    "missing": ("1,2\n3,\n", r"line 2: column 2: nothing there"),
    "decimal comma": ("1,5;2,5\n3;4\n", r"names and numbers mixed \(such as '1,5'\); .* decimal points"),
    "complex": ("1+2j,3\n1,2\n", r"A\.csv"),
    "mixed header": ("a,2\n1,2\n", r"line 1: names and numbers mixed \(such as 'a'\); keep only numbers"),
    "pandas index": (",a,b\n0,1,2\n", r"line 1: the first column has no name.*index=False"),
    "R row names": ('"","V1"\n"1",2\n', r"line 1: the first column has no name"),
    "pandas index, numbered columns": (",0,1\n0,1,2\n", r"line 1: column 1: nothing there"),
    "what only Python reads": ("1_0\n", r"A\.csv cannot be read as \.csv"),
    "header alone": ("a,b\n", r"A\.csv holds no numbers"),
    "blank": ("\n \n# nothing\n", r"A\.csv holds no numbers"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_name_the_line(tmp_path, text, message):
    (tmp_path / "A.csv").write_text(text)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_matrix(tmp_path / "A.csv")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300 + len(str(tmp_path))  # long fields are quoted in part


def test_text_in_another_encoding(tmp_path):
    (tmp_path / "A.csv").write_bytes("größe\n1\n".encode("utf-16"))
    with pytest.raises(FileFormatError, match=r"A\.csv cannot be read as \.csv"):
        read_matrix(tmp_path / "A.csv")


# ---- bad files ---------------------------------------------------------------------------------------------


def test_what_is_no_file_of_a_known_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*nowhere\.npy'; check the name and the folder"):
        read_matrix(tmp_path / "nowhere.npy")
    with pytest.raises(FileFormatError, match="is a folder or a device, not a file"):
        read_matrix(tmp_path)
    for name in ("A.xlsx", "A"):
        (tmp_path / name).write_text("1")
        with pytest.raises(FileFormatError, match=r"has the suffix '.*', which is not known; use \.npy, \.npz"):
            read_matrix(tmp_path / name)
    for suffix in (".npy", ".npz", ".mtx", ".mat", ".csv", ".tsv", ".parquet"):
        (tmp_path / f"A{suffix}").touch()
        with pytest.raises(FileFormatError, match=r"A\.\w+ is empty \(0 bytes\); write it again"):
            read_matrix(tmp_path / f"A{suffix}")
    for suffix in (".npy", ".npz", ".mtx", ".mat", ".parquet"):
        (tmp_path / f"A{suffix}").write_bytes(b"nothing of the kind " * 40)
        with pytest.raises(FileFormatError, match=rf"cannot be read as \{suffix} .*write it again"):
            read_matrix(tmp_path / f"A{suffix}")


DAMAGED = SAVERS | {"npz sparse": (".npz", lambda path, array: sp.save_npz(path, sp.csc_array(array)))}


@pytest.mark.parametrize(("suffix", "save"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_never_escapes_as_another_error(tmp_path, suffix, save):
    path = tmp_path / f"A{suffix}"
    save(path, MATRIX)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), size=3):
            damaged[place] = rng.integers(256)
        for content in (bytes(damaged), whole[: rng.integers(1, len(whole))]):
            path.write_bytes(content)
            with contextlib.suppress(FileFormatError):
                read_matrix(path)


NOT_REAL = {
    "text npy": (".npy", lambda p: np.save(p, np.array([["a"]])), "holds <U1, not numbers"),
    "text mat": (".mat", lambda p: scipy.io.savemat(p, {"A": "text"}), "not numbers; convert it to float"),
    "cell mat": (".mat", lambda p: scipy.io.savemat(p, {"A": np.array([[1, "b"]], dtype=object)}), "not numbers"),
    "no entries": (".npy", lambda p: np.save(p, np.empty((0, 3))), r"holds no numbers \(shape \(0, 3\)\)"),
    "one dimension": (".npy", lambda p: np.save(p, VECTOR), r"of shape \(4,\), but A needs two dimensions"),
    "three dimensions": (".npy", lambda p: np.save(p, np.ones((2, 2, 2))), r"\(2, 2, 2\), but A needs two dimensions"),
    "pickle": (".npy", lambda p: np.save(p, np.array([[{}]]), allow_pickle=True), r"cannot be read as \.npy"),
}


@pytest.mark.parametrize(("suffix", "save", "message"), NOT_REAL.values(), ids=NOT_REAL)
def test_what_is_not_a_real_matrix(tmp_path, suffix, save, message):
    path = tmp_path / f"A{suffix}"
    save(path)
    with pytest.raises(FileFormatError, match=message) as raised:
        read_matrix(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


BAD_MATRIX_MARKET = {
    "no rows": ("0 3\n", r"A\.mtx holds no numbers \(shape \(0, 3\)\)"),
    "null characters": ("2 1\n1.0\n\0\n", "is damaged .it contains null characters.; write it again"),
    "cut off": ("2 1\n1.0\n1.0e", "is damaged .its last line is cut off."),
}


@pytest.mark.parametrize(("body", "message"), BAD_MATRIX_MARKET.values(), ids=BAD_MATRIX_MARKET)
def test_matrix_market_that_would_crash_its_reader(tmp_path, body, message):
    (tmp_path / "A.mtx").write_text(f"%%MatrixMarket matrix array real general\n{body}")
    with pytest.raises(FileFormatError, match=message):
        read_matrix(tmp_path / "A.mtx")


def test_matrix_market_needs_no_last_line_end(tmp_path):
    (tmp_path / "y.mtx").write_text("%%MatrixMarket matrix array real general\n2 1\n1.0\n2.5e0")
    np.testing.assert_array_equal(read_vector(tmp_path / "y.mtx"), [1.0, 2.5])


def test_three_dimensions_are_no_vector(tmp_path):
    np.save(tmp_path / "y.npy", np.ones((2, 1, 1)))
    with pytest.raises(FileFormatError, match=r"shape \(2, 1, 1\), but y must be a vector"):
        read_vector(tmp_path / "y.npy")


@pytest.mark.parametrize(
    ("suffix", "save"), [(".npz", lambda p, d: np.savez(p, **d)), (".mat", scipy.io.savemat)], ids=[".npz", ".mat"]
)
def test_several_arrays_and_none_of_the_name(tmp_path, suffix, save):
    path = tmp_path / f"data{suffix}"
    save(path, {f"array{i}": MATRIX for i in range(10)})
    with pytest.raises(FileFormatError, match=r"several arrays \(array0, .*\.\.\.\) and none is called A; rename one"):
        read_matrix(path)


def test_no_array_at_all(tmp_path):
    np.savez(tmp_path / "data.npz")
    with pytest.raises(FileFormatError, match="holds no array; save y in it"):
        read_vector(tmp_path / "data.npz")


def test_matlab_73(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 20
    (tmp_path / "A.mat").write_bytes(header)
    with pytest.raises(FileFormatError, match=r"MATLAB v7\.3 \(HDF5\) file; save it .* save\('A\.mat', 'A', '-v7'\)"):
        read_matrix(tmp_path / "A.mat")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "does not fit into memory"),
        (PermissionError(13, "Permission denied"), "may not be read; give yourself the permission"),
    ],
)
def test_a_file_too_large_for_memory_and_a_forbidden_one(tmp_path, monkeypatch, error, message):
    np.save(tmp_path / "A.npy", MATRIX)
    monkeypatch.setattr(np, "load", Mock(side_effect=error))
    with pytest.raises(FileFormatError, match=message):
        read_matrix(tmp_path / "A.npy")


# ---- parquet -----------------------------------------------------------------------------------------------


@pytest.fixture
def pa():
    pytest.importorskip("pyarrow.parquet")
    return pytest.importorskip("pyarrow")


BAD_PARQUET = {
    "text": ({"a": [1.0, 2.0], "b": ["x", "y"]}, r"column 'b': string, not numbers; leave that column out"),
    "missing": ({"a": [1.0, None]}, r"column 'a': 1 values missing; fill or drop"),
    "no columns": ({}, "holds no columns"),
}


@pytest.mark.parametrize(("columns", "message"), BAD_PARQUET.values(), ids=BAD_PARQUET)
def test_bad_parquet(tmp_path, pa, columns, message):
    pa.parquet.write_table(pa.table(columns), tmp_path / "A.parquet")
    with pytest.raises(FileFormatError, match=message):
        read_matrix(tmp_path / "A.parquet")


def test_the_index_of_pandas_is_not_data(tmp_path, pa):
    table = pa.table({"a": [1.0, 2.0], "__index_level_0__": ["r", "s"]})
    metadata = {b"pandas": b'{"index_columns": ["__index_level_0__"], "columns": []}'}
    pa.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "A.parquet")
    np.testing.assert_array_equal(read_matrix(tmp_path / "A.parquet"), [[1.0], [2.0]])


def test_parquet_keeps_float32(tmp_path, pa):
    save_parquet(tmp_path / "A.parquet", MATRIX.astype(np.float32))
    assert read_matrix(tmp_path / "A.parquet").dtype == np.float32


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "A.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(FileFormatError, match=r"pip install 'hadaflow\[cli\]'"):
        read_matrix(tmp_path / "A.parquet")


# ---- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", files.VECTOR_SUFFIXES)
def test_a_vector_comes_back_exactly(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for dtype in (np.float32, np.float64):
        x = np.array([0.1, -1 / 3, 0.0, 1e-30, 3e30, np.pi], dtype=dtype)
        write_vector(path, x)
        np.testing.assert_array_equal(read_vector(path, name="x").astype(dtype), x)
        assert list(tmp_path.iterdir()) == [path]


def test_csv_is_short_and_named(tmp_path):
    write_vector(tmp_path / "x.csv", np.array([0.1, 2.0], dtype=np.float32), name="weights")
    assert (tmp_path / "x.csv").read_text() == "weights\n0.1\n2.0\n"


def test_writing_replaces_a_file_and_follows_a_link(tmp_path):
    (tmp_path / "x.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "x.csv")
    write_vector(tmp_path / "link.csv", [1.0])
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "x.csv").read_text() == "x\n1.0\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "text", "text")
    assert stat.S_IMODE((tmp_path / "text").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(TypeError, match="bytes-like"), files.atomic_writer(path) as handle:
        handle.write("not bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path):
    with (
        pytest.raises(OSError, match=r"cannot write .*x\.csv: .*No space left.*; is the disk full\?"),
        files.atomic_writer(tmp_path / "x.csv"),
    ):
        raise OSError(28, "No space left on device")


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "touch", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError, match=r"does not allow it \(Permission denied\); choose another folder"):
        write_vector(tmp_path / "x.npy", [1.0])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("x.txt", FileFormatError, r"suffix '\.txt' is not known here; use \.npz, \.npy, \.csv"),
        ("x", FileFormatError, r"suffix '' is not known here"),
        ("nowhere/x.npy", FileNotFoundError, r"there is no folder '.*nowhere'; create it first"),
        ("file.csv/x.npy", FileNotFoundError, "there is no folder"),
        ("folder.npy", IsADirectoryError, "it is a folder or a device; name a file"),
        ("file.csv", FileExistsError, r"file\.csv exists already; choose another name or allow overwriting"),
    ],
)
def test_outputs_are_checked_beforehand(tmp_path, name, error, message):
    (tmp_path / "file.csv").touch()
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(error, match=message):
        files.check_output(tmp_path / name, files.VECTOR_SUFFIXES)
    assert {path.name for path in tmp_path.iterdir()} == {"file.csv", "folder.npy"}


def test_a_good_output_is_left_alone_by_the_check(tmp_path):
    (tmp_path / "x.npy").write_text("old")
    assert files.check_output(tmp_path / "x.npy", (".npy",), overwrite=True) == tmp_path / "x.npy"
    assert (tmp_path / "x.npy").read_text() == "old"
    assert files.check_output(tmp_path / "anything") == tmp_path / "anything"


def test_complex_numbers_and_columns(tmp_path):
    """Read from the kinds of files that know them; in text every part has a column of its own."""
    for suffix, write in {
        ".npy": lambda p: np.save(p, MATRIX + 1j),
        ".mtx": lambda p: scipy.io.mmwrite(p, sp.coo_array(MATRIX + 1j)),
        ".mat": lambda p: scipy.io.savemat(p, {"A": MATRIX + 1j}),
    }.items():
        path = tmp_path / f"A{suffix}"
        write(path)
        found = read_matrix(path)
        np.testing.assert_array_equal(found.toarray() if sp.issparse(found) else found, MATRIX + 1j)
    write_vector(tmp_path / "x.csv", [1 + 2j, 3j])
    assert (tmp_path / "x.csv").read_text() == "x_real,x_imag\n1.0,2.0\n0.0,3.0\n"
    write_vector(tmp_path / "x.csv", np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (tmp_path / "x.csv").read_text() == "x_0,x_1\n1.0,2.0\n3.0,4.0\n"
    with pytest.raises(ValueError, match=r"x must have shape \(n,\) or \(n, k\), got \(1, 2, 3\)"):
        write_vector(tmp_path / "x.npy", MATRIX[None])


def test_arrays_go_into_npz_only(tmp_path):
    with pytest.raises(FileFormatError, match=r"use \.npz"):
        write_arrays(tmp_path / "x.npy", {"x": VECTOR})


def test_blanks_separate_what_savetxt_writes(tmp_path):
    A = np.random.default_rng(0).standard_normal((4, 3))
    np.savetxt(tmp_path / "A.csv", A)
    np.savetxt(tmp_path / "row.csv", A[:1])
    np.testing.assert_array_equal(read_matrix(tmp_path / "A.csv"), A)
    np.testing.assert_array_equal(read_vector(tmp_path / "row.csv"), A[0])
