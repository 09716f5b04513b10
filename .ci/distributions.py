"""Build sdist and wheel and try them as users get them, in environments that hold nothing else.

Without arguments: the sdist with and without a C compiler, and each extra alone.
``python .ci/distributions.py plot cli`` tries some extras only. Needs pip and what it downloads; some minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROMISES = ROOT / ".ci" / "promises.py"
#: Extras that others hold, and what nobody promises anything of: benchmarks are run from the source.
HOLDS = {"cli": ["plot"], "demo": ["plot", "estimators"], "experiments": ["cli", "plot", "estimators"]}
UNTRIED = {"bench"}
KERNEL = "import hadaflow; from pathlib import Path; print(*Path(hadaflow.__file__).parent.glob('*.so'))"
IN_SDIST = ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml", "src/hadaflow/_sweep.c")
IN_WHEEL = ("hadaflow/py.typed", "hadaflow/_sweep.c", "hadaflow/experiments/templates/report.html.j2")


def call(*words: object, **around: str) -> str:
    """Run something; what it prints. The project's sources and the user's paths stay out."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, words)], env=clean | around, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def environment(folder: Path, *needs: object, **around: str) -> Path:
    """A new environment with what is named; its Python."""
    call(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    call(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *needs, **around)
    return python


def built(folder: Path) -> tuple[Path, Path]:
    """Sdist, and the wheel that is made of it."""
    python = environment(folder / "build", "build")
    call(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    missing = [name for name in IN_SDIST if name not in inside]
    with zipfile.ZipFile(wheel) as archive:
        missing += [name for name in IN_WHEEL if name not in archive.namelist()]
    if missing:
        raise SystemExit(f"missing in {sdist.name} or {wheel.name}: {missing}")
    return sdist, wheel


def without_compiler(folder: Path, sdist: Path) -> None:
    """There NumPy serves, and the wheel is one for every platform."""
    nothing = folder / "no-programs"
    nothing.mkdir()
    python = environment(folder / "plain", sdist, PATH=str(nothing), CC="/nonexistent")
    if call(python, "-c", KERNEL).strip():
        raise SystemExit("a kernel was compiled although there is no compiler")
    print(call(python, PROMISES), end="")


def main(wanted: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    if unknown := set(wanted) - set(extras):
        raise SystemExit(f"no extra is called {', '.join(unknown)}: there are {', '.join(extras)}")
    began = time.monotonic()

    def told(what: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {what}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sdist, wheel = built(folder)
        told(f"built {sdist.name} and {wheel.name}")
        if not wanted:
            without_compiler(folder, sdist)
            told("the sdist, installed without a C compiler")
            found = call(environment(folder / "wheel", wheel), "-c", KERNEL).strip()
            if any(map(shutil.which, ("cc", "gcc", "clang"))) and not found:
                raise SystemExit("no kernel was compiled although there is a compiler")
            told(f"the wheel, installed alone, with {'its' if found else 'no'} kernel")
        for extra in wanted or sorted(set(extras) - UNTRIED):
            python = environment(folder / extra, f"hadaflow[{extra}] @ {wheel.as_uri()}")
            print(call(python, PROMISES, extra, *HOLDS.get(extra, ())), end="")
            if extra == "demo":
                for example in ("ecg_recovery", "coefficient_path"):
                    call(python, ROOT / "examples" / f"{example}.py", "--output", folder / "pictures")
            told(f"hadaflow[{extra}], installed alone")


if __name__ == "__main__":
    main(sys.argv[1:])
