"""A team that has its data in DVC gets its first accepted version: with the line in trainyard.toml that the first run names,
and `dataset.toml`, which every dataset has, in its repository; DVC's files stay as they are."""

from __future__ import annotations

import json

import pytest
from digits_model import MODEL, TESTS, digits
from outside_git import DvcRemote, sha256
from team import Team

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


def test_data_in_dvc_make_a_version_as_they_are(tmp_path):
    team, remote = Team(tmp_path), DvcRemote(tmp_path / "remote")
    kinds = {}
    for name, data in digits(0, 800).items():
        kind, _, file = name.partition("/")
        kinds.setdefault(kind, {})[file] = data
    pointers = {f"{kind}.dvc": remote.directory(kind, files) for kind, files in kinds.items()}
    ignored = "".join(f"/{kind}\n" for kind in kinds)
    team.write(
        "dataset",
        {
            "dataset.toml": 'format = "images"\n',
            ".dvc/config": remote.config,
            ".gitignore": ignored,
            ".dvcignore": "",
            **pointers,
        },
    )
    team.write("tests", {"test_model.py": TESTS})
    team.write("code", {"model.py": MODEL})
    commits = {name: team.push(name)[0] for name in ("code", "tests", "dataset")}

    refused = team.trainyard("run", "dataset", code=2)
    (line,) = [each for each in (refused.stdout + refused.stderr).splitlines() if "trusted = [" in each]
    text = team.config.read_text(encoding="utf-8")
    said = line[line.index("trusted = [") : line.rindex("]") + 1]
    team.config.write_text(text.replace("[repositories]\n", f"[repositories]\n{said}\n"), encoding="utf-8")

    assert "ACCEPTED" in team.trainyard("run", "dataset").stderr
    (card,) = team.cards()
    assert card["sources"]["dataset"] == commits["dataset"]
    assert card["dataset_manifest"]
    (fetched,) = [json.loads(each.read_bytes()) for each in team.home.glob("runs/*/**/fetched.json")]
    assert card["dataset_manifest"] in json.dumps(fetched)
    image = next(iter(next(iter(kinds.values())).values()))
    assert team.ask("lineage", "digits", "--data", sha256(image))["uses"][0]["version"] == 1
