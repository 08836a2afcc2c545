"""A registry whose folder was removed and made anew under the fence of a running API: it says so, and no release is blamed."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prediction_log_parts import log_job
from serving_parts import ask

from registry.errors import ConfigError, TryAgain
from serving import kept_folders
from serving.access import tokens
from serving.job import ServeJob
from serving.reach import REPLACED, OutOfReach, is_out_of_reach
from serving.server import control
from training.fence import confine

AGAIN = "`trainyard serve m --stop`, then `trainyard serve m --background`"


def make_anew(registry):
    """As from a backup: the same files in another folder. Gives the one before, which is kept."""
    folder, old = registry.root / "registry", registry.root / "old"
    folder.rename(old)
    shutil.copytree(old, folder, symlinks=True)
    return old


@pytest.mark.skipif(not confine.abi(), reason="needs Landlock")
class TestAnApi:
    @pytest.mark.slow
    def test_reports_it_serves_on_and_is_not_asked_to_follow(self, registry, start, until):
        registry.release(registry.put("price"))
        _, folder = start(registry)
        control.await_release(folder, 1, 20)
        old = make_anew(registry)
        until(lambda: control.cut_off(control.status(folder)))
        release = registry.release(registry.put("price"))
        time.sleep(1)
        workers = control.status(folder)["workers"]
        assert {(each["state"], each["release"], each["error"]) for each in workers} == {
            ("ready", 1, f"{REPLACED}: start it again")
        }
        with pytest.raises(OutOfReach):
            control.await_release(folder, release, 60)
        with pytest.raises(ConfigError, match="cannot reach the new one") as refused:
            control.start(ServeJob("m", registry=registry.url, port=0, threads=2), folder)
        assert refused.value.hint == f"{AGAIN}, then retry"
        assert f"the registry cannot be read: {REPLACED}" in (folder / "api.log").read_text()
        shutil.rmtree(registry.root / "registry")
        old.rename(registry.root / "registry")
        until(lambda: not control.cut_off(control.status(folder)))
        control.await_release(folder, registry.release(registry.put("price")), 20)

    @pytest.mark.slow
    def test_started_again_follows_the_new_folder(self, registry, start, until):
        registry.release(registry.put("price"))
        _, folder = start(registry)
        control.await_release(folder, 1, 20)
        make_anew(registry)
        until(lambda: control.cut_off(control.status(folder)))
        control.stop(folder)
        control.start(ServeJob("m", registry=registry.url, port=0, threads=2), folder)
        control.await_release(folder, registry.release(registry.put("price")), 20)

    def test_says_in_its_log_that_a_revoked_token_holds_because_it_cannot_be_read(
        self, registry, start, until, tmp_path
    ):
        registry.release(registry.put("price"))
        file = tmp_path / "access" / "tokens.json"
        given = {"Authorization": f"Bearer {tokens.make(file, 'shop', ['predict'])}"}
        url, folder = start(registry, auth="tokens", tokens=str(file), workers=1)
        control.await_release(folder, 1, 20)
        assert ask(url, "GET", "/version", headers=given)[0] == 200
        file.parent.rename(tmp_path / "old")
        tokens.make(file, "another", ["predict"])

        def logged():
            assert ask(url, "GET", "/version", headers=given)[0] == 200
            return (
                "has to be started again; the tokens that were read before still hold"
                in (folder / "api.log").read_text()
            )

        until(logged)


@pytest.mark.slow
@pytest.mark.skipif(not confine.abi(), reason="needs Landlock")
def test_an_api_whose_labels_folder_went_away_says_so_to_clients_and_operators(registry, start, until, tmp_path):
    registry.release(registry.put("table"))
    kept, labels = log_job(tmp_path / "log"), tmp_path / "labels" / "m" / "labels.sqlite"
    settings = {"prediction_log": kept, "labels": str(labels), "workers": 1}
    url, folder = start(registry, **settings)
    control.await_release(folder, 1, 20)
    job = ServeJob("m", registry=registry.url, port=0, threads=2, **settings)
    assert "kept" not in control.changed(job, folder)
    labels.parent.rename(tmp_path / "old")  # nobody can start it again for a folder that is not there
    until(lambda: control.changed(job, folder).get("kept"))
    why = "the folder of the labels was removed or replaced after this API had started, which cannot reach a new one"
    assert control.changed(job, folder)["kept"] == why
    report = json.dumps({"request_id": "r-1", "label": "x"})
    status, _, answer = ask(url, "POST", "/feedback", report, {"Content-Type": "application/json"})
    assert (status, answer["error"]) == (503, f"labels cannot be kept: {why}")
    assert why in (folder / "api.log").read_text()
    assert ask(url, "GET", "/health/ready")[0] == 200


class TestTheFoldersThatAreKept:
    @pytest.fixture
    def job(self, tmp_path):
        kept, labels = log_job(tmp_path / "log"), tmp_path / "labels" / "m" / "labels.sqlite"
        for each in (tmp_path / "log", labels.parent):
            each.mkdir(parents=True, exist_ok=True)
        return ServeJob("m", prediction_log=kept, labels=str(labels))

    def test_are_the_same_until_one_is_replaced(self, job, tmp_path):
        before = kept_folders.identity(job)
        assert kept_folders.identity(job) == before
        (tmp_path / "log").rename(tmp_path / "old")
        assert kept_folders.identity(job) != before
        (tmp_path / "log").mkdir()
        assert kept_folders.identity(job).split()[1:] == before.split()[1:]
        assert kept_folders.identity(job) != before

    def test_that_can_be_reached_are_not_lost_though_they_are_other_ones(self, job, tmp_path):
        kept = kept_folders.KeptFolders(job)
        (tmp_path / "log").rename(tmp_path / "old")
        (tmp_path / "log").mkdir()
        assert kept.lost() == ""

    def test_are_lost_when_they_were_removed_under_their_mount(self, tmp_path):
        (tmp_path / "log").mkdir()
        mounted = open_folder(tmp_path / "log")
        job = ServeJob("m", prediction_log=replace(log_job(tmp_path), folder=str(mounted)))
        kept = kept_folders.KeptFolders(job)
        (tmp_path / "log").rmdir()
        assert kept.lost().startswith("the folder of the prediction log was removed or replaced")
        assert kept_folders.KeptFolders(job).lost() == "", "it was so when the API started: another cause"

    def test_of_an_api_that_keeps_nothing_are_none(self):
        assert kept_folders.identity(ServeJob("m")) == ""
        assert kept_folders.KeptFolders(ServeJob("m")).lost() == ""


class TestTheFolder:
    def test_that_can_be_read_or_is_not_there_is_in_reach(self, tmp_path):
        assert not is_out_of_reach(tmp_path)
        assert not is_out_of_reach(tmp_path / "none")

    def test_that_was_removed_under_its_mount_is_not(self, tmp_path):
        (tmp_path / "registry").mkdir()
        before = open_folder(tmp_path / "registry")
        (tmp_path / "registry").rmdir()
        assert is_out_of_reach(before)


def open_folder(path):
    """A path that leads to what is there now, as a mount does, whatever becomes of its name."""
    return Path(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}")


def test_that_its_answer_is_awaited_no_longer_when_a_new_start_is_needed():
    worker = {"pid": 1, "state": "ready", "wanted": 1, "release": 1, "error": REPLACED, "cut_off": True}
    with pytest.raises(OutOfReach):
        control.await_workers(lambda: {"workers": [worker], "expected": 1}, 2, 60)
    with pytest.raises(TryAgain):
        control.await_workers(lambda: {"workers": [worker | {"cut_off": False}], "expected": 1}, 2, 0)
