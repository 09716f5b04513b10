"""Compile the fused kernel while the package is built; without a C compiler the NumPy path serves instead."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Contraction to fused multiply-adds, but no reordering of sums: results do not depend on the compiler's mood.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-shared", "-fPIC"]
# Some compilers have no OpenMP, some no function clones.
EXTRAS = (["-fopenmp"], ["-fopenmp", "-DPORTABLE"], [], ["-DPORTABLE"])


class CustomBuildHook(BuildHookInterface):
    """Put the compiled kernel beside its source and mark the wheel as made for this platform."""

    def initialize(self, version, build_data):
        package = Path(self.root) / "src" / "hadaflow"
        library = package / "_sweep_kernel.so"
        if compile_kernel(package / "_sweep.c", library):
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
            build_data["pure_python"] = False
            build_data["artifacts"].append("src/hadaflow/_sweep_kernel.so")
        else:
            library.unlink(missing_ok=True)
            self.app.display_warning("no C compiler found: hadaflow.descend will use NumPy, about half as fast")


def compile_kernel(source, library):
    """Compile ``source`` with the first compiler that manages; whether one did."""
    found = [os.environ.get("CC"), "cc", "gcc", "clang"]
    compilers = [name for name in found if name and shutil.which(name.split()[0])]
    fresh = library.with_suffix(".new")
    for compiler in compilers:
        for extra in EXTRAS:
            command = [*compiler.split(), *FLAGS, *extra, str(source), "-o", str(fresh)]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                fresh.replace(library)
                return True
    fresh.unlink(missing_ok=True)
    return False
