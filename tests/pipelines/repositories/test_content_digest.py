"""What the files of a commit come down to, without those that change no model."""

import pytest
from team import Team

from pipelines.config.schema import Repositories
from pipelines.repositories.git_cache import GitCache

UNIMPORTANT = Repositories("", "", "").unimportant


class TestTheFilesThatMatter:
    @pytest.fixture
    def content(self, tmp_path):
        """What one more commit of the code repository, with these files in it, comes down to."""
        (tmp_path / "team").mkdir()
        team = Team(tmp_path / "team")
        url, cache = str(tmp_path / "team/repositories/code.git"), GitCache(tmp_path / "cache")

        def content(files, unimportant=UNIMPORTANT):
            team.write("code", files)
            sha, _ = team.push("code")
            cache.fetch(url, sha, "code")
            return cache.history(url, sha).content_digest(sha, unimportant)

        content({"model.py": "1"})
        return content

    def test_are_the_same_after_an_empty_commit(self, content):
        assert content({}) == content({})

    @pytest.mark.parametrize(
        "name", ["README.md", "docs/more.md", "LICENSE", "docs/LICENSE", ".gitignore", ".github/ci.yml"]
    )
    def test_do_not_include_what_is_unimportant(self, content, name):
        assert content({}) == content({name: "new"})

    @pytest.mark.parametrize("name", ["model.py", "requirements.txt", "LICENSE/model.py", "md", "größe.py"])
    def test_include_every_other_file(self, content, name):
        assert content({}) != content({name: "new"})

    def test_have_names(self, content):
        assert content({"a.py": "same"}) != content({"a.py": None, "b.py": "same"})

    def test_are_what_the_team_says(self, content):
        mine = ("notes/*",)
        assert content({}, mine) == content({"notes/a.txt": "new"}, mine)
        assert content({}, mine) != content({"README.md": "new"}, mine)
