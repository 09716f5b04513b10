"""``hadaflow reproduce all --quick``: every experiment of the papers, and a verdict for every claim."""

import re

import pytest

from hadaflow.cli import main
from hadaflow.experiments import Store, Verdict, known, write_report


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


@pytest.mark.parametrize("name", sorted(known()))
def test_every_claim_has_a_verdict_from_numbers(findings, name):
    """None fails; where one is undecided, some check says which number is outside its range."""
    claims = findings[name].claims
    assert claims
    for claim in claims:
        assert claim.checks, claim.statement
        assert claim.source
        assert claim.verdict is not Verdict.FAILS, claim
    assert any(claim.verdict is Verdict.HOLDS for claim in claims)


def test_the_page_shows_every_claim(findings, reproduction):
    page = (reproduction / "report.html").read_text(encoding="utf-8")
    checks = sum(len(claim.checks) for f in findings.values() for claim in f.claims)
    assert page.count('<td class="what">') == checks
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', page)) == len(findings)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
