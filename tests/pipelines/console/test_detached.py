"""What the console starts is started as itself was, and outlives it."""

import os

from pipelines.config import held
from pipelines.console.detached import detached


def test_it_has_the_secrets_that_were_taken_out_of_our_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(held, "_held", {"TRAINYARD_MAIL_PASSWORD": "s3cret"})
    monkeypatch.delenv("TRAINYARD_MAIL_PASSWORD", raising=False)
    script = 'echo $TRAINYARD_MAIL_PASSWORD; pwd; cut -d" " -f6 /proc/$$/stat'
    with (tmp_path / "output").open("wb") as output:
        process = detached(["sh", "-c", script], output, folder=tmp_path)
        assert process.wait(30) == 0
    secret, folder, session = (tmp_path / "output").read_text().split()
    assert (secret, folder) == ("s3cret", str(tmp_path))
    assert int(session) != os.getsid(0)
