"""The page that tells what came out: for each claim the statement, the figure, the numbers and the verdict."""

from __future__ import annotations

import base64
import inspect
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hadaflow as hf
from hadaflow._extras import require
from hadaflow._validation import instance
from hadaflow.experiments.base import Experiment
from hadaflow.experiments.claims import Check, Claim, Verdict
from hadaflow.experiments.records import Provenance, Store

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_DPI = 160
_PAPERS = {
    "A": "Paper A: overparameterisation induces sparsity",
    "B": "Paper B: depth and early stopping",
    "C": "Paper C: how far from the \N{SCRIPT SMALL L}1 minimiser",
    "scale": "As the scale vanishes",
    "groups": "Groups, complex data and joint columns",
}


@dataclass(frozen=True)
class Finding:
    """What one experiment found.

    Attributes
    ----------
    experiment : Experiment
        Its config.
    claims : sequence of Claim
        What its records say.
    provenance : Provenance or None
        Where the records come from; None if there are none.
    picture : bytes
        Its figure as PNG.
    error : str
        Why there are no records; empty if there are.
    """

    experiment: Experiment
    claims: Sequence[Claim]
    provenance: Provenance | None
    picture: bytes
    error: str = ""

    @property
    def about(self) -> list[str]:
        """Paragraphs of its description."""
        return (inspect.getdoc(type(self.experiment)) or "").split("\n\n")

    @property
    def figure_uri(self) -> str:
        """The picture as an address that needs no file."""
        return "data:image/png;base64," + base64.b64encode(self.picture).decode()


def write_report(
    experiments: Sequence[Experiment],
    folder: str | os.PathLike[str],
    *,
    failed: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """Draw the figures of finished experiments and write ``report.html``, from the records alone.

    Parameters
    ----------
    experiments : sequence of Experiment
        Which, in the order of the page. Those without complete records are left out, unless they failed.
    folder : path
        Holds ``records/<name>-<config hash>.parquet``; gets ``figures/<name>.png``, ``figures/<name>.svg`` and
        ``report.html``.
    failed : mapping, optional
        Name and reason of experiments that could not be run, as :func:`reproduce` returns it.

    Returns
    -------
    tuple of Finding
        What stands on the page.

    Raises
    ------
    ImportError
        Without the extra ``experiments``.
    """
    require("jinja2", "matplotlib", "pandas", "pyarrow", extra="experiments", what="reports")
    folder, failed = Path(folder), failed or {}
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    findings = []
    for experiment in experiments:
        store = Store(folder / "records", experiment)
        if store.finished():
            findings.append(_read(store, experiment, folder / "figures"))
        elif experiment.name in failed:
            findings.append(Finding(experiment, (), None, b"", failed[experiment.name]))
    page = folder / "report.html"
    unfinished = page.with_suffix(".unfinished")
    unfinished.write_text(_render(findings), encoding="utf-8")
    unfinished.replace(page)
    return tuple(findings)


def _read(store: Store, experiment: Experiment, figures: Path) -> Finding:
    """What the records say; where they cannot be read as the experiment wants, why."""
    try:
        return _finding(store, experiment, figures)
    except Exception as error:  # noqa: BLE001 - one experiment's mistake leaves the others their page
        reason = f"reading the records: {type(error).__name__}: {error} (--fresh makes damaged records anew)"
        return Finding(experiment, (), None, b"", reason)


def _finding(store: Store, experiment: Experiment, figures: Path) -> Finding:
    records = store.read()
    claims = tuple(experiment.claims(records))
    for claim in claims:
        instance(claim, Claim, "claim")
        for check in claim.checks:
            instance(check, Check, "check")
    path = figures / f"{experiment.name}.png"
    figure = draw(experiment, records)
    figure.savefig(path, dpi=_DPI)
    # Without a date and with fixed identifiers, the same records give the same file.
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": experiment.name}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return Finding(experiment, claims, store.provenance(), path.read_bytes())


def draw(experiment: Experiment, records: Any) -> Figure:
    """The figure of an experiment."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=experiment.figsize, layout="constrained")
    experiment.draw(figure, records)
    return figure


def _render(findings: Sequence[Finding]) -> str:
    import jinja2

    loader = jinja2.PackageLoader("hadaflow.experiments", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": _number, "duration": _duration, "code": _code}
    papers: dict[str, list[Finding]] = {}
    for finding in findings:
        papers.setdefault(finding.experiment.paper, []).append(finding)
    counts = Counter(claim.verdict for finding in findings for claim in finding.claims)
    return environment.get_template("report.html.j2").render(
        papers={_PAPERS.get(paper, paper): some for paper, some in papers.items()},
        counts={verdict: counts[verdict] for verdict in Verdict},
        failures=[finding for finding in findings if finding.error],
        version=hf.__version__,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _number(value: Any) -> str:
    """A number as a reader wants it: four digits, its own minus sign, powers of ten where they help."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isnan(value):
        return "\N{EM DASH}"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(`+)([^`]+)\1", r"<code>\2</code>", str(escape(text))))


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
