"""Formulas of a page as MathML, which browsers lay out by themselves: the page needs neither a script nor a network."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from autograder.markup import MAX_DEPTH

#: The longest formula that is typeset, in characters.
MAX_CHARACTERS = 5000
# Elements and attributes of MathML Core that place text and nothing else, and that browsers know.
_TAGS = frozenset({
    "math", "mfrac", "mi", "mn", "mo", "mover", "mpadded", "mphantom", "mroot", "mrow", "mspace", "msqrt", "mstyle",
    "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
})  # fmt: skip
_ATTRIBUTES = frozenset({
    "accent", "accentunder", "display", "displaystyle", "fence", "form", "linethickness", "lspace", "mathcolor",
    "maxsize", "minsize", "movablelimits", "rspace", "scriptlevel", "separator", "stretchy", "width",
})  # fmt: skip
_LEFT_ALONE = re.compile(r"<(pre|code)>.*?</\1>|<(?:[^>\"]|\"[^\"]*\")*+>", re.DOTALL)
_OPENING = re.compile(r"\$\$|\$|\\\[|\\\(|\\begin\{([a-zA-Z]+\*?)\}")
_CLOSING = {"$$": "$$", "$": "$", r"\[": r"\]", r"\(": r"\)"}
# What the library doesn't know, and MathJax does: the first prints nothing, the last is a table of MathML 3.
_IN_ITS_PLACE = (
    (re.compile(r"\\label\{[^{}]*\}|\\(?:nolimits|nonumber|notag)(?![a-zA-Z])"), ""),
    (re.compile(r"\\arg(?![a-zA-Z])"), r"\\operatorname{arg}"),
    (re.compile(r"\\tag\{([^{}\\]*)\}"), r"\\qquad\\text{(\1)}"),
)


def typeset(clean: str, most: int) -> tuple[str, int]:
    """Typeset the formulas in HTML.

    Parameters
    ----------
    clean : str
        As from :func:`autograder.markup.clean_html`, with formulas between what MathJax looks for.
    most : int
        How many elements the formulas may have together.

    Returns
    -------
    typeset : str
        A formula that isn't understood, or is too long, stays as it was typed.
    elements : int
        How many the formulas have.
    """
    made, used, place = [], 0, 0
    for start, end, tex, display in _formulas(clean):
        known = mathml(tex, display=display)
        if known is not None and used + known[1] <= most:
            made += [clean[place:start], known[0]]
            used, place = used + known[1], end
    return "".join([*made, clean[place:]]), used


def _formulas(clean: str) -> Iterator[tuple[int, int, str, bool]]:
    """The formulas in the text of HTML: ``(start, end, TeX, whether it stands alone)``."""
    place = 0
    for tag in [*_LEFT_ALONE.finditer(clean), None]:
        text_end = tag.start() if tag else len(clean)
        while opening := _OPENING.search(clean, place, text_end):
            start = place = opening.end()
            closing = _CLOSING.get(opening[0]) or f"\\end{{{opening[1]}}}"
            end = clean.find(closing, start, min(text_end, start + MAX_CHARACTERS))
            if end < 0 or not clean[start:end].strip() or (opening[0] == "$" and _is_price(clean[start:end])):
                continue
            place = end + len(closing)
            whole = opening[1] is not None
            tex = clean[opening.start() : place] if whole else clean[start:end]
            yield opening.start(), place, html.unescape(tex), whole or opening[0] in ("$$", r"\[")
        place = tag.end() if tag else text_end


def _is_price(between: str) -> bool:
    """Whether two dollars stand for themselves, as in "$5 and $6"."""
    return between[0].isspace() != between[-1].isspace()


def mathml(tex: str, *, display: bool) -> tuple[str, int] | None:
    """A formula in TeX as MathML, and of how many elements; None if it isn't understood.

    Parameters
    ----------
    tex : str
    display : bool
        Whether it stands on a line of its own.
    """
    from latex2mathml.converter import convert_to_element  # late: only feedback pages need it

    for pattern, known in _IN_ITS_PLACE:
        tex = pattern.sub(known, tex)
    try:
        made = convert_to_element(tex, display="block" if display else "inline")
    except (Exception, RecursionError):  # whatever a text does to the parser
        return None
    parts: list[str] = []
    elements = _write(made, parts, MAX_DEPTH)
    return ("".join(parts), elements) if elements else None


def _write(element: Element, parts: list[str], depth: int) -> int:
    """Write an element anew, with what is known; returns how many were written, or 0 if it isn't understood."""
    text, style = html.unescape(element.text or ""), element.get("mathvariant")
    if element.tag not in _TAGS or not depth or "\\" in text:  # a command that isn't known is shown as its name
        return 0
    kept = {name: value for name, value in element.items() if name in _ATTRIBUTES}
    if style == "normal":
        kept["mathvariant"] = style
    elif style:
        text = "".join(_letters().get((style, letter), letter) for letter in text)
    if (align := element.get("columnalign")) in ("left", "center", "right"):
        kept["style"] = f"text-align: {align}"
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())
    parts.append(f"<{element.tag}{attributes}>{html.escape(text)}")
    elements, before = 1, None
    for inner in element:
        if element.tag in ("mrow", "mtd") and before is not None and _is_apart(before, inner):
            parts.append('<mspace width="0.17em"></mspace>')
            elements += 1
        below = _write(inner, parts, depth - 1)
        if not below:
            return 0
        elements, before = elements + below, inner
    parts.append(f"</{element.tag}>")
    return elements


def _is_apart(before: Element, after: Element) -> bool:
    """Whether TeX has a thin space between two parts: beside the name of a function, unless an operator is there."""
    return "mo" not in (before.tag, after.tag) and (_is_function(before) or _is_function(after))


def _is_function(element: Element) -> bool:
    if element.tag in ("msub", "msup", "msubsup") and len(element):
        element = element[0]
    return element.tag == "mi" and len(html.unescape(element.text or "")) > 1


@functools.cache
def _letters() -> dict[tuple[str, str], str]:
    """(style, letter) -> the sign that Unicode has for the letter in that style; browsers know no other way."""
    found = {}
    for number in (*range(0x2100, 0x2150), *range(0x1D400, 0x1D800)):
        name = unicodedata.name(chr(number), "")
        if words := re.fullmatch(r"(?:MATHEMATICAL )?([A-Z -]+?) (?:CAPITAL|SMALL|DIGIT)\b.*", name):
            style = words[1].lower().replace("black-letter", "fraktur").replace(" ", "-")
            found[style, unicodedata.normalize("NFKC", chr(number))] = chr(number)
    return found
