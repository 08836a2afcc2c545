"""`[[gate.rule]]` and `[gate.costs]`: read by their types, checked against the table of metrics."""

from dataclasses import replace

import pytest

from pipelines.config.load import load_config
from pipelines.config.schema import Config, Repositories
from registry.errors import ConfigError
from registry.records import Policy, Rule

FILE = '{before}model = "birds"\n[repositories]\ncode = "a"\ndataset = "b"\ntests = "c"\n[gate]\n{gate}'
SCRIPT = '\n[training]\ncommand = ["python", "train.py"]'


@pytest.fixture
def read(tmp_path):
    def load(gate, environment=None):
        path = tmp_path / "trainyard.toml"
        path.write_text(FILE.format(before="", gate=gate), encoding="utf-8")
        return load_config(path, environment or {}).gate

    return load


def test_rules_and_costs_are_read(read):
    gate = read("""
metric = "f_beta"
beta = 2
positive = "owl"
[[gate.rule]]
metric = "recall"
positive = "dog \\"b\\""
min = 1
max_drop = 0.1
[[gate.rule]]
metric = "cost"
max = 2.5
[gate.costs."dog \\"b\\""]
owl = 5
[gate.costs.owl]
cat = -0.5
""")
    assert gate.rule == (Rule("recall", 1.0, None, 0.1, 'dog "b"'), Rule("cost", max=2.5))
    assert gate.costs == {'dog "b"': {"owl": 5.0}, "owl": {"cat": -0.5}}
    assert gate.measure == 'f_beta(beta=2, positive="owl")'
    assert gate.more == ('recall(positive="dog \\"b\\"")', "cost")


def test_a_rule_may_name_what_the_team_measures(read):
    gate = read(
        """
[[gate.rule]]
metric = "own:profit"
better = "more"
min = -5
[[gate.rule]]
metric = "script:val AUC"
better = "less"
max = 1e9
"""
        + SCRIPT
    )
    assert gate.rule == (Rule("own:profit", -5.0, better="more"), Rule("script:val AUC", max=1e9, better="less"))
    assert gate.own == ('own:profit(better="more")',)
    assert gate.said == ('script:val AUC(better="less")',)
    assert gate.more == ()


def test_the_environment_has_them_as_json(read):
    assert read("", {"TRAINYARD_GATE_RULE": '[{"metric": "mcc", "min": 0.5}]'}).rule == (Rule("mcc", 0.5),)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ('metric = "top k"', "gate.metric: 'top k' is not one of accuracy"),
        ('metric = "own:profit"', "gate.metric: 'own:profit' is for a [[gate.rule]]: training aims at gate.metric"),
        ('[[gate.rule]]\nmetric = "own:profit"', "gate.rule 1: own:profit needs better"),
        ('[[gate.rule]]\nmetric = "own:profit"\nbetter = "higher"', 'better is "more" or "less", not \'higher\''),
        ('[[gate.rule]]\nmetric = "own:net profit"\nbetter = "more"', "'net profit' is not the name of a function"),
        ('[[gate.rule]]\nmetric = "own:profit"\nbetter = "more"\nk = 2', "gate.rule 1: own:profit takes no k"),
        ('[[gate.rule]]\nmetric = "script:"\nbetter = "more"', "'script:(better="),
        ('[[gate.rule]]\nmetric = "script:auc"\nbetter = "more"', "and training.command names no script"),
        ('[[gate.rule]]\nmetric = "mcc"\nbetter = "more"', "gate.rule 1: mcc takes no better"),
        ('[[gate.rule]]\nmetric = "luck"', "gate.rule 1: 'luck' is not one of accuracy"),
        ("[[gate.rule]]\nmin = 1", "gate.rule: 1: metric is missing"),
        ('[[gate.rule]]\nmetric = "mcc"\nmim = 0.5', "gate.rule: 1: 'mim' is unknown; known: metric, min, max, max_drop"),
        ('[[gate.rule]]\nmetric = "mcc"\nmin = "a"', "gate.rule: 1: min: 'a' is not a number"),
        ('[[gate.rule]]\nmetric = "mcc"\nmin = nan', "gate.rule: 1: min: nan is not a finite number"),
        ('[[gate.rule]]\nmetric = "mcc"\nmin = true', "gate.rule: 1: min: True is not a number"),
        ('[[gate.rule]]\nmetric = "top_k"\nk = 2.5', "gate.rule: 1: k: 2.5 is not a whole number"),
        ('[[gate.rule]]\nmetric = "top_k"', "gate.rule 1: top_k needs k"),
        ('[[gate.rule]]\nmetric = "top_k"\nk = 0', "gate.rule 1: k 0 is not between 1 and 1e+06"),
        ('[[gate.rule]]\nmetric = "mcc"\n[[gate.rule]]\nmetric = "mcc"\nmin = 2', "gate.rule 2: min: 2 is impossible for mcc"),
        ('[[gate.rule]]\nmetric = "mcc"\nmin = 0.5\nmax = 0.4', "gate.rule 1: min 0.5 is over max 0.4"),
        ('[[gate.rule]]\nmetric = "mcc"\nmax_drop = -0.5', "gate.rule 1: max_drop: -0.5 is negative"),
        ("rule = 5", "gate.rule: 5 is not a list of at most 10000"),
        ("rule = [5]", "gate.rule: 1: 5 is not a table"),
        ("beta = 2", "gate.metric: accuracy takes no beta"),
        ('metric = "f_beta"', "gate.metric: f_beta needs beta"),
        ("quantile = 2", "gate.quantile: 2 is not between 0.001 and 0.999"),
        ("costs = 5", "gate.costs: 5 is not a table of at most 10000 names"),
        ("[gate.costs]\na = 5", "gate.costs: 'a': 5 is not a table of at most 10000 names"),
        ("[gate.costs.a]\nb = inf", "gate.costs: 'a': 'b': inf is not a finite number"),
        ("[gate.costs.a]\nb = 1", 'gate.costs: nothing reads it: set gate.metric = "cost"'),
        ("slice_floor = 0.5", "gate.slice_floor and gate.slice_max_drop: there is no slice"),
        ("[gate.slices]\na = 5", "gate.slices: 'a': 5 is not a list"),
        ("[gate.slices]\na = []", "gate.slices: a: names no value"),
        ('slice_floors = {"a=2" = 0.5}\n[gate.slices]\na = ["1"]', "gate.slice_floors: 'a=2' is not one of 'a=1'"),
        ('slice_floor = 2\n[gate.slices]\na = ["1"]', "gate.slice_floor: 2 is impossible for accuracy"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(read, gate, words):
    with pytest.raises(ConfigError) as error:
        read(gate)
    assert words in str(error.value)


def test_more_rules_than_anybody_reads_are_refused(read):
    assert len(read('[[gate.rule]]\nmetric = "mcc"\n' * 100).rule) == 100
    with pytest.raises(ConfigError, match="101 rules are too many"):
        read('[[gate.rule]]\nmetric = "mcc"\n' * 101)


def test_a_gate_without_them_leaves_the_ids_of_runs_as_they_were():
    good = Config("birds", Repositories("a", "b", "c"))
    assert set(good.outcome_settings["gate"]) == {"metric", "threshold", "class_floor", "min_samples", "max_drop"}
    ruled = replace(good, gate=Policy(rule=(Rule("mcc"),))).outcome_settings["gate"]
    assert ruled["rule"][0]["metric"] == "mcc"
