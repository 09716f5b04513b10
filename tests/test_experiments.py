"""Experiments: records that last, runs that go on, verdicts that follow from the records."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hadaflow.cli import main
from hadaflow.experiments import (
    Check,
    Claim,
    Experiment,
    Store,
    Verdict,
    find,
    known,
    reproduce,
    run_inline,
    write_report,
)

PAGE = Path(__file__).parent.parent / "docs" / "adding_an_experiment.md"


@dataclass(frozen=True)
class Squares(Experiment):
    """Squares of `numbers`.

    <b>Nothing</b> of this is markup.
    """

    name: ClassVar[str] = "squares"
    paper: ClassVar[str] = "test"
    title: ClassVar[str] = "Squares & sums"

    count: int = 4
    seed: int = 3
    broken: int = -1

    @classmethod
    def quick(cls):
        return cls(count=2)

    def tasks(self):
        return [{"k": k} for k in range(self.count)]

    def run(self, *, k):
        if k == self.broken:
            raise ArithmeticError("no such square")
        rng = np.random.default_rng([self.seed, k])
        for part in ("a", "b"):
            yield {"part": part, "square": float(k**2), "noise": rng.standard_normal()}

    def claims(self, records):
        right = int((records.square == records.k**2).sum())
        return [
            Claim("Squares are squares.", "arithmetic", [Check.equal("all", predicted=len(records), measured=right)]),
            Claim("All are small.", "a wish", [Check.at_most("largest", measured=records.square.max(), bound=3.0)]),
        ]

    def draw(self, figure, records):
        figure.subplots().plot(records.k, records.square)


def test_checks_and_claims_decide():
    assert Check.near("x", predicted=1.0, measured=1.1, tolerance=0.2).verdict is Verdict.HOLDS
    assert Check.near("x", predicted=1.0, measured=1.3, tolerance=0.2).verdict is Verdict.FAILS
    assert Check.at_most("x", measured=2.0, bound=1.0).verdict is Verdict.FAILS
    assert Check.at_least("x", measured=2.0, bound=1.0).verdict is Verdict.HOLDS
    assert Check.equal("x", predicted="a b", measured="a b").verdict is Verdict.HOLDS
    assert Check.at_most("x", measured=np.nan, bound=1.0).verdict is Verdict.OPEN
    assert Check.near("x", predicted=1.0, measured=1.0, tolerance=np.nan).verdict is Verdict.OPEN
    assert Check.at_most("x", measured=0.0, bound=1.0, decided=False).verdict is Verdict.OPEN
    good, bad = Check.at_most("x", measured=0.0, bound=1.0), Check.at_most("x", measured=2.0, bound=1.0)
    undecided = Check.at_most("x", measured=np.nan, bound=1.0)
    for checks, verdict in [
        ([good], Verdict.HOLDS),
        ([good, undecided], Verdict.OPEN),
        ([good, undecided, bad], Verdict.FAILS),
        ([], Verdict.OPEN),
    ]:
        assert Claim("s", "t", checks).verdict is verdict


def test_records_carry_where_they_come_from(tmp_path):
    experiment = Squares()
    assert reproduce([experiment], tmp_path, jobs=1) == {}
    store = Store(tmp_path / "records", experiment)
    records = store.read()
    pd.testing.assert_frame_equal(records, run_inline(experiment))
    assert list(records.columns) == ["k", "part", "square", "noise"]
    about = json.loads(pq.read_schema(store.path).metadata[b"hadaflow"])
    assert about["config"] == {"count": 4, "seed": 3, "broken": -1}
    assert about["config_hash"] == experiment.config_hash
    assert {"hadaflow", "python", "numpy", "scipy"} <= about["versions"].keys()
    assert store.provenance().seconds > 0
    kept = {p.name for p in (tmp_path / "records").glob("[!.]*")}
    assert kept == {f"squares-{experiment.config_hash}.{kind}" for kind in ("jsonl", "parquet")}


def test_processes_change_nothing(tmp_path):
    reproduce([Squares()], tmp_path / "one", jobs=1)
    reproduce([Squares()], tmp_path / "two", jobs=2)
    one, two = (Store(tmp_path / name / "records", Squares()).read() for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


def test_the_hash_follows_the_config():
    assert Squares().config_hash == Squares().config_hash
    assert len({Squares().config_hash, Squares(seed=4).config_hash, Squares.quick().config_hash}) == 3

    class Revised(Squares):
        revision: ClassVar[int] = 2

    assert Revised().config_hash != Squares().config_hash


def test_what_is_done_is_not_done_again(tmp_path):
    # A task that cannot be run leaves the others done.
    broken = Squares(broken=2)
    failed = reproduce([broken], tmp_path, jobs=1)
    assert failed == {"squares": "ArithmeticError in task {'k': 2}: no such square"}
    store = Store(tmp_path / "records", broken)
    assert store.pending() == [2]
    assert not store.finished()
    # The records of another config are no substitute.
    assert Store(tmp_path / "records", Squares()).pending() == [0, 1, 2, 3]
    seen = []
    reproduce([Squares()], tmp_path, jobs=1, progress=seen.append)
    assert [(s.done, s.total, s.finished) for s in seen] == [(1, 4, False), (2, 4, False), (3, 4, False), (4, 4, True)]
    seen.clear()
    reproduce([Squares()], tmp_path, jobs=1, progress=seen.append)
    assert seen == []
    reproduce([Squares(count=5)], tmp_path, jobs=1, progress=seen.append)
    assert len(seen) == 5
    # Records of several configs live side by side.
    assert Store(tmp_path / "records", Squares()).finished()
    store.clear()
    assert list((tmp_path / "records").glob("[!.]*")) == []


def test_a_run_killed_before_its_files_were_joined_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "finish", lambda self, entries: None)
    reproduce([Squares()], tmp_path, jobs=1)
    monkeypatch.undo()
    assert Store(tmp_path / "records", Squares()).pending() == []
    reproduce([Squares()], tmp_path, jobs=1)
    assert len(Store(tmp_path / "records", Squares()).read()) == 8


def test_damaged_lines_are_set_aside_and_their_tasks_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "finish", lambda self, entries: None)
    reproduce([Squares()], tmp_path, jobs=1)
    monkeypatch.undo()
    store = Store(tmp_path / "records", Squares())
    lines = store.journal.read_bytes().splitlines(keepends=True)
    flipped = lines[1].replace(b'"square":1.0', b'"square":2.0')
    store.journal.write_bytes(lines[0] + flipped + lines[2] + b"stray\n" + lines[3][:20])
    assert store.pending() == [1, 3]
    with pytest.warns(RuntimeWarning, match=r"jsonl is damaged in line 2, 4: set aside in squares-.*\.damaged"):
        reproduce([Squares()], tmp_path, jobs=1)
    pd.testing.assert_frame_equal(store.read(), run_inline(Squares()))
    assert store.journal.with_name(f"{store.journal.name}.damaged").read_bytes() == flipped + b"stray\n"
    assert store.journal.read_bytes().splitlines(keepends=True)[:2] == [lines[0], lines[2]]
    store.clear()
    assert list((tmp_path / "records").glob("[!.]*")) == []


def test_a_damaged_file_of_all_records_is_made_again_from_the_journal(tmp_path):
    reproduce([Squares()], tmp_path, jobs=1)
    store = Store(tmp_path / "records", Squares())
    whole = store.path.read_bytes()
    for spoilt in (b"", whole[:200], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]):
        store.path.write_bytes(spoilt)
        assert not store.finished()
        seen = []
        reproduce([Squares()], tmp_path, jobs=1, progress=seen.append)
        assert seen == []
        pd.testing.assert_frame_equal(store.read(), run_inline(Squares()))


@pytest.mark.parametrize("value", [1j, [1, 2], {"a": 1}, np.zeros(2), object(), 2**70], ids=lambda v: type(v).__name__)
def test_what_cannot_be_recorded_is_the_fault_of_its_experiment_alone(tmp_path, value):
    class Odd(Squares):
        name: ClassVar[str] = "odd"

        def run(self, *, k):
            yield {"value": value}

    failed = reproduce([Odd(), Squares()], tmp_path, jobs=1)
    assert set(failed) == {"odd"}
    assert Store(tmp_path / "records", Squares()).finished()


@pytest.mark.parametrize(
    ("method", "result", "words"),
    [
        ("run", [], "recorded nothing"),
        ("run", [{"k": 3}], "repeats 'k', which is a key of the task"),
        ("tasks", [], "at least one dict"),
        ("tasks", [3], "at least one dict"),
        ("tasks", None, "TypeError"),
    ],
)
def test_experiments_that_cannot_work_are_told_apart(tmp_path, monkeypatch, method, result, words):
    class Odd(Squares):
        name: ClassVar[str] = "odd"

    setattr(Odd, method, lambda self, **task: result)
    failed = reproduce([Odd(), Squares()], tmp_path, jobs=1)
    assert set(failed) == {"odd"}
    assert words in failed["odd"]


def test_names_are_those_of_files(tmp_path):
    for name in ["../evil", "a/b", "*", "", "all", "x.py", 5, None]:
        kind = type("Odd", (Squares,), {"name": name})
        with pytest.raises((ValueError, TypeError), match=r"name of experiment Odd|class attribute name"):
            reproduce([kind()], tmp_path, jobs=1)
        with pytest.raises(ValueError, match="two experiments have one name"):
            reproduce([Squares(), Squares(count=5)], tmp_path, jobs=1)
        assert list(tmp_path.iterdir()) == []


def test_fields_have_to_be_plain(tmp_path):
    failed = reproduce([Squares(broken=object())], tmp_path, jobs=1)
    assert "fields of experiment 'squares' must be numbers" in failed["squares"]


def test_a_claim_that_is_none_spoils_its_own_section_only(tmp_path):
    class Odd(Squares):
        name: ClassVar[str] = "odd"

        def claims(self, records):
            return ["it holds"]

    reproduce([Odd(), Squares()], tmp_path, jobs=1)
    odd, good = write_report([Odd(), Squares()], tmp_path)
    assert "claim must be a hadaflow.Claim" in odd.error
    assert good.claims


def test_two_runs_do_not_share_a_folder(tmp_path):
    def second(step):
        if step.done == 1:
            with pytest.raises(OSError, match="another run is at work in"):
                reproduce([Squares(count=3)], tmp_path, jobs=1)

    reproduce([Squares()], tmp_path, jobs=1, progress=second)
    assert len(Store(tmp_path / "records", Squares()).read()) == 8


def test_a_foreign_file_is_not_taken_for_records(tmp_path):
    (tmp_path / "records").mkdir()
    path = Store(tmp_path / "records", Squares()).path
    path.write_bytes(b"nothing")
    assert not Store(tmp_path / "records", Squares()).finished()
    pd.DataFrame({"a": [1]}).to_parquet(path)
    assert not Store(tmp_path / "records", Squares()).finished()
    reproduce([Squares()], tmp_path, jobs=1)
    assert len(Store(tmp_path / "records", Squares()).read()) == 8


class Tags(HTMLParser):
    """Checks that tags close in order, and keeps the text."""

    VOID: ClassVar[set[str]] = {"meta", "img", "br", "link"}

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.sources = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_tells_everything_and_needs_no_other_file(tmp_path):
    experiment = Squares()
    reproduce([experiment], tmp_path, jobs=1)
    (finding,) = write_report([experiment, Squares.quick()], tmp_path)
    assert [claim.verdict for claim in finding.claims] == [Verdict.HOLDS, Verdict.FAILS]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    tags = Tags(page)
    assert tags.open == []
    text = " ".join("".join(tags.text).split())
    for words in (
        "Squares & sums",
        "<b>Nothing</b> of this",
        "1 holds",
        "1 does not hold",
        "0 not decided",
        "at most",
        experiment.config_hash,
    ):
        assert words in text, words
    assert "Squares of <code>numbers</code>." in page
    assert all(source.startswith(("data:", "#")) for source in tags.sources)
    png, svg = (tmp_path / "figures" / f"squares.{kind}" for kind in ("png", "svg"))
    before = png.read_bytes(), svg.read_bytes()
    write_report([experiment], tmp_path)
    assert (png.read_bytes(), svg.read_bytes()) == before
    assert before[0].startswith(b"\x89PNG")


def test_the_page_tells_of_failures(tmp_path):
    class Unreadable(Squares):
        name: ClassVar[str] = "unreadable"

        def claims(self, records):
            return records.no_such_column

    broken = Squares(broken=1)
    failed = reproduce([broken, Unreadable()], tmp_path, jobs=1)
    first, second = write_report([broken, Unreadable()], tmp_path, failed=failed)
    assert "no such square" in first.error
    assert "no_such_column" in second.error
    text = "".join(Tags((tmp_path / "report.html").read_text(encoding="utf-8")).text)
    assert "no such square" in text
    assert "2 could not be run" in " ".join(text.split())


def test_experiments_are_found_by_paper_name_and_file(tmp_path):
    catalogue = known()
    assert {kind.paper for kind in catalogue.values()} == {"A", "B", "C", "groups", "scale"}
    assert find(["all"]) == catalogue
    assert set(find(["b"])) == {name for name, kind in catalogue.items() if kind.paper == "B"}
    name = next(iter(catalogue))
    assert find([name, name, "all"]) == catalogue
    with pytest.raises(ValueError, match="no experiment is called 'Z': choose all, a paper"):
        find(["Z"])
    with pytest.raises(FileNotFoundError):
        find([str(tmp_path / "missing.py")])
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(ValueError, match="holds no experiment"):
        find([str(empty)])
    empty.write_text("from hadaflow.experiments import Experiment\nclass Half(Experiment):\n    name = 'half'\n")
    with pytest.raises(ValueError, match="class Half lacks claims, draw, quick, run, tasks"):
        find([str(empty)])
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    for text, words in [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' (line 1)"),
        ("\nraise SystemExit(3)", "SystemExit: 3 (line 2)"),
    ]:
        empty.write_text(text)
        with pytest.raises(ValueError, match=rf"empty\.py cannot be loaded: {re.escape(words)}"):
            find([str(empty)])
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(code)
    with pytest.raises(ValueError, match="two experiments are called 'regimes'"):
        find([str(tmp_path / folder / "same.py") for folder in ("one", "two")])
    (tmp_path / "two" / "same.py").write_text(code.replace('"regimes"', '"others"').replace("Regimes", "Others"))
    kinds = find([str(tmp_path / folder / "same.py") for folder in ("one", "two")])
    assert reproduce([kind.quick() for kind in kinds.values()], tmp_path / "both", jobs=2) == {}
    taken = tmp_path / "taken.py"
    taken.write_text(code.replace('name = "regimes"', f'name = "{name}"'))
    with pytest.raises(ValueError, match="taken"):
        find([str(taken)])


def test_every_experiment_is_described():
    for name in sorted(known()):
        kind = known()[name]
        assert kind.__doc__
        assert kind.title
        for experiment in (kind(), kind.quick()):
            tasks = experiment.tasks()
            assert tasks
            assert tasks == experiment.tasks()
            assert json.loads(json.dumps(experiment.config))  # plain
            assert len({json.dumps(task, sort_keys=True) for task in tasks}) == len(tasks)
        assert kind.quick().config_hash != kind().config_hash


@pytest.fixture
def page_file(tmp_path):
    """The file that the page on adding an experiment tells to write."""
    file = tmp_path / "regimes.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[1])
    return file


def lines_in(folder):
    """What is done so far."""
    return [line for path in folder.glob("records/*.jsonl") for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_page_on_adding_an_experiment_works(page_file, tmp_path, monkeypatch, capsys, jobs):
    monkeypatch.chdir(tmp_path)
    assert "hadaflow reproduce regimes.py --quick" in PAGE.read_text(encoding="utf-8")
    assert main(["reproduce", "regimes.py", "--quick", "--jobs", jobs]) == 0
    folder = tmp_path / "reproduction-quick"
    made = {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}
    (records,) = folder.glob("records/*.parquet")
    assert re.fullmatch(r"regimes-[0-9a-f]{12}\.parquet", records.name)
    kept = {f"records/{records.stem}.{kind}" for kind in ("jsonl", "parquet")}
    assert made == kept | {"figures/regimes.png", "figures/regimes.svg", "report.html"}
    assert len(pd.read_parquet(records)) == 5 * 2 * 7
    shown = capsys.readouterr()
    assert "[5/5] regimes: done" in shown.err
    assert "report.html" in shown.out
    # Nothing is left to do the second time; --fresh does it all again.
    assert main(["reproduce", "regimes.py", "--jobs", "1"]) == 0
    assert "done" not in capsys.readouterr().err
    assert main(["reproduce", "regimes.py", "--fresh", "--jobs", "1"]) == 0
    assert "[5/5]" in capsys.readouterr().err


def test_a_killed_run_goes_on_where_it_was(page_file, tmp_path):
    """SIGKILL gives no chance to clean up; the lines of finished tasks stay, and are not made again."""
    folder = tmp_path / "out"
    slow = page_file.read_text().replace(
        "        rng = ", "        import time; time.sleep(0.2 if trial < 2 else 60)\n        rng = "
    )
    page_file.write_text(slow)
    call = [sys.executable, "-m", "hadaflow", "reproduce", str(page_file), "-o", str(folder), "-j", "1"]
    running = subprocess.Popen(call, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + 60
    while len(lines_in(folder)) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = lines_in(folder)
    assert len(kept) == 2
    assert not (folder / "report.html").exists()
    page_file.write_text(slow.replace("else 60", "else 0"))
    seen = []
    experiment = find([str(page_file)])["regimes"].quick()
    reproduce([experiment], folder, jobs=1, progress=seen.append)
    assert [(s.done, s.total) for s in seen] == [(3, 5), (4, 5), (5, 5)]
    assert lines_in(folder)[:2] == kept
    assert len(Store(folder / "records", experiment).read()) == 70


def test_a_worker_that_dies_is_told(page_file, tmp_path, capsys):
    page_file.write_text(
        page_file.read_text().replace("        rng = ", "        import os; os._exit(1)\n        rng = ")
    )
    assert main(["reproduce", str(page_file), "-j", "2", "-q", "-o", str(tmp_path / "out")]) == 1
    assert "a worker process died" in capsys.readouterr().err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_and_its_workers(page_file, tmp_path, sent):
    folder = tmp_path / "out"
    page_file.write_text(
        page_file.read_text().replace("        rng = ", "        import time; time.sleep(trial)\n        rng = ")
    )
    call = [sys.executable, "-m", "hadaflow", "reproduce", str(page_file), "-o", str(folder), "-j", "2"]
    # What a shell runs in the background ignores SIGINT, and its children with it.
    running = subprocess.Popen(
        call,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    give_up = time.monotonic() + 60
    while not lines_in(folder) and time.monotonic() < give_up:
        time.sleep(0.02)
    running.send_signal(sent)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command goes on" in told
    assert told.rstrip().endswith("hadaflow: interrupted")


def test_command_line_tells_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, words in [
        (["nonsense"], "no experiment is called 'nonsense'"),
        (["A", "--quick", "--full"], "exclude each other"),
        (["missing.py"], "missing.py"),
        (["A", "--jobs", "0"], "jobs must be"),
    ]:
        assert main(["reproduce", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["reproduce", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in known())


def test_command_line_tells_failures_and_claims_that_fail(page_file, tmp_path, capsys):
    code = page_file.read_text()
    page_file.write_text(code.replace("bound=0.05", "bound=-1"))
    call = ["reproduce", str(page_file), "-j", "1", "-q", "-o"]
    assert main([*call, str(tmp_path / "fails")]) == 1
    assert capsys.readouterr() == ("", "")
    page_file.write_text(code.replace("        rng = ", "        assert trial != 3, 'three'\n        rng = "))
    assert main([*call, str(tmp_path / "raises")]) == 1
    assert "AssertionError in task {'trial': 3}: three" in capsys.readouterr().err


def test_command_line_names_the_extra_that_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("hadaflow._extras.find_spec", lambda name: None if name == "joblib" else name)
    assert main(["reproduce", "--list"]) == 2
    assert "experiments need joblib: pip install 'hadaflow[experiments]'" in capsys.readouterr().err
