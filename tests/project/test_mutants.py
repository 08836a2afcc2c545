"""The tool behind `make mutants`: which changes it makes, and that its list fits the project."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/mutants"))
from mutations import mutations, named  # noqa: E402
from run import QuickFirst, modules  # noqa: E402

SOURCE = """
def decide(age: int = 3) -> bool:
    if age >= 18 and not banned(age):
        raise ValueError(f"{age + 1} is wrong")
    return age in known(hint="a" if age > 2 else "b")
"""


def changed(source):
    return {each.apply(source).splitlines()[each.line - 1].strip() for each in mutations(source)}


def test_what_decides_is_changed_and_messages_are_not():
    assert changed(SOURCE) == {
        "def decide(age: int = 4) -> bool:",
        "def decide(age: int = 2) -> bool:",
        "if age > 18 and not banned(age):",
        "if age < 18 and not banned(age):",
        "if age >= 19 and not banned(age):",
        "if age >= 17 and not banned(age):",
        "if age >= 18 or not banned(age):",
        "if age >= 18 and (banned(age)):",
        "if True:",
        "if False:",
        "pass",
        'return age not in known(hint="a" if age > 2 else "b")',
        "return None",
    }


def test_what_only_types_need_is_left_alone():
    assert not mutations("if TYPE_CHECKING:\n    x = 1\n")


def test_a_change_after_letters_of_several_bytes_is_at_its_place():
    assert "x = 'größe' in names or 2 < 3" in changed("x = 'größe' in names or 1 < 3\n")


def test_equal_changes_have_names_of_their_own():
    source = "def f(a):\n    return a.reshape(-1, 1)\ndef g(a):\n    return a.reshape(-1, 1)\n"
    assert [(name, each.line) for name, each in named(source).items() if "1 → 2" in name] == [
        (f"return a.reshape(-1, 1) ⇒ 1 → 2{which}", line)
        for which, line in (("", 2), (" (2)", 2), (" (3)", 4), (" (4)", 4))
    ]


def test_the_list_names_modules_and_tests_that_exist_and_changes_that_are_still_made():
    for each in modules():
        assert (ROOT / each.path).is_file()
        for test in each.tests:
            assert (ROOT / test).exists(), test
        made = named(each.source).keys()
        assert each.same <= made, f"{each.path}: {each.same - made}"


def test_what_needs_a_server_of_s3_is_left_out_and_what_tries_many_examples_comes_last():
    def item(name, store=None, fixtures=(), *, many=False):
        return SimpleNamespace(
            name=name, fixturenames=fixtures, callspec=SimpleNamespace(params={"store": store} if store else {}),
            obj=SimpleNamespace(is_hypothesis_test=many),
        )  # fmt: skip

    items = [item("many", many=True), item("folder", "folder"), item("s3", "s3"), item("place", fixtures=["s3_place"])]
    plain = SimpleNamespace(name="plain", fixturenames=["tmp_path"])
    items.append(plain)
    QuickFirst().pytest_collection_modifyitems(items)
    assert [each.name for each in items] == ["folder", "plain", "many"]


@pytest.mark.slow
def test_a_change_that_the_tests_notice_is_no_survivor():
    command = [
        sys.executable,
        "-P",
        ROOT / "tests/mutants/run.py",
        "unit_tests/policy.py",
        "--jobs",
        "1",
        "--bar",
        "100",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100.0 %" in done.stdout
