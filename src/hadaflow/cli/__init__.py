"""The command line ``hadaflow``: each command reads files, calls one function of the library, and reports."""

try:
    from hadaflow.cli._app import main
except ImportError as missing:
    name = str(missing.name).partition(".")[0]
    if name not in ("rich", "typer"):
        raise
    raise SystemExit(f"hadaflow: error: the command line needs {name}: pip install 'hadaflow[cli]'") from None

__all__ = ["main"]
