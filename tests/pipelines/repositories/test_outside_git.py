"""Files of the dataset that do not lie in git come into a run: from the manifest's store, and from a remote of DVC."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from outside_git import DvcRemote, keep, manifest, md5, object_path, put, sha256

from pipelines.repositories.git_cache import manifest_of
from pipelines.repositories.outside import folder
from pipelines.repositories.outside.manifest import parse
from registry.errors import ConfigError

TABLE = b"a,b,label\n" + b"1,2,yes\n" * 50_000
IMAGES = {f"images/{kind}/{number}.png": bytes([number]) * 99 for kind in ("cat", "dog") for number in range(5)}
SETTINGS = b'format = "table"\n[data]\nstore = "%s"\n'


@pytest.fixture
def store(tmp_path):
    """A folder beside the repositories, which they may name."""
    folder = tmp_path / "served" / "store"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def remote(tmp_path, store):
    return DvcRemote(store)


def settings(store: Path) -> bytes:
    return SETTINGS % str(store).encode()


class TestManifest:
    def test_the_files_come_to_their_places_beside_those_of_git(self, repository, bring, store):
        data = repository("data")
        files = {"data.csv": TABLE, **IMAGES}
        keep(store, *files.values())
        got = bring(
            data.url, data.commit({"dataset.toml": settings(store), "dataset.lock": manifest(files), "README": b"x"})
        )
        assert {name: (got / name).read_bytes() for name in files} == files
        assert (got / "README").read_bytes() == b"x"
        assert manifest_of(got).read_bytes() == manifest(files)

    def test_what_was_fetched_is_kept_by_its_hash_once(self, tmp_path, repository, bring, store):
        data = repository("data")
        keep(store, TABLE)
        files = {"a.csv": TABLE, "b.csv": TABLE}
        got = bring(data.url, data.commit({"dataset.toml": settings(store), "dataset.lock": manifest(files)}))
        object_path(store, TABLE).unlink()
        again = bring(data.url, data.commit({"more": b"x"}))
        assert os.path.samefile(got / "a.csv", again / "b.csv")
        assert [each.name for each in (tmp_path / "home/data").glob("*/*")] == [sha256(TABLE)]

    def test_a_file_that_the_store_does_not_have_is_named_with_what_to_do(self, repository, bring, store):
        data = repository("data")
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match=rf"dataset.lock: data.csv: {store} does not have it") as error:
            bring(data.url, commit)
        assert "`trainyard data push`" in error.value.hint

    @pytest.mark.parametrize("given", [TABLE[:-1], TABLE[:-1] + b"!", TABLE + b"!"], ids=["cut", "altered", "longer"])
    def test_other_bytes_than_were_named_are_refused(self, tmp_path, repository, bring, store, given):
        data = repository("data")
        put(object_path(store, TABLE), given)
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match=r"data.csv: .* (gives other bytes than it names|does not have it)"):
            bring(data.url, commit)
        assert not list((tmp_path / "home/data").glob("*/*"))
        keep(store, TABLE)
        assert (bring(data.url, commit) / "data.csv").read_bytes() == TABLE

    def test_a_link_in_the_store_is_not_followed(self, tmp_path, repository, bring, store):
        data = repository("data")
        put(tmp_path / "secret", TABLE)
        path = object_path(store, TABLE)
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "secret")
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match="does not have it"):
            bring(data.url, commit)

    def test_the_settings_may_name_the_store(self, tmp_path, repository, bring):
        data = repository("data")
        keep(tmp_path / "elsewhere", TABLE)
        commit = data.commit({"dataset.lock": manifest({"data.csv": TABLE})})
        got = bring(data.url, commit, data_store=str(tmp_path / "elsewhere"))
        assert (got / "data.csv").read_bytes() == TABLE

    def test_without_a_store_it_is_said_where_to_name_one(self, repository, bring):
        data = repository("data")
        commit = data.commit({"dataset.toml": b'format = "table"\n', "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match=r"does not say where the files of dataset\.lock are") as error:
            bring(data.url, commit)
        assert '[data] store = "s3://bucket/prefix"' in error.value.hint

    @pytest.mark.parametrize(
        ("named", "said", "hint"),
        [
            ("/srv/elsewhere", "/srv/elsewhere, which the settings do not name", 'trusted = ["/srv/elsewhere"]'),
            ("s3://theirs/data", "s3://theirs/data, which the settings", 'trusted = ["s3://theirs/data"]'),
            ("store", "a relative folder, and each clone of the repository is elsewhere", "data_store"),
            ("../store", "a relative folder", "data_store"),
            ("gs://bucket/x", "is on Google Cloud Storage, from which nothing is fetched", "data_store"),
            ("ssh://host/x", "is on SSH, from which nothing is fetched", "data_store"),
            ("s3://bucket/../x", "is not a prefix in a bucket", "s3://bucket/prefix"),
            ("nonsense:x", "is not a place that is known", "an absolute folder"),
        ],
        ids=range(8),
    )  # fmt: skip
    def test_a_store_that_may_not_be_used_is_refused(self, repository, bring, named, said, hint):
        data = repository("data")
        commit = data.commit({"dataset.toml": SETTINGS % named.encode(), "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError) as error:
            bring(data.url, commit)
        assert "[repositories] dataset: dataset.toml [data] store" in str(error.value)
        assert said in str(error.value)
        assert hint in error.value.hint

    def test_an_endpoint_has_to_be_trusted_too(self, repository, bring):
        data = repository("data")
        named = SETTINGS % b"s3://theirs/data" + b'endpoint = "http://169.254.169.254"\n'
        commit = data.commit({"dataset.toml": named, "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match=r"at http://169.254.169.254, which the settings do not name") as error:
            bring(data.url, commit, trusted=("s3://theirs",))
        assert "169.254.169.254" in error.value.hint

    def test_a_store_that_is_trusted_is_used(self, tmp_path, repository, bring):
        data = repository("data")
        keep(tmp_path / "elsewhere", TABLE)
        commit = data.commit({"dataset.toml": settings(tmp_path / "elsewhere"), "dataset.lock": manifest({"a": TABLE})})
        assert (bring(data.url, commit, trusted=(str(tmp_path / "elsewhere"),)) / "a").read_bytes() == TABLE

    def test_a_folder_that_is_not_there(self, tmp_path, repository, bring):
        data = repository("data")
        commit = data.commit({"dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match="does not exist on this machine"):
            bring(data.url, commit, data_store=str(tmp_path / "elsewhere"))

    def test_too_much_is_refused_before_anything_is_fetched(self, tmp_path, repository, bring, store):
        data = repository("data")
        keep(store, TABLE)
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE})})
        with pytest.raises(ConfigError, match="come to 0 MB, and 0 MB are allowed") as error:
            bring(data.url, commit, data_bytes=len(TABLE) - 1)
        assert "data_mb" in error.value.hint
        assert not (tmp_path / "home/data").exists()

    def test_what_changes_no_model_is_not_fetched(self, repository, bring, store):
        data = repository("data")
        keep(store, TABLE)
        files = {"data.csv": TABLE, "docs/plot.png": b"never pushed"}
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest(files)})
        assert not (bring(data.url, commit, unimportant=("docs/*",)) / "docs").exists()

    def test_a_file_that_is_in_git_as_well_is_refused(self, repository, bring, store):
        data = repository("data")
        keep(store, TABLE)
        files = {"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE}), "DATA.csv": b"1"}
        with pytest.raises(ConfigError, match=r"data.csv and DATA.csv are one file on a disk"):
            bring(data.url, data.commit(files))

    def test_code_and_tests_have_no_data_of_their_own(self, repository, bring):
        code = repository("code")
        got = bring(code.url, code.commit({"dataset.lock": b"anything", "x.dvc": b"outs:\n- md5: 0\n"}), "code")
        assert (got / "dataset.lock").read_bytes() == b"anything"
        assert not manifest_of(got).exists()

    def test_a_full_disk_leaves_nothing_and_is_to_be_tried_again(self, repository, bring, store, monkeypatch):
        def full(source, target, most=None):
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

        data = repository("data")
        keep(store, TABLE)
        commit = data.commit({"dataset.toml": settings(store), "dataset.lock": manifest({"data.csv": TABLE})})
        monkeypatch.setattr(folder, "copy_regular", full)
        with pytest.raises(OSError, match="No space left"):
            bring(data.url, commit)
        monkeypatch.undo()
        assert (bring(data.url, commit) / "data.csv").read_bytes() == TABLE


class TestDvc:
    @pytest.mark.parametrize("legacy", [False, True], ids=["dvc 3", "dvc 2"])
    def test_files_and_directories_come_as_dvc_would_bring_them(self, repository, bring, store, legacy):
        data, remote = repository("data"), DvcRemote(store, legacy=legacy)
        images = {name.removeprefix("images/"): content for name, content in IMAGES.items()}
        commit = data.commit(
            {
                ".dvc/config": remote.config,
                "raw/data.csv.dvc": remote.file("data.csv", TABLE),
                "images.dvc": remote.directory("images", images),
            }
        )
        got = bring(data.url, commit)
        assert (got / "raw/data.csv").read_bytes() == TABLE
        assert {name: (got / name).read_bytes() for name in IMAGES} == IMAGES
        named = parse(manifest_of(got).read_bytes())
        assert {name: file.sha256 for name, file in named.files.items()} == {
            name: sha256(content) for name, content in {**IMAGES, "raw/data.csv": TABLE}.items()
        }

    def test_outputs_of_stages_come_too(self, repository, bring, remote):
        data = repository("data")
        remote.keep(md5(TABLE), TABLE)
        lock = f"""schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - path: prepare.py
      md5: {"0" * 32}
      size: 1
    outs:
    - path: out/table.csv
      hash: md5
      md5: {md5(TABLE)}
      size: {len(TABLE)}
