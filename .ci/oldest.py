"""Print the oldest versions that pyproject.toml declares of what hadaflow needs, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"].values()
for needed in sorted({*project["dependencies"], *(needed for extra in extras for needed in extra)}):
    if match := re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", needed):
        print(f"{match[1]}=={match[2]}")
