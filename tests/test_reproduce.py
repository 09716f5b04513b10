"""``hadaflow reproduce all --quick``: every experiment of the papers, and a verdict for every claim."""

import re

import numpy as np
import pandas as pd
import pytest

from hadaflow.cli import main
from hadaflow.experiments import Store, Verdict, known, write_report
from hadaflow.experiments.records import rows_of
from hadaflow.experiments.report import draw


@pytest.fixture(scope="module")
def findings(reproduction):
    """All quick experiments through the command line; what other tests have run already is not run again."""
    assert main(["reproduce", "all", "--quick", "--output", str(reproduction)]) == 0
    return {f.experiment.name: f for f in write_report([kind.quick() for kind in known().values()], reproduction)}


def test_all_experiments_finish(findings, reproduction):
    assert set(findings) == set(known())
    for name, finding in findings.items():
        assert finding.error == "", name
        assert Store(reproduction / "records", finding.experiment).finished()
        for kind in ("png", "svg"):
            assert (reproduction / "figures" / f"{name}.{kind}").stat().st_size > 1000


each = pytest.mark.parametrize("name", sorted(known()))

#: What is not decided by the quick size, and why its page says so.
OPEN = {"error-rates": "The slope of one instance, whose certificate has no gap"}


@each
def test_every_claim_has_a_verdict_from_numbers(findings, name):
    claims = findings[name].claims
    verdicts = [claim.verdict for claim in claims]
    assert verdicts.count(Verdict.HOLDS) == len(claims) - (name in OPEN), claims
    assert verdicts.count(Verdict.OPEN) == (name in OPEN)
    for claim in claims:
        assert 1 <= len(claim.checks) <= 12
        assert all(len(check.label) < 80 for check in claim.checks)
        assert claim.source


@each
def test_a_task_depends_on_config_and_task_alone(findings, quick_records, name):
    experiment = known()[name].quick()
    task = experiment.tasks()[-1]
    again = pd.DataFrame(rows_of(experiment, task))
    before = quick_records(name)
    before = before[np.logical_and.reduce([before[key] == value for key, value in task.items()])]
    before = before[again.columns].reset_index(drop=True)
    # Files have one kind of missing value, and sums depend on BLAS's threads.
    pd.testing.assert_frame_equal(again.convert_dtypes(), before.convert_dtypes(), check_dtype=False, rtol=1e-6)


@each
def test_figures_are_readable(findings, quick_records, name):
    figure = draw(known()[name].quick(), quick_records(name))
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()] + figure.legends
    texts = [text for ax in figure.axes for text in (*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label)]
    texts += [text for legend in legends for text in legend.get_texts()]
    assert min(text.get_fontsize() for text in texts) >= 8
    assert all(ax.has_data() for ax in figure.axes)
    if known()[name].paper == "B":  # three depths side by side
        assert len(figure.axes) >= 3
        texts += [ax.title for ax in figure.axes] + [ax._left_title for ax in figure.axes]
        assert sum("depth" in text.get_text() for text in {*texts}) == 3


def test_the_page_shows_every_claim(findings, reproduction):
    page = (reproduction / "report.html").read_text(encoding="utf-8")
    checks = sum(len(claim.checks) for f in findings.values() for claim in f.claims)
    assert page.count('<td class="what">') == checks
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', page)) == len(findings)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
