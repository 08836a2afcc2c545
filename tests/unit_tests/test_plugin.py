"""The fixtures of the plugin, as a team writes tests with them."""

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image
from unit_tests_support import await_ready, serve, write_card

from registry import codec
from registry.records import Candidate
from unit_tests.client import Api, body_of
from unit_tests.holdout import Holdout
from unit_tests.pytest_log import read_log


def pytest_by_hand(folder, *options):
    """What an engineer types."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "unit_tests.plugin",
        "-p",
        "no:cacheprovider",
        "-q",
        *options,
    ]
    return subprocess.run(
        [*command, f"--rootdir={folder}", "-c", "/dev/null"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def image_api(thirds):
    api = Api(thirds)
    yield api
    api.close()


@pytest.fixture
def holdout(versions):
    return Holdout(versions("thirds") / "holdout")


def test_all_fixtures_work_together(versions, thirds, tmp_path):
    made = versions("thirds")
    older = shutil.copytree(made / "version", tmp_path / "older")
    card = codec.read(Candidate, older / "card.json")
    write_card(older, card.model, card.signature, card.served, card.evaluation, number=2)
    Image.fromarray(np.pad(np.full((6, 2), 200, np.uint8), ((0, 0), (0, 4)))).save(tmp_path / "left.png")
    text = """
        def test_holdout(predict, holdout):
            answers = predict(holdout.samples)
            right = sum(each["class"] == label for each, label in zip(answers, holdout.labels, strict=True))
            assert right / len(holdout) > 0.95
            assert [name for name in holdout.names][:2] == ["sample 0", "sample 1"]
            assert holdout.classes == ("left", "middle", "right")
            for sample, label in holdout:
                assert sample.shape == (6, 6, 1) and label in holdout.classes

        def test_an_image(predict):
            answer = predict("left.png")
            assert answer["class"] == "left" and answer["probability"] > 0.9

        def test_card(card, metrics, live):
            assert (card.version, live.card.version, live.metrics) == (3, 2, None)
            assert metrics.values["accuracy"] > 0.95 and metrics.classes["left"].support == 20

        def test_api(api):
            assert api.post("/predict", json={"instances": []}).status_code == 400
            assert api.description["kind"] == "image"
    """
    (tmp_path / "test_team.py").write_text(textwrap.dedent(text))
    done = pytest_by_hand(
        tmp_path,
        f"--trainyard-url={thirds}",
        f"--trainyard-version={made / 'version'}",
        f"--trainyard-holdout={made / 'holdout'}",
        f"--trainyard-live={older}",
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_an_option_that_is_missing_is_named(tmp_path):
    (tmp_path / "test_team.py").write_text(
        "def test_a(api): pass\ndef test_b(holdout): pass\ndef test_c(card): pass\ndef test_d(live, card): pass\n"
    )
    done = pytest_by_hand(tmp_path, "-rs")
    assert "this test needs the option --trainyard-url" in done.stdout
    assert "this test needs the option --trainyard-version" in done.stdout
    assert "there is no holdout in this acceptance test" in done.stdout


def test_a_fixture_that_is_not_there_is_named_in_the_first_line(tmp_path):
    (tmp_path / "test_team.py").write_text("def test_a(predikt): pass\n")
    log = tmp_path / "tests.jsonl"
    pytest_by_hand(tmp_path, f"--trainyard-log={log}")
    (case,) = read_log(log).cases.values()
    assert case.outcome == "error"
    assert case.message.splitlines()[0] == "fixture 'predikt' not found"


def test_pytest_explains_the_fixtures(tmp_path):
    shown = pytest_by_hand(tmp_path, "--fixtures", "-vv").stdout
    for words in (
        "predict [session scope]",
        'assert predict("images/seven.png")',
        "holdout.samples[:100]",
        "live.metrics",
    ):
        assert words in shown


@pytest.mark.parametrize("many", [1, 3])
def test_predict_takes_arrays(image_api, holdout, many):
    samples = np.stack(holdout.samples[:many])
    answers = image_api.predict(samples)
    assert [each["class"] for each in answers] == list(holdout.labels[:many])
    assert image_api.predict(samples[0]) == answers[0]
    assert image_api.predict(samples[0][:, :, 0]) == answers[0]
    assert image_api.predict(list(samples)) == answers
    assert image_api.predict(samples.astype(float)) == answers


def test_predict_takes_images_as_path_text_and_bytes(image_api, holdout, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(holdout.samples[1][:, :, 0]).save(path)
    answer = image_api.predict(path)
    assert answer["class"] == "middle"
    assert image_api.predict([str(path), path.read_bytes()]) == [answer, answer]
    assert image_api.predict(path) == image_api.predict(holdout.samples[1])


def test_a_refusal_is_reported_in_the_words_of_the_api(image_api):
    with pytest.raises(AssertionError, match=r"the API answered 400: instances\[0\]: 5 values, 6 are expected"):
        image_api.predict(np.zeros((5, 5, 1)))
    with pytest.raises(AssertionError, match=r"the API answered 404: .*no such page"):
        body_of(image_api.get("/no"))


def test_rows_and_many_of_them(versions, tmp_path):
    """More rows than one request may hold are sent in several."""
    made = versions("shop")
    with serve(tmp_path / "api", made / "version", max_instances=7) as url:
        api, holdout = Api(url), Holdout(made / "holdout")
        await_ready(url)
        assert holdout.samples[1] == {"age": 70.0, "colour": "blue"}
        assert api.predict({"age": 20, "colour": "red"})["class"] == "yes"
        assert [each["class"] for each in api.predict(holdout.samples)] == list(holdout.labels)
        assert api.predict([]) == []
        with pytest.raises(AssertionError, match="colour: this column is missing"):
            api.predict({"age": 20})
        api.close()


def test_a_holdout_of_numbers_has_numbers_for_labels(versions):
    holdout = Holdout(versions("sum") / "holdout")
    sample, label = next(iter(holdout))
    assert label == pytest.approx(2 * sample["a"] + 3 * sample["b"], abs=1e-5)
    assert holdout.classes == ()
    assert len(holdout.samples[-3:]) == 3
