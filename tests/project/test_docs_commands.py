"""The commands and settings that the pages of the documentation show are taken by the command line and the config."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from importlib import import_module

import pytest
from docs_pages import IDS, PAGES, ROOT

from pipelines.__main__ import COMMANDS, command_at
from pipelines.config.load import load_config
from pipelines.config.schema import Config
from registry.signatures import make_key

PLACEHOLDERS = {"NAME": "fetch", "MINUTES": "5", "VERSION": "1", "N": "2", "COMMAND": "run"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)
REPOSITORIES = {"code": "code.git", "dataset": "dataset.git", "tests": "tests.git"}


def commands(page):
    """The `trainyard` commands on a page: in its shell blocks, and in its sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = [content for kind, content in BLOCK.findall(text) if kind in {"sh", ""}]
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [part.strip() for line in lines for part in re.split(r" #|&&|\||;", line)]
    typed = [command_first(shlex.split(line)[1:]) for line in lines if line.startswith("trainyard ")]
    inline = re.findall(r"`trainyard ((?:--model [A-Za-z]+ )?[a-z][^`]*)`", sentences.replace("\\|", "|"))
    said = [command_first(shlex.split(line.replace("…", ""))) for each in inline for line in alternatives(each)]
    return typed, said


def alternatives(line):
    """`registry list|show` are two commands."""
    first, *more = next(([word, *word.split("|")] for word in line.split() if "|" in word), [line])
    return [line.replace(first, each) for each in more] or [line]


def command_first(words):
    """`--model NAME` may come before the command."""
    at = command_at(words)
    return [*words[at : at + 1], *words[:at], *words[at + 1 :]]


def parsed(words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    for flag in ("--config", "--set", "--model"):
        parser.add_argument(flag)
    parser.add_argument("--json", action="store_true")
    import_module(f"pipelines.commands.{words[0]}").add_arguments(parser)
    return parser.parse_args([PLACEHOLDERS.get(word, word) for word in words[1:]])


@each_page
def test_the_command_line_takes_every_command_on_the_page(page):
    typed, said = commands(page)
    for words in [*typed, *(each for each in said if len(each) > 1)]:
        if "--help" in words:
            continue
        try:
            parsed(words)
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"trainyard {shlex.join(words)}: {error}")
    assert {words[0] for words in said} <= COMMANDS.keys()


def settings_on(page):
    """The blocks of a page that belong into trainyard.toml."""
    blocks = [content for kind, content in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "toml"]
    sections = {"model", "home", *Config.__dataclass_fields__}
    return [block for block in blocks if tomllib.loads(block).keys() & sections]


WITH_SETTINGS = [page for page in PAGES if settings_on(page)]


@pytest.mark.parametrize("page", WITH_SETTINGS, ids=[str(page.relative_to(ROOT)) for page in WITH_SETTINGS])
def test_the_settings_on_the_page_are_taken(page, tmp_path):
    for number, block in enumerate(settings_on(page)):
        written = re.sub(r"ssh-ed25519 AAAA\S*", lambda _: make_key().public.text, block)
        given = tomllib.loads(written)
        missing = [] if "model" in given else ['model = "digits"']
        urls = [f"{name} = {url!r}" for name, url in REPOSITORIES.items() if name not in given.get("repositories", {})]
        if "repositories" in given:
            written = written.replace("[repositories]", "\n".join(["[repositories]", *urls]))
        else:
            missing.append(f"repositories = {{{', '.join(urls)}}}")
        file = tmp_path / f"{number}.toml"
        file.write_text("\n".join([*missing, written]), encoding="utf-8")
        load_config(file, {})


def test_the_pages_have_commands_at_all():
    typed, said = commands(ROOT / "docs" / "tutorial" / "first-model-on-jenkins.md")
    assert len(typed) >= 10
    assert ["jenkins", "apply"] in said
    typed, _ = commands(ROOT / "docs" / "how-to" / "who-may-ask.md")
    assert ["token", "revoke", "shop-frontend"] in typed
    assert ROOT / "docs" / "how-to" / "in-the-open.md" in WITH_SETTINGS
