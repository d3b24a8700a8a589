"""What a student wrote is shown on a page and never acts: Markdown, HTML, outputs, pictures and files."""

from __future__ import annotations

import base64
import html
import io
import random
import re
import struct
import time
import zlib
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert.exporters import HTMLExporter
from nbgrader.converters import GenerateFeedback
from PIL import Image, PngImagePlugin

from autograder import formulas, markup
from autograder.markup import MAX_DEPTH, TAGS, clean_html, clean_markdown, picture
from autograder.names import kept_names
from autograder.outputs import as_output
from autograder.run import Course
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


class _Elements(HTMLParser):
    """The elements of a text: their attributes, and how deep they lie."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.depth = self.deepest = 0
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("br", "hr", "img"):
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1


def _assert_harmless(source: str) -> None:
    elements = _Elements(source)
    for tag, attributes in elements.found:
        if tag in formulas._TAGS:
            assert attributes.keys() <= {*formulas._ATTRIBUTES, "mathvariant", "style"}
            assert re.fullmatch(r"text-align: (left|right|center)|", attributes.get("style", ""))
            continue
        assert tag in TAGS or tag == "img"
        for name, value in attributes.items():
            if name == "src":
                assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", value)
            elif name == "style":
                assert re.fullmatch(r"text-align: ?[a-z]+;?", value)
            else:
                assert name in ("alt", "colspan", "rowspan")
    # A browser adds a body to a table.
    assert elements.deepest <= 2 * MAX_DEPTH


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return base64.b64encode(made.getvalue()).decode()


SMALL = _encoded(Image.new("RGB", (3, 2), "red"), "PNG")
_PIECES = st.sampled_from([
    "<", ">", "</", "'", '"', "=", "a", " ", "\n", "<b>", "</b>", "<table>", "<td>", "<svg>", "<math>", "<style>",
    "<script>", "</script>", "<!--", "-->", "<![CDATA[", "]]>", "<p id=x", "<a href=javascript:x>", "onclick=x", "&lt;",
    "&#60;", "&", "<img src=x onerror=x>", "<noscript>", "<textarea>", "<template>", "<select>", "<plaintext>", "<xmp>",
    "<title>", "$", "$$", r"\begin{align}", r"\end{align}", r"\class{x}{y}", r"\text{", "}", "<img alt=\"$x",
    "<td style='$x$", r"\href{x}", "`", "[a](", ")", "![", "| a ", "|-", "#", "> ", "\x00", "é", "<iframe src=x>",
])  # fmt: skip


class TestMarkup:
    @pytest.mark.parametrize("source", [
        '<p id="x" class="navbar-fixed-top" name="x" title="x" data-x="1" onclick="run()" style="position:fixed">x</p>',
        "<script>run()</script>", "<img src=x onerror=run()>", "<td onclick='run()'>x", "<iframe src='x'></iframe>",
        "<a href='appendix.html'>x</a>", "<a name=x id=x>x</a>", "<svg onload=run()><a href=x>x</a></svg>",
        "<math><mi href=x>x</mi></math>", "<style>@import 'x'</style>", "<form action='x'><input></form>",
        "<p style='background-image:url(x)'>x</p>", "<table background=x><tr><td colspan=999999 rowspan=0>x</table>",
        "<details open ontoggle=run()><summary>x</summary></details>", "<base href=x>", "<meta http-equiv=refresh>",
        "<video src=x></video><audio src=x></audio><object data=x></object><embed src=x>", "<b title='</b><script>'>x",
        '<img src="data:image/svg+xml;base64,PHN2Zy8+">', f'<img src="data:image/png;base64,{SMALL}" onload=x class=x>',
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=run()&gt;'>",
    ])  # fmt: skip
    def test_html_is_harmless(self, source):
        _assert_harmless(clean_html(source))
        _assert_harmless(clean_markdown(source))
        _assert_harmless(clean_markdown(f"text {source}"))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(_PIECES, max_size=40).map("".join))
    def test_whatever_is_put_together_is_harmless(self, source):
        for clean in (clean_html(source), clean_markdown(source)):
            _assert_harmless(clean)
            assert not re.search(r"\\href(?![a-zA-Z])", clean)
            _assert_harmless(formulas.typeset(clean, 1000)[0])

    @pytest.mark.parametrize("markdown", [
        "[x](appendix.html)", "<https://example.org>", "[x][1]\n\n[1]: appendix.html", "[x](javascript:run())",
        "![x](appendix.svg)", "# x {#id}", "# heading", "- [ ] task", "x[^1]\n\n[^1]: foot",
    ])  # fmt: skip
    def test_markdown_is_harmless(self, markdown):
        _assert_harmless(clean_markdown(markdown))

    def test_a_link_is_shown_as_its_text_and_its_address(self):
        assert clean_markdown("A [source](https://example.org).") == "<p>A source (https://example.org).</p>\n"

    def test_a_table_of_pandas_is_kept(self):
        table = (
            "<div>\n<style scoped>\n  .dataframe th { top: 0 }\n</style>\n"
            '<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>a</th></tr></thead>'
            '<tbody><tr><th rowspan="2">0</th><td>1 &lt; 2</td></tr></tbody></table></div>'
        )
        assert clean_html(table) == (
            '<div>\n\n<table><thead><tr style="text-align:right"><th></th><th>a</th></tr></thead>'
            '<tbody><tr><th rowspan="2">0</th><td>1 &lt; 2</td></tr></tbody></table></div>'
        )

    def test_an_answer_that_is_folded_away_stays_so(self):
        folded = clean_markdown("<details open><summary>Answer</summary>\n\nIt is *zero*.\n\n</details>")
        assert "<details><summary>Answer</summary>" in folded and "<em>zero</em>" in folded

    def test_text_that_is_no_markup_is_kept(self):
        assert clean_html("1 < 2, a<b and <x y") == "1 &lt; 2, a&lt;b and &lt;x y"
        assert clean_html("<unknown>shown</unknown> <b>and <i>this") == "shown <b>and <i>this</i></b>"

    def test_formulas_are_kept(self):
        source = "$a_1 < b_2$ and $x_*y_*$\n\n$$\nc \\tag{1}\n$$\n\n\\begin{align}d&=e\\\\f&=g\\end{align}"
        shown = clean_markdown(source)
        for formula in ("$a_1 &lt; b_2$", "$x_*y_*$", "c \\tag{1}", "\\begin{align}d&amp;=e\\\\f&amp;=g\\end{align}"):
            assert formula in shown

    @pytest.mark.parametrize("formula", [
        r"$\href{javascript:run()}{x}$", r"$\class{navbar-fixed-top}{x}$", r"$\cssId{x}{x}$", r"$\style{x}{x}$",
        r"$\mmlToken{mi}[id=x]{x}$", r"$\require{html}$", r"$\let\x=\href\x{x}{x}$", r"$\bbox[x]{x}$",
        r"$\hr&#101;f{x}{x}$", r"<b>$\hr&#101;f{x}{x}$</b>", r"$\hr<u></u>ef{x}$", r"$\hr<x>ef{x}$",
    ])  # fmt: skip
    def test_formulas_make_nothing_but_formulas(self, formula):
        for clean in (clean_markdown(formula), clean_html(formula)):
            assert not re.search(r"\\(href|class|cssId|style|mmlToken|require|bbox)(?![a-zA-Z])", clean)

    @pytest.mark.parametrize("piece", [
        "<div>", "<b title=1><p>", "<table><tr><td>", "<a ", "<!--", '<i title="', "<svg", "<style>", "</p>", "<p><b>",
        '<img src="data:image/png;base64,AAAA">', "[", "![", "[a](b", "*a ", "**a*b_", "> ", "- ", "|a", "|-\n", "# ",
        "$ ", "$$a", "\\begin{a}", "\\\\(", "`", "<?", "<![CDATA[", "&a", "[a]: b\n", "1. ",
    ])  # fmt: skip
    def test_a_flood_is_small_and_soon_ready(self, piece):
        start = time.process_time()
        html = clean_html(piece * (150_000 // len(piece)))
        markdown = clean_markdown(piece * (markup.MAX_MARKDOWN // len(piece)))
        assert time.process_time() - start < 4
        assert len(html) + len(markdown) < 3_000_000
        for clean in (html, markdown):
            assert _Elements(clean).deepest <= 2 * MAX_DEPTH

    def test_a_long_text_is_as_it_was_typed(self):
        source = "**a** <b>\n" * 4000
        assert clean_markdown(source) == f"<pre>{'**a** &lt;b&gt;' + chr(10)}" + "**a** &lt;b&gt;\n" * 3999 + "</pre>"


class TestPictures:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
    def test_a_picture_is_encoded_again(self, kind):
        given = _encoded(Image.new("RGB", (40, 30), (200, 10, 10)), kind)
        made = picture(given)
        with Image.open(io.BytesIO(base64.b64decode(made.data))) as image:
            assert (image.size, image.format) == ((40, 30), "JPEG" if kind == "JPEG" else "PNG")
            assert (
                max(abs(a - b) for a, b in zip(image.convert("RGB").getpixel((5, 5)), (200, 10, 10), strict=True)) < 9
            )

    def test_only_its_pixels_are_kept(self):
        about = PngImagePlugin.PngInfo()
        about.add_text("comment", "<script>run()</script>")
        given = _encoded(Image.new("RGBA", (3, 3), (0, 0, 0, 0)), "PNG", pnginfo=about)
        given = base64.b64encode(base64.b64decode(given) + b"<script>run()</script>").decode()
        made = base64.b64decode(picture(given).data)
        assert b"script" not in made
        with Image.open(io.BytesIO(made)) as image:
            assert image.convert("RGBA").getpixel((0, 0)) == (0, 0, 0, 0)

    @pytest.mark.parametrize("data", ["", "AAAA", "x' onload='run()", "\ud800", base64.b64encode(b"<svg/>").decode(),
                                      base64.b64encode(b"BM" + bytes(60)).decode()])  # fmt: skip
    def test_what_is_no_picture_is_refused(self, data):
        assert picture(data) is None

    def test_a_bomb_is_refused(self):
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        assert picture(base64.b64encode(bomb + chunk(b"IEND", b"")).decode()) is None

    def test_damaged_pictures_raise_nothing(self):
        chance = random.Random(0)
        for kind in ("PNG", "JPEG", "GIF"):
            given = base64.b64decode(_encoded(Image.effect_noise((30, 30), 50), kind))
            for _ in range(100):
                damaged = bytearray(given)
                for _ in range(3):
                    damaged[chance.randrange(len(damaged))] = chance.randrange(256)
                picture(base64.b64encode(damaged).decode())


class TestOutputs:
    def test_a_picture_keeps_what_it_shows_in_words(self):
        shown = {"output_type": "display_data", "data": {"image/png": SMALL},
                 "metadata": {"image/png": {"alt": "a curve", "width": "x"}, "isolated": True}}  # fmt: skip
        got = as_output(shown)
        assert set(got["data"]) == {"image/png"}
        assert got["metadata"] == {"image/png": {"alt": "a curve"}}

    def test_html_and_text_are_kept(self):
        got = as_output({"output_type": "execute_result", "data": {"text/html": "<b id=x>a</b>", "text/plain": "a"}})
        assert got["data"] == {"text/html": "<b>a</b>", "text/plain": "a"}

    def test_markdown_is_kept_as_html(self):
        got = as_output({"output_type": "display_data", "data": {"text/markdown": "*a* <script>run()</script>"}})
        assert got["data"] == {"text/html": "<p><em>a</em> </p>\n"}

    @pytest.mark.parametrize("data", [
        {"application/javascript": "run()"}, {"image/svg+xml": "<svg/>"}, {"image/png": "x' onload='run()"},
        {"application/vnd.jupyter.widget-view+json": {}}, {"text/plain": 3}, {3: "x"}, {}, [], None,
    ], ids=str)  # fmt: skip
    def test_other_displays_are_dropped(self, data):
        assert as_output({"output_type": "display_data", "data": data}) is None

    @pytest.mark.parametrize("raw", [None, 3, "x", [], {}, {"output_type": "update"}, {"output_type": []}], ids=str)
    def test_what_is_no_output_is_dropped(self, raw):
        assert as_output(raw) is None

    def test_text_that_is_no_unicode_is_made_so(self):
        got = as_output({"output_type": "stream", "name": "x", "text": "\ud800"})
        assert got == {"output_type": "stream", "name": "stdout", "text": "?"}


class TestFormulas:
    """Formulas as MathML."""

    @pytest.mark.parametrize("text", [
        "$x$", "$ x $", "$$x$$", r"\[x\]", r"\(x\)", r"\begin{align}x\end{align}", r"\begin{equation*}x\end{equation*}",
        "$x\n<y$", r"$\arg\max_k x_k \notag$", r"$$x \label{a}\tag{1}$$", r"$\newcommand{\R}{\mathbb R} \R$",
    ])  # fmt: skip
    def test_what_jupyter_typesets_is_typeset(self, text):
        made, elements = formulas.typeset(f"<p>a {html.escape(text)} b</p>", 1000)
        assert re.fullmatch(r"<p>a <math .*</math> b</p>", made)
        assert made.count("</m") == elements
        assert "\\" not in made and "$" not in made

    @pytest.mark.parametrize("text", [
        "<p>$5 and $6</p>", r"<p>$\unheard{x}$</p>", "<p>$x", "<p>$$", "<p>$ $</p>",
        "<pre>$x$</pre>", "<code>$x$</code>",
        f"<p>${'x' * 6000}$</p>", f"<p>${'{' * 2000}{'}' * 2000}$</p>", r"<p>\begin{align}x</p>", "<p>$<b>x</b>$</p>",
        '<img alt="a > $x$">', r"<p>$\cancel{x}$</p>",
    ])  # fmt: skip
    def test_other_text_stays_as_it_was_typed(self, text):
        assert formulas.typeset(text, 1000) == (text, 0)

    def test_letters_keep_their_style(self):
        assert "".join(re.findall(r"<m[in][^>]*>([^<])", formulas.mathml(
            r"\mathbb{R}\mathbf{W}\boldsymbol{\theta}\mathcal{L}\mathfrak{C}\mathsf{T}\mathbb{1}", display=True)[0]
        )) == "ℝ𝐖𝜽ℒℭ𝖳𝟙"  # fmt: skip

    def test_a_functions_name_stands_apart(self):
        made, _ = formulas.mathml(r"z\log\exp x + \log_2 y + \log(x)", display=True)
        text = re.sub("<[^>]*>", "", made.replace("<mspace", " <mspace"))
        assert text == "z log exp x+log2 y+log(x)"

    def test_every_formula_of_the_course_is_known(self):
        count = 0
        for path in sorted(REPOSITORY.glob("notebooks/*/*.ipynb")):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    made, _ = formulas.typeset(clean_markdown(cell.source), 100_000)
                    text = re.sub(r"<(pre|code)>.*?</\1>", "", made, flags=re.DOTALL)
                    assert "$" not in text and "\\" not in text
                    count += made.count("<math ")
        assert count > 300

    def test_time_grows_with_the_text(self):
        floods = ["$", "$$", r"\[", r"\begin{a}", "$x$ ", r"$\frac{a}{b}$ ", r"$\text{" * 30, "<b>$", "$" + "{" * 90]
        for flood in floods:
            start = time.process_time()
            formulas.typeset(flood * (200_000 // len(flood)), 50_000)
            assert time.process_time() - start < 10


class TestNames:
    def test_what_isnt_known_to_be_harmless_is_kept_as_text(self):
        names = ["best_net.npz", "best_mlp.pt", "notes.TXT", "a.html", "b.HTM", "c.xhtml", "d.svg", "e.xml", "f",
                 "g.py", "h.txt.html", "sub/i.mhtml", "nbgrader_config.json", "x.png", ".html", "a.html.",
                 "results.json", "a.html.gz", "j.IPYNB", "k.ipynb"]  # fmt: skip
        kept = kept_names(names)
        assert {name for name, new in kept.items() if name == new} == {
            "best_net.npz", "best_mlp.pt", "notes.TXT", "x.png",
            "results.json",
        }  # fmt: skip
        assert all(new == name or new == f"{name}.txt" for name, new in kept.items())
        assert set(names) - set(kept) == {"k.ipynb"}

    def test_no_two_files_get_one_name(self):
        kept = kept_names(["a.html", "a.html.txt", "A.HTML", "a.html.TXT.txt"])
        assert len({new.lower() for new in kept.values()}) == 4


def _page(template: str, *cells: nbformat.NotebookNode, **metadata: object) -> str:
    """The page that nbgrader makes of a notebook with these cells."""
    course = Course.here()
    course.app.config.HTMLExporter.template_name = template
    config = GenerateFeedback(coursedir=course.coursedir, parent=course.app).config
    resources = {"index": 0, "total": 1, "nbgrader": {"score": 0, "max_score": 5, "late_penalty": 0}}
    notebook = nbformat.v4.new_notebook(cells=list(cells), metadata=metadata)
    return HTMLExporter(config=config).from_notebook_node(notebook, resources)[0]


@pytest.mark.parametrize("template", ["formgrade", "feedback"])
class TestPages:
    def test_metadata_and_raw_cells_dont_act(self, template):
        code = nbformat.v4.new_code_cell("1", id="spoofed", metadata={"tags": ["x navbar-fixed-top"]})
        isolated = {"text/html": {"isolated": True}}
        code.outputs = [
            nbformat.v4.new_output("display_data", {"text/html": "<b>bold</b>"}, metadata=isolated),
            nbformat.v4.new_output("display_data", {"text/latex": "<i onclick=run()>$x$</i>"}),
            nbformat.v4.new_output("display_data", {"application/javascript": "run()"}),
            nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg onload=run()></svg>"}),
            nbformat.v4.new_output("stream", text="\x1b[31m<b onclick=run()>"),
            nbformat.v4.new_output("error", ename="<i>", evalue="<i>", traceback=["<b onclick=run()>"]),
        ]  # fmt: skip
        raw = nbformat.v4.new_raw_cell("<b onclick=run()>raw ```</b>", metadata={"raw_mimetype": "text/html"})
        page = _page(template, code, raw, widgets={"application/vnd.jupyter.widget-state+json": {"x": "run()"}})
        shown = page[page.index('id="notebook-container"') :]
        assert not re.search(r"<[^>]*(run\(\)|spoofed|navbar|isolated)", shown)
        assert "<b>bold</b>" in shown
        assert "raw ```" in shown

    def test_a_page_is_bounded(self, template):
        chance = random.Random(0)
        noise = "".join(chance.choices("ab \n", k=25_000))
        cells = [nbformat.v4.new_markdown_cell("$x$ " * 2000 + noise) for _ in range(100)]
        code = nbformat.v4.new_code_cell("x = 1\n" * 50_000)
        code.outputs = [nbformat.v4.new_output("stream", text="\x1b[31mx" * 100_000) for _ in range(20)]
        drawn = _encoded(Image.new("RGB", (2000, 2000)), "PNG")
        pictures = nbformat.v4.new_code_cell("x")
        pictures.outputs = [nbformat.v4.new_output("display_data", {"image/png": drawn}) for _ in range(30)]
        page = _page(template, pictures, *cells, code)
        assert len(page) < 30_000_000
        assert page.count('class="ansi-red-fg"') <= 5000
        assert page.count("<img ") <= 13
        assert page.count("tex2jax_process") <= 1
        assert page.count("<math ") <= 20_000
        assert "The rest isn't shown" in page
