"""The project speaks the glossary's words (`docs/reference/glossary.md`) in code and pages; `language` lists the others."""

import language
import pytest

PAGE = "docs/reference/glossary.md"


@pytest.mark.parametrize(
    "path", language.files([*language.EVERYWHERE]), ids=lambda path: str(path.relative_to(language.ROOT))
)
def test_a_file_uses_the_words_of_the_glossary(path):
    hits = [f"line {line}: {word!r}, say {instead}: {text}" for line, word, instead, text in language.hits(path)]
    assert not hits, "\n".join(
        [f"{path.relative_to(language.ROOT)}: these words are not the glossary's ({PAGE})", *hits]
    )


@pytest.mark.parametrize("folder", [*language.PACKAGES, "tests", "benchmarks", "examples"])
def test_names_use_the_words_of_the_glossary_too(folder):
    sources = (path for path in language.files([folder]) if path.suffix == ".py")
    hits = [
        f"{path.relative_to(language.ROOT)}:{line}: {word!r} in {name}"
        for path in sources
        for line, word, name in language.names(path)
    ]
    assert not hits, "\n".join([f"these names are not the glossary's ({PAGE})", *hits])


def found(tmp_path, text, name="planted.py"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return [(line, word) for line, word, *_ in language.hits(tmp_path / name)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('x = "the answer is no, as before"', 1),
        ('def f():\n    """What it does.\n\n    The answer is no.\n    """', 4),
        ('x = 1\nraise ValueError(f"{x}: the answer is no, {x}")', 2),
        ("x = 1  # the answer is no", 1),
        ('x = 1\ny = """one\nTHE ANSWER IS NO"""', 3),
    ],
    ids=["string", "docstring", "f-string", "comment", "second line, in capitals"],
)
def test_a_planted_word_is_found_with_its_line(tmp_path, text, line):
    ((number, word),) = found(tmp_path, text)
    assert (number, word.lower()) == (line, "the answer is no")


@pytest.mark.parametrize(
    "text",
    [
        'x = "call `tell` and read `the answer is no` there"',
        'x = "see https://example.org/the-door and [this](guard/stands.md)"',
        "# `judge` was renamed",
        "tell = guard = stands = 1",
        'x = {"tell": 1}',
        'x = "an understanding of standing desks, shutdoors and x/door"',
    ],
    ids=["code in a string", "links", "code in a comment", "names", "a key", "parts of words"],
)
def test_code_and_links_are_left_alone(tmp_path, text):
    assert found(tmp_path, text) == []


def test_a_page_is_read_line_by_line_without_its_code_but_with_its_blocks(tmp_path):
    page = "It tells all.\n\nUse `tell`, see [it](tell.md).\n\n```\n# `tell`\n```\n"
    assert found(tmp_path, page, "page.md") == [(1, "tells"), (6, "tell")]


def test_a_term_of_code_alone_may_be_on_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    for folder in ("pipelines", "docs"):
        (tmp_path / folder).mkdir()
    assert found(tmp_path, "# a picture of it", "pipelines/a.py") == [(1, "picture")]
    assert found(tmp_path, "A picture of it", "docs/a.md") == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("told = 1", "told"),
        ("def f(the_door): ...", "door"),
        ("class OldGuard: ...", "Guard"),
        ("self.SEAL = 1", "SEAL"),
        ("try: ...\nexcept OSError as trouble: ...", "trouble"),
    ],
    ids=["variable", "parameter", "class", "attribute", "exception"],
)
def test_a_planted_name_is_found(tmp_path, text, word):
    (tmp_path / "planted.py").write_text(text, encoding="utf-8")
    assert [each for _, each, _ in language.names(tmp_path / "planted.py")] == [word]


def test_names_that_are_used_or_passed_are_left_alone(tmp_path):
    text = "import door\nx = told(seal=guard.stood)\nunderstood = outdoors = 1\n"
    (tmp_path / "planted.py").write_text(text, encoding="utf-8")
    assert not list(language.names(tmp_path / "planted.py"))


def test_every_word_has_something_to_say_instead():
    assert all(instead.strip() for instead in (language.BANNED | language.ONLY_IN_CODE).values())
