"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes

import hadaflow

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "hadaflow"
author = copyright = "The hadaflow developers"
version = release = hadaflow.__version__
language = "en"

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery"]  # the gallery's pages are written, with their pictures, into auto_gallery
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|dask|distributed|numpy|pathlib|scipy|sklearn)\..*"),  # their pages are not here
    (r"py:(func|meth)", r"execute|Panel\..*|hadaflow\.experiments\.(execution|identity|trials)\..*"),  # not public
]

# Pages: the Markdown that forges show, formulas and links included.
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # docs/decisions/0013-formulas-as-mathml.md

# Reference: the docstrings as they are.
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
autosummary_generate = False  # one page a group, not one a name
numpydoc_show_class_members = False
numpydoc_use_plots = False

# Gallery: scripts that are run; one that fails fails the build.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "abort_on_example_error": True,
    "within_subsection_order": "gallery_order.sort_key",
    "reference_url": {"hadaflow": None},
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
}

# Looks: nothing is fetched from anywhere.
html_theme = "pydata_sphinx_theme"
html_title = f"hadaflow {version}"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": f"hadaflow {version}"},
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "show_prev_next": False,
    "header_links_before_dropdown": 5,
    "footer_start": ["copyright"],
    "footer_center": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "github-dark",
}
#: Where the site has what lies outside this folder.
_ELSEWHERE = {
    r"benchmarks/results/(\w+\.md)": r"measured/\1",  # records without a page are offered for download
    r"src/hadaflow/experiments/catalogue\)": "reference/experiments.rst)",
}

html_sidebars = {"index": [], "install": [], "which_call": [], "faq": [], "glossary": [], "about": []}


def _within_the_site(_: Sphinx, docname: str, source: list[str]) -> None:
    """Links out of this folder, which forges follow, lead to where the site has the same."""
    up = "../" * docname.count("/")
    for beyond, within in _ELSEWHERE.items():
        source[0] = re.sub(re.escape(f"]({up}../") + beyond, f"]({up}{within}", source[0])


def _link_modules(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """Links to modules lead to their source within the site, rather than offer it for download."""
    for link in list(tree.findall(addnodes.download_reference)):
        file = (Path(app.srcdir) / docname).parent / link["reftarget"]
        module = file.resolve().relative_to(HERE.parent).with_suffix("")
        if module.parts[:2] == ("src", "hadaflow"):
            page = f"/_modules/{'/'.join(module.parts[1:])}.html"
            uri = posixpath.relpath(page, posixpath.dirname(f"/{docname}"))
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri, internal=True))


def _mend_docs_links(app: Sphinx, page: str, _: str, context: dict[str, Any], __: object) -> None:
    """Source pages lead back to names of one and the same module, though some are documented under another."""
    if page.startswith("_modules/") and "body" in context:
        known = {name for name, entry in app.env.domaindata["py"]["objects"].items() if not entry.aliased}
        module = page.removeprefix("_modules/").replace("/", ".")

        def anchor(link: re.Match[str]) -> str:
            name = link[1].removeprefix("hadaflow.")
            spellings = (link[1], f"{module}.{name}", f"{module.rpartition('.')[0]}.{name}")
            return f'#{next((full for full in spellings if full in known), link[1])}"'

        context["body"] = re.sub(r'#(hadaflow\.[\w.]+)"', anchor, context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", _within_the_site)
    app.connect("doctree-resolved", _link_modules)
    app.connect("html-page-context", _mend_docs_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
