"""The program: which commands there are, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

import hadaflow as hf
from hadaflow.cli import _phase_diagram, _recover, _reproduce, _sweep, _training

# What typer raises on a bad command line; it may bring its own copy of click, so click itself is no place to look.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hadaflow",
    help="[bold]Sparse recovery[/bold] by gradient flow on overparameterised models, with proofs.",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(help=_recover.ABOUT, epilog=_recover.EXAMPLES)(_recover.recover)
app.command(help=_training.ABOUT_DESCEND, epilog=_training.EXAMPLES_DESCEND)(_training.descend)
app.command(help=_training.ABOUT_FLOW, epilog=_training.EXAMPLES_FLOW)(_training.flow)
app.command("reproduce", help=_reproduce.ABOUT, epilog=_reproduce.EXAMPLES)(_reproduce.reproduce_papers)
app.command("phase-diagram", help=_phase_diagram.ABOUT, epilog=_phase_diagram.EXAMPLES)(_phase_diagram.diagram)
app.command(help=_sweep.ABOUT, epilog=_sweep.EXAMPLES)(_sweep.sweep)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; default those of the process.

    Returns
    -------
    int
        0: what was asked for was reached. 1: ran, but did not get there. 2: usage, file or data at fault, told in one
        line on standard error. 130: interrupted.
    """
    try:
        code = int(app(args=argv, prog_name="hadaflow", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except _UsageError as error:
        return _complain(_usage(error))
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _complain(_words(error))
    except MemoryError:
        return _complain("out of memory; keep a large dense matrix as .npy, a sparse one as .mtx or .npz, a grid small")
    if code == 130:
        typer.echo("hadaflow: interrupted", err=True)
    return code


def _words(error: Exception) -> str:
    """What it says; of the system's own errors without their number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return str(error)


def _complain(message: str) -> int:
    typer.echo(f"hadaflow: error: {' '.join(message.split())}", err=True)
    return 2


def _usage(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "hadaflow"
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{message}; see {command} --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hadaflow {hf.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
