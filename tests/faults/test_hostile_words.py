"""Names and texts that mean harm, through a whole run: nothing is executed, and people see them as text.

Class names, a branch, commit subjects and authors, test names, exception texts. `clean` and `one_line`, which every
word passes, are tried with any text.
"""

from __future__ import annotations

import html.parser
import io
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from digits_model import CLASSES, MODEL, TESTS, digits
from faults_parts import SMALL, change_settings
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from team import Team, clean_environment

from pipelines.text.clean import clean
from pipelines.text.markup import Box, Bullets, Code, Paragraph, Section, Table, to_html, to_text
from training.junit import write_junit
from training.worker.protocol import one_line

HTML = "<img src=x onerror=alert(1)>"
BRANCH = "refs/heads/--upload-pack=touch$IFS$9canary;<b>x</b>$(touch${IFS}canary)"
CLASS_NAMES = (f"<script>alert('{1}')", "two\nlines\x1b[2J\u202e", "$\\frac{1}$`touch canary`")
SUBJECT = f"{HTML} $(touch canary) `touch canary` ; touch canary\x1b]0;owned\x07\u202e\u2066"
AUTHOR = "Mallory\x1b[31m \u202e{HTML}"
FAILING = (
    TESTS
    + """
import pytest

@pytest.mark.parametrize("x", [1], ids=["<b>id</b>\\x1b[2J"])
def test_with_a_name(x):
    raise ValueError("<script>alert(2)</script>\\r\\nBcc: all@example.org\\x1b[2J\\u202e $(touch canary) %s {0}")
"""
)


