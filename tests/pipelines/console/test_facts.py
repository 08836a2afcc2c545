"""What the console's pages show: rules over what was read, and facts that are kept no longer than they are true."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monitor_parts import at, decay, drift
from promotion_parts import MODEL, Project
from versions import approval_draft, release_draft

from pipelines.console.facts import history, production
from pipelines.console.facts.cache import Cache, tag_of
from pipelines.console.facts.history import History, Version
from pipelines.console.facts.kpis import kpis
from pipelines.console.facts.models import Found, quality, span, state, summary, worst_first
from pipelines.console.facts.production import Api, Watched
from pipelines.console.facts.timeline import timeline, ways_back
from pipelines.console.installation import Place
from pipelines.monitor.trend import Point
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec, releases
from registry.errors import PipelineError
from registry.records import Run
from registry.records.monitoring import Alarm, Health, Window

NOW = at(30)
KINDS = {"P": "promotion", "B": "rollback", "R": "revert", "W": "withdrawal", "D": "demotion"}


def history_of(text):
    """`P1 B2 D`: releases as in test_undo.py; each promotion has an approval of its own, by Ada."""
    made, given = [], []
    for number, word in enumerate(text.split(), 1):
        version = int(word[1:]) if word[1:] else None
        approval = None
        if word[0] == "P":
            approval = len(given) + 1
            given.append(replace(approval_draft(MODEL, version, f"card{version}", f"t{number}"), number=approval))
        draft = release_draft(
            MODEL, version, f"card{version}" if version else "", kind=KINDS[word[0]], approval=approval
        )
        made.append(replace(draft, number=number))
    return History(tuple(made), tuple(given))


def version(number=1, value=0.9, metric="accuracy"):
    return Version(number, "card", NOW, "trained", "", "run", True, metric, value, 400, f"{metric} {value}", (), None)


def point(number, release=1, **fields):
    return Point(at(number), release, 400, 40, 0, "accuracy", **{"since": at(number - 1)} | fields)


def found(
    known=None, *, points=(), alarms=(), newest=None, here=False, processes=0, ready=0, problem="", looked=NOW, **more
):
    known = history_of("P1") if known is None else known
    watched = Watched(
        tuple(points), tuple(alarms), frozenset(more.pop("silenced", ())), newest, looked if newest else ""
    )
    return Found(known, version() if known.live else None, watched, Api(here, processes, ready, problem), **more)


def health(*checks):
    return Health(Window(MODEL, 1, 1, at(28), at(29), 400), checks, at(29))


def alarm(check):
    return Alarm(check.cause, MODEL, 1, 1, at(20), at(21), check)


# --- how a model does --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "level", "said"),
    [
        (found(newest=health(decay())), "good", ""),
        (found(newest=health(decay()), alarms=[alarm(drift())]), "bad", "Drift of inputs.mass: distribution."),
        (found(newest=health(decay()), alarms=[alarm(drift())], silenced=["drift inputs.mass"]), "warn", "Silenced."),
        (found(newest=health(drift(), decay())), "warn", "failed in the newest window; no alarm yet"),
        (found(newest=health(decay()), here=True), "warn", "does not run on this machine"),
        (found(newest=health(decay()), here=True, processes=2, ready=2), "good", ""),
        (found(newest=health(decay()), here=True, processes=2, ready=1, problem="x"), "bad", "1 of 2 server processes"),
        (found(newest=health(decay()), looked="2020-01-01T00:00:00Z"), "warn", "The monitor was last here"),
        (found(), "plain", "Nobody looks at its answers yet"),
        (found(history_of("P1 D")), "plain", "Nothing is live."),
        (found(History()), "plain", "Nothing was released yet."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model_is_said_with_every_reason(given_, level, said):
    seen = state(given_, NOW)
    assert seen.level == level
    assert said in " ".join(seen.reasons)


def test_what_is_wrong_comes_first_then_what_waits_then_the_name():
    models = [summary(name, each, NOW) for name, each in (
        ("b", found(newest=health(decay()))), ("a", found()), ("d", found(newest=health(decay()), labels=3)),
        ("c", found(alarms=[alarm(drift())], newest=health(drift()))),
    )]  # fmt: skip
    assert [each.name for each in worst_first(models)] == ["c", "d", "b", "a"]


def test_labels_say_more_of_quality_than_an_estimate_and_only_of_what_is_live():
    old, guessed = point(1, now=0.5, low=0.4, high=0.6), point(2, estimated=0.8, estimated_low=0.7, estimated_high=0.9)
    assert (quality(version(), [old, guessed]).now, quality(version(), [guessed]).how) == (0.8, "estimated")
    assert quality(version(), [guessed, old]).how == "by labels"
    assert math.isnan(summary(MODEL, found(points=[replace(old, release=7)]), NOW).quality.now)
    then = quality(version(), [])
    assert then.then_low == pytest.approx(0.8667, abs=1e-3)  # Wilson, 360 of 400
    assert math.isnan(quality(version(metric="mae", value=3.0), [guessed]).now)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "less than a minute"), (61, "1 minute"), (3600, "1 hour"), (86400, "24 hours"), (3 * 86400, "3 days")],
)
def test_a_span_is_said_in_the_unit_that_says_most(seconds, said):
    start = "2026-11-30T00:00:00Z"
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1796_000_000 + seconds))
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1796_000_000))
    assert span(start, end) == said


# --- releases as a story -----------------------------------------------------------------------------------------------


def test_the_story_names_who_approved_and_what_failed():
    story = timeline(history_of("P1 P2 R1 B1 D"))
    assert [(each.number, each.kind) for each in story] == [
        (5, "demotion"), (4, "rollback"), (3, "automatic revert"), (2, "failed"), (1, "promotion"),
    ]  # fmt: skip
    assert story[-1].approved_by == ("ada",)
    assert story[3].title == "Version 2 was released, but it could not be deployed"
    assert story[0].until == ""


@pytest.mark.parametrize(
    ("made", "ways"),
    [("P1 P2 P3", [2, 1]), ("P1 P2 B1", [2]), ("P1 P2 D", [2, 1]), ("P1", []), ("P1 B7 P2", [1]), ("", [])],
    ids=["earlier ones", "not the live one", "what was demoted", "none", "nobody has approved it", "no release"],
)
def test_one_can_go_back_to_what_people_have_approved(made, ways):
    assert list(ways_back(history_of(made))) == ways


# --- over time ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=60), st.integers(1, 20))
def test_few_points_hold_all_windows_and_mix_no_releases(windows, most):
    points = [replace(point(number + 1, release), rows=rows) for number, (release, rows) in enumerate(windows)]
    shown = kpis(points, "all", most)
    runs = sum(
        1 for one, other in zip(points, [None, *points], strict=False) if not other or one.release != other.release
    )
    assert len(shown) <= most
    if runs <= most:
        assert sum(each.rows for each in shown) == sum(each.rows for each in points)
    assert [each.until for each in shown] == sorted(each.until for each in shown)


def test_a_day_is_not_a_week():
    points = [point(1, now=0.9), replace(point(2), until="2020-01-01T00:00:00Z")][::-1]
    assert len(kpis(points, "day")) == 1
    assert len(kpis(points, "all")) == 2


# --- what is kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def place_of(project):
    place = Place(MODEL, project.config)
    place._opened.store = project.store
    return place


STEPS = st.lists(st.sampled_from(["publish", "release", "release", "withdraw", "test"]), max_size=5)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_what_is_kept_is_what_is_read_anew(tmp_path_factory, steps):
    """Whatever happens between two pages, in whichever order."""
    project = Project(tmp_path_factory.mktemp("kept"))
    place, kept = place_of(project), Cache()
    for step in ["publish", *steps]:
        if step == "publish":
            project.publish(tests=())
        newest = candidates.newest(project.store, MODEL)
        if step == "test":
            project.test_again(newest)
        if step == "release" and newest not in project.history:
            project.release_by_hand(newest)
        if step == "withdraw" and releases.latest(project.store, MODEL):
            last = releases.latest(project.store, MODEL).number
            releases.append_release(project.store, release_draft(MODEL, None), last)
        for read in (
            history.history,
            lambda cache, place: history.waiting(cache, place, history.history(cache, place)),
        ):
            assert read(kept, place) == read(Cache(), place)


def test_a_registry_that_was_set_back_or_altered_is_read_anew(project):
    place, kept = place_of(project), Cache()
    for _ in range(3):
        project.release_by_hand(project.publish())
    assert len(history.history(kept, place).releases) == 3
    chain = project.folder / "registry/production" / MODEL / "releases"
    (chain / "000003.json").unlink()
    assert len(history.history(kept, place).releases) == 2
    (chain / "000002.json").chmod(0o644)
    (chain / "000002.json").write_bytes(
        (chain / "000002.json").read_bytes().replace(b'"by": "a test"', b'"by": "nobody"')
    )
    with pytest.raises(PipelineError):
        history.history(kept, place)


def test_only_versions_that_may_be_promoted_wait(project):
    place = place_of(project)
    project.release_by_hand(project.publish())
    for fields in ({"gate": ("too bad",)}, {"tests": (("it failed",),)}, {"tests": ()}, {}):
        project.publish(**fields)
    assert [each.number for each in history.waiting(Cache(), place, history.history(Cache(), place))] == [5]


def test_a_file_that_has_just_changed_has_no_tag(tmp_path):
    file = tmp_path / "state.json"
    assert tag_of(file) == ("absent",)
    file.write_text("1")
    assert tag_of(file) is None
    old = time.time() - 10
    os.utime(file, (old, old))
    assert tag_of(file) is None  # when it was changed last, the kernel knows
    assert tag_of(tmp_path / "nothing", tmp_path / "state.json" / "x") == ("absent", "absent")


def test_the_cache_is_bounded_and_keeps_what_is_asked_for():
    kept, made = Cache(most=2), []
    for key in "abaca":
        kept.get(key, 1, lambda key=key: made.append(key) or key)
    assert (len(kept), made) == (2, ["a", "b", "c"])
    assert kept.get("a", 2, lambda: "anew") == "anew"
    assert [kept.get("n", None, lambda: made.append("n")) for _ in range(2)] == [None, None]
    assert made[-2:] == ["n", "n"]


def test_a_run_at_work_is_shown_and_one_that_has_ended_is_not(project):
    for name, steps in (("one", ("resolve",)), ("two", ("resolve", "accept", "notify"))):
        folder = RunFolder(project.config.runs / name)
        folder.root.mkdir(parents=True)
        codec.save(Run(name, MODEL, "code", project_sources(), "", None, None, NOW), folder.root / "run.json")
        for step in steps:
            folder.keep(StepRecord(step, "done", "", NOW, 1.0))
    kept = Cache()
    assert production.runs_at_work(kept, project.config) == ()
    with RunFolder(project.config.runs / "one").locked():
        (run,) = production.runs_at_work(kept, project.config)
    assert (run.id, run.step) == ("one", "resolve")
    (project.config.runs / "damaged").mkdir()
    (project.config.runs / "damaged" / "run.json").write_text("{")
    assert production.runs_at_work(kept, project.config) == ()


def project_sources():
    from versions import SOURCES

    return SOURCES
