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
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
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


class Environments:
    """New environments, each for one purpose. They share one pip, and nothing that it installs is compiled ahead."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._pip = folder, folder / "pip" / "bin" / "python"
        call(sys.executable, "-m", "venv", folder / "pip")

    def make(self, name: str, *needs: object, **around: str) -> Path:
        """One with what is named; its Python."""
        python = self.folder / name / "bin" / "python"
        call(sys.executable, "-m", "venv", "--without-pip", self.folder / name)
        pip = (self._pip, "-m", "pip", "--disable-pip-version-check", "--python", python)
        call(*pip, "install", "--quiet", "--no-compile", *needs, **around)
        return python


def built(environments: Environments) -> tuple[Path, Path]:
    """Sdist, and the wheel that is made of it."""
    folder, python = environments.folder, environments.make("build", "build")
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


def without_compiler(environments: Environments, sdist: Path) -> str:
    """There NumPy serves, and the wheel is one for every platform."""
    nothing = environments.folder / "no-programs"
    nothing.mkdir()
    python = environments.make("plain", sdist, PATH=str(nothing), CC="/nonexistent")
    if call(python, "-c", KERNEL).strip():
        raise SystemExit("a kernel was compiled although there is no compiler")
    return call(python, PROMISES) + "the sdist, installed without a C compiler"


def alone(environments: Environments, wheel: Path) -> str:
    """Where there is a compiler, the wheel has its kernel."""
    found = call(environments.make("wheel", wheel), "-c", KERNEL).strip()
    if any(map(shutil.which, ("cc", "gcc", "clang"))) and not found:
        raise SystemExit("no kernel was compiled although there is a compiler")
    return f"the wheel, installed alone, with {'its' if found else 'no'} kernel"


def with_extra(environments: Environments, wheel: Path, extra: str) -> str:
    """The extra keeps its promises, and the others are named by what needs them."""
    python = environments.make(extra, f"hadaflow[{extra}] @ {wheel.as_uri()}")
    kept = call(python, PROMISES, extra, *HOLDS.get(extra, ()))
    if extra == "demo":
        for example in ("ecg_recovery", "coefficient_path"):
            call(python, ROOT / "examples" / f"{example}.py", "--output", environments.folder / "pictures")
    return f"{kept}hadaflow[{extra}], installed alone"


def main(wanted: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    if unknown := set(wanted) - set(extras):
        raise SystemExit(f"no extra is called {', '.join(unknown)}: there are {', '.join(extras)}")
    began = time.monotonic()

    def report(what: str) -> None:
        kept, _, last = what.rpartition("\n")
        print(kept, f"[{time.monotonic() - began:4.0f} s] {last}", sep="\n" if kept else "", flush=True)

    with tempfile.TemporaryDirectory() as name:
        environments = Environments(Path(name))
        sdist, wheel = built(environments)
        report(f"built {sdist.name} and {wheel.name}")
        checks = [] if wanted else [partial(without_compiler, environments, sdist), partial(alone, environments, wheel)]
        checks += [partial(with_extra, environments, wheel, e) for e in wanted or sorted(set(extras) - UNTRIED)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # each in processes of its own
            for done in as_completed([pool.submit(check) for check in checks]):
                report(done.result())


if __name__ == "__main__":
    main(sys.argv[1:])
