"""What a student wrote, as HTML that is shown and never acts.

Formgrader and feedback mix it with elements of their own, on the origin from which Jupyter serves everything. So it
can't be addressed (no id, name, class), clicked (no link, no form), placed (no style but the alignment of a table's
cells), nor make a browser load or run anything. Pictures are pixels that were decoded and encoded again.
"""

from __future__ import annotations

import base64
import binascii
import functools
import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import nh3
from PIL import Image

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

#: Elements that text needs, as Markdown and pandas write it.
TAGS = frozenset({
    "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr", "i", "kbd", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary",
    "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
})  # fmt: skip
_EMPTY = {"br", "hr"}
#: Elements whose content is no text.
_HIDDEN = {"iframe", "math", "noembed", "noframes", "object", "script", "select", "style", "svg", "template", "title"}
#: Elements that end where the next of their kind begins, even if nobody says so.
_UNENDED = {"dd", "dt", "li", "p", "td", "th", "tr"}
_SPANS = {"colspan", "rowspan"}
_ALIGNED = ("td", "th", "tr")
_WIDEST_SPAN = 50
#: How deep elements may lie in each other; deeper ones are left out, their text stays.
MAX_DEPTH = 30
#: Characters of one text, without its pictures, that are shown as Markdown or as HTML.
MAX_MARKDOWN = 30_000
MAX_HTML = 200_000
#: Bounds on a picture: bytes before and after, and pixels.
MAX_PICTURE_BYTES = 4_000_000
MAX_PIXELS = 8_000_000

# Each part stops at the next "<" at the latest, so a text is read once, whatever it is.
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)((?:[^<>\"']|\"[^\"<]*+\"|'[^'<]*+')*+)>")
_ATTRIBUTE = re.compile(r"([a-zA-Z-]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))")
_PICTURE_DATA = re.compile(r"base64,[A-Za-z0-9+/=]++")
_DATA = re.compile(r"data:image/[a-z+]+;base64,", re.IGNORECASE)
# What MathJax offers for setting ids, classes, links and styles, and for loading more of itself.
_COMMANDS = re.compile(
    r"\\(?=(?:bbox|class|cssId|data|href|includegraphics|mmlToken|require|style|unicode)(?![a-zA-Z]))"
)
_FORMULA = re.compile(r"\$|\\[(\[]|\\begin\b|\\(?:eq)?ref\b")


class Picture(NamedTuple):
    """A picture that may be shown.

    Attributes
    ----------
    kind : str
        ``"image/png"`` or ``"image/jpeg"``.
    data : str
        Base64.
    pixels : int
    """

    kind: str
    data: str
    pixels: int

    @property
    def address(self) -> str:
        """As the ``src`` of an element."""
        return f"data:{self.kind};base64,{self.data}"


def picture(data: str) -> Picture | None:
    """Decode a PNG, JPEG or GIF and encode its first frame anew.

    Parameters
    ----------
    data : str
        Base64.

    Returns
    -------
    Picture or None
        None for what is no such picture, or is too large.
    """
    if len(data) > MAX_PICTURE_BYTES * 4 // 3 + 1000:
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG", "JPEG", "GIF"]) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                return None
            kind = "JPEG" if opened.format == "JPEG" else "PNG"
            pixels = opened.convert("RGB" if kind == "JPEG" or not opened.has_transparency_data else "RGBA")
        encoded = io.BytesIO()
        # Without what else was in the file: comments, profiles, a place where it was taken.
        pixels.info.clear()
        pixels.save(encoded, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 3}))
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError, OverflowError, EOFError):
        return None
    except Exception:  # whatever else a damaged file does to a decoder
        return None
    if encoded.tell() > MAX_PICTURE_BYTES:
        return None
    return Picture(f"image/{kind.lower()}", base64.b64encode(encoded.getvalue()).decode(), pixels.width * pixels.height)


#: Makes a picture of base64, or refuses it, as :func:`picture`.
Draw = Callable[[str], Picture | None]


def as_typed(text: str) -> str:
    """``text`` as HTML that shows it as it is."""
    return f"<pre>{html.escape(text, quote=False)}</pre>"


def too_long(source: str, most: int) -> bool:
    """Whether a text, without its pictures, has more than ``most`` characters."""
    return len(source) > most and len(_PICTURE_DATA.sub("", source)) > most


