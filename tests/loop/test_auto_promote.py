"""`[monitoring] auto_promote` from end to end: an alarm, a real retraining, the gate on labelled recent predictions, the acceptance
test, and the running API answers with the new version. Nobody approves anything.

Slow, as it trains twice: what is tried elsewhere with parts alone are the links of this chain.
"""

import json

import pytest
import requests
from alarming_team import Monitor
from digits_model import MODEL, TESTS, digits
from team import Team

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow, pytest.mark.timeout(600)]
SETTINGS = """auto_promote = true
[gate]
threshold = 0.8
recent = true
[prediction_log]
enabled = true
images = "file"
"""


@pytest.fixture
def team(tmp_path):
    """Version 1, trained on dark digits, is live; then light ones came into the data, and nobody has run anything since."""
    team = Team(tmp_path)
    text = team.config.read_text(encoding="utf-8").replace("[gate]\nthreshold = 0.8\n", "")
    team.config.write_text(text, encoding="utf-8")
    team.write("dataset", {"dataset.toml": 'format = "images"\n', **digits(0, 800)})
    team.write("tests", {"test_model.py": TESTS})
    team.write("code", {"model.py": MODEL})
    for repository in ("dataset", "tests", "code"):
        team.push(repository)
    team.trainyard("run", "code")
    yield team
    team.stop_api()


def ask(team, image):
    answer = requests.post(f"{team.url}/predict", data=image, headers={"Content-Type": "image/png"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def label_recent_predictions(team, images):
    """What production asks, and what people say of the answers."""
    answers = [(name, ask(team, image)["request_id"]) for name, image in images.items()]
    reports = [{"request_id": each, "row": 0, "label": name.split("/")[0]} for name, each in answers]
    (team.folder / "labels.jsonl").write_text("\n".join(map(json.dumps, reports)), encoding="utf-8")
    assert team.ask("labels", "import", str(team.folder / "labels.jsonl"))["added"] == len(images)


def test_after_an_alarm_the_api_answers_with_what_the_retraining_has_made(team):
    monitor = Monitor(team)
    team.config.write_text(team.config.read_text(encoding="utf-8") + SETTINGS, encoding="utf-8")
    team.promote()
    light = digits(1400, 1797, inverted=True)
    label_recent_predictions(team, light)
    team.write("dataset", digits(800, 1400, inverted=True))
    team.push("dataset")
    monitor.reread()
    assert monitor.once() == 3, "there was an alarm"
    (run,) = monitor.runs()
    done = " ".join(monitor.store.alarm(1).done)
    assert "promotion: version 2 is live as release 2" in done, done
    status = team.ask("serve", "digits", "--status")
    assert (status["release"], status["version"]) == (2, 2)
    evaluation = team.cards()[1]["evaluation"]["recent"]
    assert evaluation["samples"] == len(light)
    assert evaluation["comparison"]["difference"] > 0.2
    answers = [ask(team, image)["predictions"][0]["class"] == name.split("/")[0] for name, image in light.items()]
    assert sum(answers) / len(answers) > 0.8
    mails = [each["Subject"] for each in team.mails()]
    assert any("PROMOTED by the monitor after drift" in each for each in mails), mails
    assert run["started_by"] == "the monitor"
