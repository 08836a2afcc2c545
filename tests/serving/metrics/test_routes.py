"""The table of routes: what the dialects answer to is counted apart, and nothing else is."""

import ast
from pathlib import Path

import pytest

from serving.metrics.routes import NO_PROTOCOL, OTHER, PROTOCOL_OF, PROTOCOLS, ROUTES, protocol_of
from serving.predictors import Predictors
from serving.protocols.dialects import DIALECTS, routes_for

ROOT = Path(__file__).parents[3]


class Nobody:
    current, error = None, ""


def templates(source):
    """The first arguments of `Route(…)` in a module, as far as they are plain text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Route" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield first.value


@pytest.mark.parametrize("make", DIALECTS, ids=lambda each: each.__name__)
def test_every_route_of_a_dialect_has_a_place_of_its_own_under_its_protocol(make):
    dialect = make(Predictors(Nobody(), "m"))
    found = {route.name for route in dialect.fixed().values()}
    assert found
    assert {name: PROTOCOL_OF.get(name) for name in found} == dict.fromkeys(found, dialect.name)


@pytest.mark.parametrize(
    "path",
    [
        *(f"/v2/models/m/versions/3{end}" for end in ("", "/ready", "/infer")),
        *(
            f"/v1/models/m{which}{end}"
            for which in ("", "/versions/3", "/labels/stable")
            for end in ("", "/metadata", ":predict", ":classify", ":regress")
        ),
    ],
)
def test_a_path_that_names_a_version_is_counted_under_its_template(path):
    dialect, route = routes_for(Predictors(Nobody(), "m")).find(path)
    assert PROTOCOL_OF[route.name] == dialect.name == path.split("/")[1]


def test_every_template_that_is_written_in_a_dialect_has_a_place_of_its_own():
    files = (ROOT / "serving" / "protocols").rglob("*.py")
    found = {name for path in files for name in templates(path.read_text(encoding="utf-8"))}
    assert "/predict" in found
    assert found <= set(ROUTES)


def test_what_is_not_in_the_table_is_of_no_protocol():
    assert protocol_of("/v2/models/hers/infer") == protocol_of(OTHER) == NO_PROTOCOL
    assert ROUTES[-1] == OTHER
    assert set(PROTOCOL_OF.values()) == set(PROTOCOLS)


def test_the_table_is_bounded():
    assert len(ROUTES) == len(set(ROUTES)) < 80
