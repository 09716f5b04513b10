"""Formulas as MathML, which browsers draw themselves: no script, no font and no network is needed to read them."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

from docutils import nodes
from latex2mathml.converter import convert_to_element
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

_LOG = logging.getLogger(__name__)

#: What the converter does not know, in terms of what it knows.
_SPELLINGS = {
    r"\\lbrace(?![a-zA-Z])": r"\\{",
    r"\\rbrace(?![a-zA-Z])": r"\\}",
    r"(?<=[lr])\\langle(?![a-zA-Z])": "⟨",  # behind \bigl and its kind
    r"(?<=[lr])\\rangle(?![a-zA-Z])": "⟩",
    r"\\arg(?![a-zA-Z])": r"\\operatorname{arg}",
}
_BARS = {"‖", "|"}
_LIMITS = {"min", "max", "sup", "inf"}
_ALPHABETS = {
    "sans-serif": ("𝖠", "𝖺"),
    "double-struck": ("𝔸", "𝕒"),
    "script": ("𝒜", "𝒶"),
    "bold": ("𝐀", "𝐚"),
}
#: Letters that Unicode had before it had these alphabets.
_OLDER = {
    "double-struck": dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)),
    "script": dict(zip("BEFHILMR", "ℬℰℱℋℐℒℳℛ", strict=True)),
}


def to_mathml(tex: str, display: str = "inline") -> str:
    """The formula as a MathML element; raises ValueError where a command is not understood."""
    for pattern, spelling in _SPELLINGS.items():
        tex = re.sub(pattern, spelling, tex)
    math = convert_to_element(tex, display=display)
    for element in math.iter():
        _mend(element, display)
    out = tostring(math, encoding="unicode")
    unknown = re.findall(r"\\[a-zA-Z]+", out)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} cannot be converted to MathML: spell it otherwise")
    return out


def _mend(element: Element, display: str) -> None:
    """Say in MathML Core, which is all that browsers draw, what the converter says in full MathML."""
    element.text = (
        unescape(element.text or "").replace(r"\{", "{").replace(r"\}", "}") or None
    )  # it comes as &#x2016; or, made large, as \\{
    variant = element.attrib.get("mathvariant", "normal")
    if variant != "normal":
        del element.attrib["mathvariant"]
        element.text = _lettered(element.text or "", variant)
    if element.tag == "mo" and element.text in _BARS and "minsize" not in element.attrib:
        element.attrib |= {"stretchy": "false", "lspace": "0", "rspace": "0"}  # else an infix sign, with wide spaces
    if element.tag == "menclose":
        element.tag = "mrow"
        element.attrib = {"class": "boxed"}
    if display == "block" and element.tag == "msub" and element[0].text in _LIMITS:
        element.tag = "munder"


def _lettered(text: str, variant: str) -> str:
    """The letters of another alphabet, as characters of their own."""
    capital, small = (ord(first) for first in _ALPHABETS[variant])
    letters = {ord("A") + k: capital + k for k in range(26)} | {ord("a") + k: small + k for k in range(26)}
    if variant == "bold":
        letters |= {ord("0") + k: ord("𝟎") + k for k in range(10)}
    letters |= {ord(letter): ord(older) for letter, older in _OLDER.get(variant, {}).items()}
    return text.translate(letters)


def _render(self: HTML5Translator, node: nodes.Element, display: str) -> None:
    try:
        math = to_mathml(node.astext(), display)
    except Exception as error:  # noqa: BLE001 - the converter raises many kinds
        _LOG.warning("formula %r: %s", node.astext(), error, location=node)
        math = self.encode(node.astext())
    if display == "block":
        self.body.append(f'<div class="math">{math}</div>\n')
    else:
        self.body.append(math)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the way formulas are written."""
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda self, node: _render(self, node, "inline"), None),
        block_renderers=(lambda self, node: _render(self, node, "block"), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
