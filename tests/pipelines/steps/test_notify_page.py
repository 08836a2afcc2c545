"""Where the mail that asks for an approval leads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from promotion_parts import MODEL, Project

from pipelines.approvals.mail_links import read_link
from pipelines.approvals.tokens import approval_secret
from pipelines.config.console_sections import Console
from pipelines.config.schema import Mail
from pipelines.steps.notify import decision_page

URL = "https://trainyard.company.example"


@pytest.fixture
def config(tmp_path):
    return Project(tmp_path).config


def test_without_the_consoles_address_there_is_no_link(config):
    assert decision_page(config, 3, "c" * 64) == ""


def test_the_link_leads_to_a_page_for_which_one_signs_in(config):
    here = replace(config, console=Console(url=f"{URL}/"))
    assert decision_page(here, 3, "c" * 64) == f"{URL}/models/{MODEL}/decision/3"


def test_where_a_link_decides_it_names_the_one_who_gets_it(config):
    console = Console(url=URL, mail_link="decide")
    one = replace(config, console=console, mail=Mail(to=("Ada <ada@company.example>",)))
    address = decision_page(one, 3, "c" * 64)
    said = read_link(approval_secret(Path(one.home), {}), address.removeprefix(f"{URL}/link/"), 1)
    assert (said.model, said.version, said.card, said.to) == (MODEL, 3, "c" * 64, "ada@company.example")
    several = replace(one, mail=Mail(to=("ada@company.example", "grace@company.example")))
    assert decision_page(several, 3, "c" * 64) == f"{URL}/models/{MODEL}/decision/3"