"""
        got = bring(data.url, data.commit({".dvc/config": remote.config, "dvc.lock": lock.encode()}))
        assert (got / "out/table.csv").read_bytes() == TABLE

    def test_text_that_dvc_2_named_by_its_lines(self, repository, bring, store):
        data, remote = repository("data"), DvcRemote(store, legacy=True)
        text = b"a,b\r\n1,2\r\n"
        pointer = remote.file("data.csv", text, md5(text.replace(b"\r\n", b"\n")))
        got = bring(data.url, data.commit({".dvc/config": remote.config, "data.csv.dvc": pointer}))
        assert (got / "data.csv").read_bytes() == text

    def test_what_is_in_git_as_well_is_taken_from_there(self, repository, bring):
        data = repository("data")
        files = {"a.csv.dvc": b"outs:\n- md5: %s\n  path: a.csv\n" % (b"c0" * 16), "a.csv": b"1"}
        assert (bring(data.url, data.commit(files)) / "a.csv").read_bytes() == b"1"

    def test_a_pointer_in_a_project_below(self, repository, bring, remote):
        data = repository("data")
        files = {"sub/.dvc/config": remote.config, "sub/x/a.csv.dvc": remote.file("a.csv", TABLE)}
        assert (bring(data.url, data.commit(files)) / "sub/x/a.csv").read_bytes() == TABLE

    def test_a_file_of_another_kind_with_that_ending_is_left_alone(self, repository, bring):
        data = repository("data")
        assert (bring(data.url, data.commit({"a.dvc": b"just a name, but not one of them"})) / "a.dvc").exists()

    def test_other_bytes_in_the_remote_are_refused(self, repository, bring, remote):
        data = repository("data")
        pointer = remote.file("data.csv", TABLE)
        remote.keep(md5(TABLE), TABLE[::-1])
        commit = data.commit({".dvc/config": remote.config, "data.csv.dvc": pointer})
        with pytest.raises(ConfigError, match=r"data.csv.dvc: data.csv: .* gives other bytes than it names"):
            bring(data.url, commit)

    def test_what_was_not_pushed_is_named_with_the_remote(self, repository, bring, remote):
        data = repository("data")
        pointer = remote.file("data.csv", TABLE)
        remote.keep(md5(TABLE), TABLE).unlink()
        commit = data.commit({".dvc/config": remote.config, "data.csv.dvc": pointer})
        with pytest.raises(ConfigError, match=rf"data.csv.dvc: data.csv: {remote.folder} does not have it") as error:
            bring(data.url, commit)
        assert "`dvc push`" in error.value.hint

    @pytest.mark.parametrize(
        ("pointer", "said", "hint"),
        [
            ("deps:\n- path: /x\nfrozen: true\nouts:\n- md5: {md5}\n  path: a\n", "an import of DVC", "`dvc add` of a copy"),
            ("outs:\n- md5: {md5}\n  path: ../../a\n", "leads out of its folder", "unimportant"),
            ("outs:\n- md5: {md5}\n  path: /etc/passwd\n", "'/etc/passwd'", "unimportant"),
            ("outs:\n- md5: {md5}\n  path: .git/config\n", "lies in git's own folder", "unimportant"),
            ("outs:\n- etag: x\n  path: a\n", "is not named by an MD5", "DVC 3"),
            ("outs:\n- md5: {md5}\n  path: a\n  push: false\n", "is not pushed", "let DVC push it"),
            ("outs: [\n", "not YAML", "unimportant"),
            ("outs: 3\n", "its outs cannot be read", "unimportant"),
            ("outs:\n- md5: {md5}\n", "an output has no path", "unimportant"),
            ("outs: " + "[" * 5000, "not YAML", "unimportant"),
        ],
        ids=range(10),
    )  # fmt: skip
    def test_what_cannot_be_fetched_is_refused_in_words(self, repository, bring, remote, pointer, said, hint):
        data = repository("data")
        text = pointer.replace("{md5}", "c0" * 16).encode()
        with pytest.raises(ConfigError) as error:
            bring(data.url, data.commit({".dvc/config": remote.config, "x.dvc": text}))
        assert "[repositories] dataset: x.dvc: " in str(error.value)
        assert said in str(error.value)
        assert hint in error.value.hint

    @pytest.mark.parametrize(
        ("config", "said", "hint"),
        [
            (b"", "names no default remote", "`dvc remote default NAME`"),
            (b"[core]\nremote = r\n", "does not say where the remote 'r' is", "without --local"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = gs://b/x\n", "on Google Cloud Storage", "data_store"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = azure://b/x\n", "on Azure", "data_store"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = https://h/x\n", "on HTTP", "data_store"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = ../../store\n", "a relative folder", "data_store"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = /srv/elsewhere\n", "/srv/elsewhere, which the settings do not", "trusted"),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = s3://bkt/x\nendpointurl = http://h:9\n", "s3://bkt/x at http://h:9", '"h:9"'),
            (b"[core]\nremote = r\n['remote \"r\"']\nurl = s3://bkt/x\nversion_aware = true\n", "cloud versioning", "without it"),
            (b"no section", "no section headers", "unimportant"),
        ],
        ids=range(10),
    )  # fmt: skip
    def test_a_remote_that_cannot_be_used_is_refused_in_words(self, repository, bring, remote, config, said, hint):
        data = repository("data")
        pointer = remote.file("a.csv", TABLE)
        with pytest.raises(ConfigError) as error:
            bring(data.url, data.commit({".dvc/config": config, "a.csv.dvc": pointer}))
        assert "a.csv.dvc: .dvc/config" in str(error.value)
        assert said in str(error.value)
        assert hint in error.value.hint

    def test_a_hostile_list_of_a_directory_is_refused(self, repository, bring, remote):
        data = repository("data")
        commit = data.commit(
            {".dvc/config": remote.config, "x.dvc": remote.directory("x", {"../../evil": b"1", "a": b"2"})}
        )
        with pytest.raises(ConfigError, match=r"in x: '../../evil' leads out of its folder"):
            bring(data.url, commit)

    def test_more_than_the_pointer_says_is_not_read(self, repository, bring, remote):
        data = repository("data")
        pointer = remote.file("a.csv", TABLE).replace(b"size: %d" % len(TABLE), b"size: 10")
        with pytest.raises(ConfigError, match=r"a.csv: .* does not have it|other bytes"):
            bring(data.url, data.commit({".dvc/config": remote.config, "a.csv.dvc": pointer}))
