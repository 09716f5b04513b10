"""The comments in the code of the pages that say what comes out, written from what does.

    python docs/page_numbers.py

runs the pages and writes those comments again that have changed. A comment is a template: ``_`` is the value of the
line of code that it stands behind, and the names are those that the page has defined by the end of the block.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parent
COMMENTS = {
    "index.md": {
        "recovered = wavelets.T @ r.x": "off by {100 * off(recovered, ecg):.0f} %; the solution of smallest ℓ2 norm by "
        "{100 * off(np.linalg.lstsq(A, A @ ecg)[0], ecg):.0f} %",
    },
    "paper_b.md": {
        "seen = hf.theory.estimate_window_inputs(problem)": "{len(seen.support)} entries, sigma {seen.sigma:.2f}, "
        "signal {seen.signal:.2f}, noise {seen.noise:.2f}",
        ")": "open from {window.start:.3f} to {window.stop:.3f}",
        "np.linalg.norm(path.x - x)": "{_:.3f}; least squares on the true support: "
        "{np.linalg.norm(np.linalg.lstsq(A[:, :5], problem.y)[0] - 1):.3f}",
        'window.in_steps(0.01, loss="mean", rows=100)': "as paper B counts: steps {_.start:.0f} to {_.stop:.0f}",
    },
    "faq.md": {
        "np.count_nonzero(r.x), r.support()": "{_[0]}, {_[1]!r}",
        "hf.theory.measurements_needed(200, 3, probability=0.99).count": "Gaussian rows that suffice for three "
        "non-zeros: {_}",
        "hf.recover(A, y).certificate.proves(gap=1e-8, residual=1e-10)": "{_}",
        "single.certificate.residual, single.certificate.proves(), "
        "single.certificate.proves(gap=1e-6, residual=1e-6)": "{short(_[0])}, {_[1]}, {_[2]}",
        "hf.recover(A, y).hint": "{_}",
        "hf.recover(A, y.round()).hint": "{opening(_)}, ...",
        "chosen.sigma, chosen.support()": "{_[0]:.1f}, {_[1]!r}",
        "chosen.sigma * 50**0.5": "{_:.2f}: an estimate of the norm of the noise",
    },
    "which_call.md": {
        "r.x, r.support()": "exact zeros; {_[1]!r}",
        "chosen.support(), chosen.sigma": "{_[0]!r}, {_[1]:.1f}",
        "chosen.sigma * len(noisy) ** 0.5": "{_:.2f}, an estimate for --noise-level",
        "regressor.intercept_, np.flatnonzero(regressor.support_)": "{_[0]:.2f}, {_[1]!r}",
        "r.support(), r.certificate.unique": "{_[0]!r}, {_[1]}",
        "[np.linalg.norm(answer - compressible) / np.linalg.norm(compressible) for answer in answers]": "{listed(_)}",
        "hf.theory.measurements_needed(200, 3).transition": "Gaussian rows for three non-zeros, half the time: {_:.1f}",
    },
    "estimators.md": {
        "np.flatnonzero(model.support_)": "{_!r}",
        "model.coef_[model.support_]": "{np.round(_, 2)!r}: least squares, no shrinkage",
        "model.sigma_": "{_:.2f}, the noise as it was found",
        "pipe[:-1].get_feature_names_out()[model.support_]": "{_!r}",
    },
    "adding_a_loss.md": {
        "errors = [np.linalg.norm(found - x) for found in (run.x, path.x, squares.x)]": "{errors[0]:.1f}, "
        "{errors[1]:.1f} and {errors[2]:.0f}",
    },
}
HELPERS = {
    "off": lambda found, truth: np.linalg.norm(found - truth) / np.linalg.norm(truth),
    "short": lambda number: f"{number:.0e}".replace("e-0", "e-"),
    "opening": lambda text: text.partition(",")[0],
    "listed": lambda numbers: ", ".join(f"{number:.2f}" for number in numbers),
}


def blocks(text: str) -> list[str]:
    """The Python code of a page."""
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def run(page: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What the code of a page defines, block by block, and each line with a comment as it ought to be."""
    names: dict[str, Any] = {}
    lines: dict[str, str] = {}
    templates = dict(COMMENTS.get(page, {}))
    for block in blocks((DOCS / page).read_text("utf-8")):
        exec(block, names)
        for line in block.splitlines():
            code, space, _ = (part or "" for part in re.fullmatch(r"(.*?)(\s+# )?((?<=# ).*)?", line).groups())
            if space and (template := templates.pop(code, None)):
                value = None if code == ")" or " = " in code else eval(code, names)
                comment = eval(f"f{template!r}", {**names, **HELPERS, "np": np, "_": value})
                lines[line] = code + space + comment
    if templates:
        raise LookupError(f"{page} has no such lines with comments: {', '.join(templates)}")
    return names, lines


def main() -> None:
    for page in COMMENTS:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):  # some pages write files
            _, lines = run(page)
        text = before = (DOCS / page).read_text("utf-8")
        for line, wanted in lines.items():
            text = text.replace(line, wanted)
        if text != before:
            (DOCS / page).write_text(text, encoding="utf-8")
            print(f"{page}: written again")


if __name__ == "__main__":
    main()
