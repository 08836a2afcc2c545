"""From a prediction log that an API's writer wrote to a mail: the worker, the decisions, the page."""

from datetime import datetime
from email import message_from_bytes, policy

from monitor_parts import config
from watched_parts import HOURS_AGO, MINUTE, Pets, answered, job, monitored, pet_model, utc, write_log

from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.windows import run_worker


def test_ages_that_have_moved_are_found_mailed_and_drawn(tmp_path):
    model = pet_model()
    moved = [0.9 if minute >= 45 else 0.0 for minute in range(90)]
    answers = [
        answered(model, Pets(20, minute, shift=shift), HOURS_AGO + minute * MINUTE, f"r-{minute}")
        for minute, shift in enumerate(moved)
    ]
    write_log(tmp_path / "log", answers)
    release = monitored(tmp_path, reference=Pets(4000, 1000).reference())

    def look(_config, positions, _until, _since):
        begin = datetime.fromisoformat(max(positions.values(), default=utc(HOURS_AGO)))
        return run_worker(job(tmp_path, [release], begin.timestamp(), HOURS_AGO + 90 * MINUTE))

    settings = config(tmp_path)
    outcome = monitor_once(settings, look)
    assert outcome.exit_code == 3
    assert len(outcome.found) == 6
    assert [each.alarm.cause for each in outcome.raised] == ["drift inputs.age"]
    (mail,) = (tmp_path / "home" / "outbox" / "pending").iterdir()
    message = message_from_bytes(mail.read_bytes().split(b"\r\n", 1)[1], policy=policy.default)
    assert message["Subject"] == "[digits] ALARM: drift of inputs.age: distribution"
    assert "the median was" in message.get_body(("plain",)).get_content()
    report = MonitorStore(settings).folder / "report"
    assert "inputs.age" in (report / "index.html").read_text()
    assert len(list((report / "columns").iterdir())) == 8
    again = monitor_once(settings, look)
    assert (again.found, again.exit_code, len(list(mail.parent.iterdir()))) == ((), 3, 1)
