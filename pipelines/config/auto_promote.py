"""What `[monitoring] auto_promote = true` agrees with: it lets a machine decide what is released, so nothing else may demand a person."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config.schema import Config


def problems(config: Config) -> Iterator[str]:
    """Every setting that it contradicts, with what helps."""
    if not config.monitoring.auto_promote:
        return
    if config.monitoring.on_alarm != "retrain":
        yield (
            'monitoring.auto_promote: needs monitoring.on_alarm = "retrain": what is promoted is what a retraining by the '
            "monitor has made"
        )
    if not config.gate.recent:
        yield (
            "monitoring.auto_promote: needs gate.recent = true: only then is a version compared with the live release on what "
            "production sees"
        )
    for each in config.approval.asks_for_people:
        yield f"monitoring.auto_promote: {each} demands people, and the monitor is not one: remove one of the two"
    if config.serving.deploy == "jenkins":
        yield (
            'monitoring.auto_promote: with serving.deploy = "jenkins" the promotion job records who has approved, which is '
            "a login: remove one of the two"
        )
    if config.jenkins.url and config.schedule.monitor:
        yield (
            "monitoring.auto_promote: with jenkins.url and schedule.monitor the monitor is a job of Jenkins, which "
            "does not wait for the retraining: run `trainyard monitor` without schedule.monitor, or remove auto_promote"
        )
