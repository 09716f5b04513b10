"""What a reader of records must know about the machine, and how records are kept."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, system, Python and date."""
    return {
        "cpu": cpu_model(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_model() -> str:
    """Name of the processor as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def installed(package: str) -> str | None:
    """Version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load() -> float | None:
    """How many processes wanted a core in the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def keep(file: Any, record: dict[str, Any]) -> None:
    """Append one record, at once, so that an interrupted run keeps what it has."""
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    file.flush()


def run_into(records: Path, run: Callable[[Any], None], write: Callable[[Path], Path], mode: str = "w") -> None:
    """Keep what a run finds, and write the report of it, also where the run is interrupted."""
    records.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    try:
        with records.open(mode, encoding="utf-8") as file:
            run(file)
    except KeyboardInterrupt:
        print("\nInterrupted; the report covers what is done.")
    print(f"\n{time.perf_counter() - begin:.0f} s. Records: {records}. Report: {write(records)}.")