class Tags(html.parser.HTMLParser):
    """The tags and the text of a page, as a mail program sees them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


OURS = {"html", "head", "meta", "title", "body", "div", "h1", "h2", "p", "ul", "li", "table", "tr", "th", "td", "pre", "img", "strong", "code"}  # fmt: skip


def harmless(page):
    """Only our tags, only images from the mail itself, nothing that runs."""
    for tag, attributes in Tags(page).tags:
        assert tag in OURS, tag
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "cid:").startswith("cid:")
        assert "href" not in attributes


def bare(text):
    """Without blanks, and without the back-ticks that become code."""
    return re.sub(r"[\s`]", "", text)


def shown(text):
    """Lines without a character that moves the cursor or turns the text."""
    for line in text.replace("\r\n", "\n").split("\n"):
        bad = [
            each for each in line if unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} or each in "\u202e\u2066"
        ]
        assert not bad, f"{bad!r} in {line!r}"


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """A team whose every word means harm, after a run that its tests reject; with what was shown."""
    team = Team(tmp_path_factory.mktemp("team"))
    names = dict(zip(CLASSES, CLASS_NAMES, strict=True))
    images = {f"{names[name[0]]}{name[1:]}": data for name, data in digits(0, 300).items()}
    team.write("dataset", {"dataset.toml": 'format = "images"\n', **images})
    team.write("code", {"model.py": MODEL})
    team.write("tests", {"test_model.py": FAILING})
    for repository in ("dataset", "code", "tests"):
        work = team.folder / "work" / repository
        team.git("add", "--all", cwd=work)
        author = {"GIT_AUTHOR_NAME": AUTHOR, "GIT_AUTHOR_EMAIL": "m@example.org", "GIT_COMMITTER_NAME": AUTHOR}
        subprocess.run(
            ["git", "commit", "--quiet", "-m", SUBJECT], cwd=work, check=True,
            env=clean_environment() | author | {"GIT_COMMITTER_EMAIL": "m@example.org"},
        )  # fmt: skip
        team.git("push", "--quiet", "origin", f"HEAD:{BRANCH}", cwd=work)
    change_settings(team, SMALL)
    branch = json.dumps(BRANCH.removeprefix("refs/heads/"))
    change_settings(team, {"[repositories]": f"[repositories]\nbranch = {branch}"})
    team.said = team.trainyard("run", "code", code=3)
    return team


@pytest.mark.tensorflow
@pytest.mark.slow
class TestARun:
    def test_nothing_was_executed(self, team):
        assert not list(team.folder.rglob("canary"))
        assert not Path("canary").exists()

    def test_the_terminal_shows_text(self, team):
        shown(team.said.stdout)
        shown(team.said.stderr)
        assert "<script>" in team.said.stderr

    @pytest.mark.parametrize(
        "command",
        [
            ("registry", "list"),
            ("registry", "show", "digits", "1"),
            ("registry", "history", "digits"),
            ("config", "show"),
        ],
    )
    def test_so_does_every_command(self, team, command):
        done = team.trainyard(*command)
        shown(done.stdout)
        shown(done.stderr)

    def test_the_mail_shows_text_in_both_parts_and_in_its_headers(self, team):
        (mail,) = team.mails()
        page = mail.get_body(("html",)).get_content()
        harmless(page)
        shown(mail.get_body(("plain",)).get_content())
        shown(Tags(page).text)
        shown("".join(mail.values()))
        assert {"Bcc", "Cc"}.isdisjoint(mail.keys())
        for word in (HTML, "<script>alert(2)</script>", "Bcc: all@example.org", "Mallory", "two lines"):
            assert word in Tags(page).text
        assert HTML in " ".join(mail.get_body(("plain",)).get_content().split())

    def test_its_plots_and_its_junit_files_are_whole(self, team):
        (run,) = team.runs()
        for path in run.rglob("junit.xml"):
            assert ET.parse(path).getroot().tag == "testsuites"
        assert any(run.rglob("junit.xml"))
        Image.open(run / "evaluate" / "outputs" / "confusion.png").verify()

    def test_the_classes_are_what_they_were(self, team):
        (card,) = team.cards()
        assert set(card["signature"]["classes"]) == set(CLASS_NAMES)


NASTY = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(
    [SUBJECT, HTML * 40, "\ud800", "a\u0085b\u2028c"]
)


class TestAnyText:
    @given(NASTY, st.integers(8, 200))
    def test_clean_gives_one_bounded_line(self, text, limit):
        cleaned = clean(text, limit)
        assert len(cleaned) <= limit
        shown(cleaned)
        assert "\n" not in cleaned
        assert clean(cleaned, limit) == cleaned or len(cleaned) == limit
        cleaned.encode()

    @given(NASTY)
    def test_one_line_is_one_printable_line(self, text):
        assert one_line(text).isprintable()
        assert len(one_line(text)) == len(text)

    @given(NASTY, NASTY)
    def test_mails_show_it_as_text_in_both_forms(self, first, second):
        blocks = (
            Paragraph(first),
            Box("bad", first, (second,)),
            Bullets((second,)),
            Code(first),
            Table((first,), ((second,),)),
        )
        page, text = to_html(first, [Section(second, blocks)]), to_text(first, [Section(second, blocks)])
        harmless(page)
        shown(page)
        shown(text)
        assert bare(clean(second)) in bare(Tags(page).text) or len(second) > 200

    @given(NASTY, NASTY)
    def test_junit_files_are_xml(self, tmp_path_factory, name, message):
        from registry.records import TestCase, TestReport

        path = tmp_path_factory.mktemp("junit") / "junit.xml"
        report = TestReport(name, (TestCase(name, "failed", message=message), TestCase(message, "error", message=name)))
        write_junit(path, [report])
        assert len(ET.parse(path).getroot().findall(".//testcase")) == 2


def test_a_plot_of_classes_of_any_name_is_drawn(tmp_path):
    code = (
        "import sys; from pathlib import Path; from registry.records import Metrics;"
        "from pipelines.workers.plots import draw_confusion;"
        f"names = {(*CLASS_NAMES, '$^$', chr(0xD800), '')!r};"
        "draw_confusion(Metrics('classification', 6, {}, classes=names, confusion=tuple((1,) * 6 for _ in names)), Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "x.png")],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    Image.open(io.BytesIO((tmp_path / "x.png").read_bytes())).verify()