def clean_html(source: str, draw: Draw = picture, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """HTML of a student's as HTML that is shown and never acts.

    Parameters
    ----------
    source : str
    draw : callable
        Makes a picture of base64, or refuses it.
    attachments : dict, optional
        Pictures that are addressed as ``attachment:NAME``: name -> kind -> base64.

    Returns
    -------
    str
        Elements of :data:`TAGS`, closed in their order and at most :data:`MAX_DEPTH` deep, and pictures. A link is
        its text and, in brackets, its address. Text that is longer than :data:`MAX_HTML` is as it was typed.
    """
    if too_long(source, MAX_HTML):
        return as_typed(source)

    def find(address: str) -> Picture | None:
        match = _DATA.match(address)
        if match:
            return draw(address[match.end() :])
        bundle = (attachments or {}).get(address.removeprefix("attachment:"), {})
        drawn = (draw(data) for kind, data in bundle.items() if kind in ("image/png", "image/jpeg", "image/gif"))
        return next((found for found in drawn if found is not None), None)

    clean = nh3.clean(
        _rebuilt(source, find), tags={*TAGS, "img"}, url_schemes={"data"}, link_rel=None,
        attributes={"img": {"src", "alt"}, "td": {"style", *_SPANS}, "th": {"style", *_SPANS}, "tr": {"style"}},
        filter_style_properties={"text-align"},
    )  # fmt: skip
    return clean_formulas(clean)


def clean_formulas(text: str) -> str:
    """``text`` whose formulas, once MathJax has typeset them, are formulas: no ids, classes, links or styles.

    MathJax doesn't know a command that begins with a space of no width; in text it can't be seen.
    """
    return _COMMANDS.sub("\\\\\N{ZERO WIDTH SPACE}", text)


def count_formulas(text: str) -> int:
    """How many formulas MathJax may find in ``text``, at most."""
    return sum(1 for _ in _FORMULA.finditer(text))


def _rebuilt(source: str, find: Draw) -> str:
    """HTML anew from the tags that are known: balanced, so that a browser's repairs can't multiply elements."""
    made: list[str] = []
    open_tags: list[str] = []
    addresses: list[str] = []

    def close(tag: str) -> None:
        while open_tags:
            last = open_tags.pop()
            made.append(f"</{last}>")
            if last == tag:
                break

    place = 0
    for start, end, match in _tokens(source):
        made.append(_as_text(source[place:start]))
        place = end
        if match is None:
            continue
        ending, tag, rest = bool(match[1]), match[2].lower(), match[3]
        if tag == "a":
            if ending and addresses:
                address = addresses.pop()
                made.append(f" ({html.escape(address)})" if address else "")
            elif not ending:
                addresses.append(_attributes(rest).get("href", "")[:300])
        elif tag == "img" and not ending:
            made.append(_image(_attributes(rest), find))
        elif tag not in TAGS:
            continue
        elif tag in _EMPTY:
            made.append(f"<{tag}>")
        elif ending:
            if tag in open_tags:
                close(tag)
        else:
            if tag in _UNENDED and open_tags and open_tags[-1] == tag:
                close(tag)
            if len(open_tags) < MAX_DEPTH:
                open_tags.append(tag)
                made.append(f"<{tag}{_kept_attributes(tag, rest)}>")
    made.append(_as_text(source[place:]))
    close("")
    return "".join(made)


def _tokens(source: str) -> Iterator[tuple[int, int, re.Match[str] | None]]:
    """The tags of ``source``, and, without a match, what is to be left out: ``(start, end, match)``."""
    place, no_end = 0, set[str]()
    while (start := source.find("<", place)) >= 0:
        place = start + 1
        match = _TAG.match(source, start)
        tag = match[2].lower() if match else ""
        if match and tag in _HIDDEN and not match[1]:
            opener, closer = match.end(), f"</{tag}"
        elif source.startswith("<!--", start):
            opener, closer = start + 4, "-->"
        else:
            opener, closer = 0, ""
        if closer and closer not in no_end:
            found = source.lower().find(closer, opener) if closer != "-->" else source.find(closer, opener)
            end = source.find(">", found) if found >= 0 else -1
            if end >= 0:
                yield start, end + 1, None
                place = end + 1
                continue
            no_end.add(closer)
        if match:
            yield start, match.end(), match
            place = match.end()


def _as_text(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(text):
        found.setdefault(match[1].lower(), html.unescape(match[2] or match[3] or match[4] or ""))
    return found


def _kept_attributes(tag: str, rest: str) -> str:
    if tag not in _ALIGNED or "=" not in rest:
        return ""
    kept = {}
    for name, value in _attributes(rest).items():
        if name == "style":
            kept[name] = value
        elif name in _SPANS and value.isdecimal() and value.isascii():
            kept[name] = str(max(1, min(int(value[:4]), _WIDEST_SPAN)))
    return "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())


def _image(attributes: dict[str, str], find: Draw) -> str:
    """A picture, or, where it can't be shown, what its author says about it."""
    alternative = html.escape(attributes.get("alt", "")[:1000])
    found = find(attributes.get("src", ""))
    if found is None:
        return f"[picture: {alternative}]" if alternative else "[picture]"
    return f'<img src="{found.address}" alt="{alternative}">'


def clean_markdown(source: str, draw: Draw = picture, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """Markdown of a student's as HTML that is shown and never acts; formulas are left to MathJax.

    Parameters and result are those of :func:`clean_html`; text that is longer than :data:`MAX_MARKDOWN` is as it
    was typed.
    """
    if too_long(source, MAX_MARKDOWN):
        return as_typed(source)
    return clean_html(_markdown().render(source), draw, attachments)


@functools.cache
def _markdown() -> MarkdownIt:
    """A parser whose time grows with the text, whatever it holds; it builds nothing deeper than twenty."""
    from markdown_it import MarkdownIt  # late: only pages need these
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    class Parser(MarkdownIt):
        """Leaves all addresses as they are: clean_html, which is asked for every one, shows or decodes them."""

        def validateLink(self, url: str) -> bool:
            return True

        def normalizeLink(self, url: str) -> str:
            return url

    parser = Parser("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, double_inline=True).use(amsmath_plugin)
    for name, around in {
        "math_inline": ("$", "$"), "math_inline_double": ("$$", "$$"), "math_block": ("<p>$$", "$$</p>\n"),
        "math_block_label": ("<p>$$", "$$</p>\n"), "amsmath": ("<p>", "</p>\n"),
    }.items():  # fmt: skip
        parser.add_render_rule(name, _formula(*around))
    return parser


def _formula(before: str, after: str) -> Callable[..., str]:
    """A rule of a renderer: a formula's text between what MathJax looks for."""

    def rule(renderer: object, tokens: Sequence[Token], index: int, options: object, env: object) -> str:
        return before + html.escape(tokens[index].content, quote=False) + after

    return rule
