"""What the value of a setting must be, and on what settings must agree."""

import base64
from dataclasses import replace

import pytest

from pipelines.config.agreement import disagreements
from pipelines.config.bounds import Between
from pipelines.config.check import Setting, sections, settings, unknown
from pipelines.config.schema import (
    ApprovalPolicy,
    Config,
    JenkinsServer,
    Mail,
    Monitoring,
    PredictionLog,
    Repositories,
    Schedule,
    Serving,
    Tracking,
)
from registry.records import Policy

GOOD = Config("digits", Repositories("a", "b", "c"))
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()


def problems(**changes):
    return list(disagreements(replace(GOOD, **changes)))


def refused(setting, value):
    with pytest.raises(ValueError, match=" is not ") as error:
        setting.read(value)
    return str(error.value)


def test_a_setting_is_optional_and_no_list_unless_it_says_so():
    assert (Setting(str).required, Setting(str).one_or_more) == (False, False)
    assert refused(Setting(tuple), "a") == "'a' is not a list of texts"
    assert Setting(tuple, one_or_more=True).read("a") == ("a",)
    assert Setting(tuple, one_or_more=True).read(["a", "b"]) == ("a", "b")
    assert refused(Setting(tuple, one_or_more=True), ["a", 1]) == "['a', 1] is not a list of texts"
    assert refused(Setting(tuple, one_or_more=True), 1) == "1 is not a list of texts"


def test_a_choice_is_one_of_those_that_there_are():
    assert Setting(str, ("a", "b")).read("b") == "b"
    assert refused(Setting(str, ("a", "b")), "c") == "'c' is not one of 'a', 'b'"


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (str, 1, "1 is not a text"),
        (int, 1.0, "1.0 is not a whole number"),
        (int, True, "True is not a whole number"),
        (float, "1", "'1' is not a number"),
        (float, True, "True is not a number"),
        (bool, 1, "1 is not true or false"),
    ],
)
def test_a_value_of_another_type_is_refused(kind, value, words):
    assert refused(Setting(kind), value) == words


def test_a_whole_number_is_a_number_and_a_number_stays_of_its_kind():
    assert type(Setting(float).read(1)) is float
    assert type(Setting(int).read(1)) is int
    assert Setting(bool).read(False) is False


def test_bounds_are_inclusive():
    bounded = Setting(float, bounds=Between(0.5, 2))
    assert (bounded.read(0.5), bounded.read(2)) == (0.5, 2.0)
    for value in (0.25, 2.5):
        assert refused(bounded, value) == f"{value} is not between 0.5 and 2"


def test_settings_are_named_by_section_and_those_of_no_section_stand_alone():
    assert {"model", "home", "gate.threshold", "mail.to"} <= settings().keys()
    assert not {"file", "gate", "repositories"} & settings().keys()
    assert "model" not in sections()
    assert [name for name, each in settings().items() if each.required] == [
        "model",
        "repositories.code",
        "repositories.dataset",
        "repositories.tests",
    ]


def test_type_choices_and_bounds_are_those_of_the_schema():
    assert settings()["gate.class_floor"] == Setting(float, bounds=Between(0, 1))
    assert settings()["gate.min_samples"] == Setting(int, bounds=Between(1, 10**9))
    assert settings()["serving.port"] == Setting(int, bounds=Between(0, 65_535))
    assert settings()["mail.to"] == Setting(tuple, one_or_more=True)
    assert settings()["training.command"] == Setting(tuple)
    assert settings()["mail.security"] == Setting(str, ("starttls", "smtps", "none"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hoem", ", did you mean home?"),
        ("servin", ", did you mean serving?"),
        ("gate.treshold", ", did you mean gate.threshold?"),
        ("gate.port", ""),
        ("gate.servin", ""),
        ("gate.qqqqqq", ""),
        ("treshold", ""),
        ("qqqqqq", ""),
        ("serving.go_live", ""),
    ],
)
def test_the_setting_that_was_probably_meant_is_one_of_the_same_section(name, meant):
    assert unknown(name) == f"{name}: unknown setting{meant}"


@pytest.mark.parametrize("model", ["a", "7", "a-b", "a_b", "a" * 64])
def test_a_model_may_have_a_name_of_letters_digits_and_dashes(model):
    assert problems(model=model) == []


@pytest.mark.parametrize("model", ["", "-a", "_a", "a.b", "a/b", "a b", "a" * 65, "-"])
def test_a_model_may_have_no_other_name(model):
    (problem,) = problems(model=model)
    assert problem.startswith(f"model: {model!r} may hold letters")


@pytest.mark.parametrize("name", ["code", "dataset", "tests", "branch"])
def test_no_repository_and_no_branch_is_empty(name):
    assert problems(repositories=replace(GOOD.repositories, **{name: ""})) == [f"repositories.{name}: empty"]


def test_the_gate_knows_its_metric():
    assert problems(gate=replace(GOOD.gate, metric="r2")) == []
    (problem,) = problems(gate=replace(GOOD.gate, metric="r3"))
    assert problem.startswith("gate.metric: 'r3' is not one of accuracy")


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "::1", "mail.example.org"])
@pytest.mark.parametrize("security", ["none", "starttls"])
def test_mail_without_tls_goes_to_this_machine_only(host, security):
    found = problems(mail=Mail(host=host, security=security))
    if host == "mail.example.org" and security == "none":
        assert found == ['mail.security: "none" is for a server on this machine only']
    else:
        assert found == []


@pytest.mark.parametrize(("certfile", "keyfile"), [("", ""), ("a", "b"), ("a", ""), ("", "b")])
def test_tls_has_a_certificate_and_its_key(certfile, keyfile):
    found = problems(serving=Serving(certfile=certfile, keyfile=keyfile))
    both = bool(certfile) == bool(keyfile)
    assert found == ([] if both else ["serving.certfile and serving.keyfile: TLS needs both"])


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ({"grpc_port": 8500}, ["serving.grpc_port: 8500 is serving.port already"]),
        ({"grpc_port": 9000, "admin_port": 9000}, ["serving.grpc_port: 9000 is serving.admin_port already"]),
        ({"grpc_port": 8502}, []),
        ({"port": 0}, []),
    ],
)
def test_grpc_has_a_port_of_its_own(ports, said):
    assert problems(serving=Serving(**ports)) == said


def test_origins_hosts_and_proxies_are_refused_one_by_one():
    good = Serving(
        cors_origins=("https://shop.example", "http://localhost:3000", "https://[::1]:8443"),
        allowed_hosts=("api.example", "10.0.0.7", "::1"),
        trusted_proxies=("10.0.0.7", "10.0.0.0/8", "::1"),
    )
    assert problems(serving=good) == []
    bad = Serving(cors_origins=("*", "https://a/"), allowed_hosts=("a:1", ""), trusted_proxies=("a", "10.0.0.7/8"))
    found = problems(serving=bad)
    assert [each.partition(":")[0] for each in found] == [
        *["serving.trusted_proxies"] * 2,
        *["serving.cors_origins"] * 2,
        *["serving.allowed_hosts"] * 2,
    ]


@pytest.mark.parametrize("entry", ["", " ", "a\tb", "a\nb", "\x1b[2J"])
def test_an_approver_has_a_name_in_one_line(entry):
    (problem,) = problems(approval=ApprovalPolicy(approvers=(entry,)))
    assert problem == f"approval.approvers: {entry!r} is neither a name nor a public key"


@pytest.mark.parametrize(
    "entry", ["ssh-rsa AAAA", "ecdsa-sha2-nistp256 AAAA", "sk-ssh-ed25519@openssh.com A", "-----BEGIN"]
)
def test_a_key_of_another_kind_is_no_approver(entry):
    (problem,) = problems(approval=ApprovalPolicy(approvers=(entry,)))
    assert problem.startswith(f"approval.approvers: {entry!r} is not an Ed25519 public key")


def test_names_and_ed25519_keys_are_approvers():
    assert problems(approval=ApprovalPolicy(approvers=("Ada <ada@example.org>", f"{KEY} ada", KEY))) == []


@pytest.mark.parametrize(
    ("listed", "needed", "enough"), [(0, 2, True), (1, 2, False), (2, 2, True), (3, 2, True), (1, 1, True)]
)
def test_not_more_people_must_approve_than_are_listed(listed, needed, enough):
    policy = ApprovalPolicy(approvers=("ada", "ben", "eve")[:listed], needed=needed)
    said = f"approval.needed: {needed} people, but approval.approvers lists {listed}"
    assert problems(approval=policy) == ([] if enough else [said])


@pytest.mark.parametrize(
    "text",
    [
        "a@x, b@x",
        "a@x,b@x",
        "a@x;b@x",
        "a@x b@x",
        "ada",
        "ada@",
        "@x",
        "",
        "<a@x>",
        "jürgen@b.example",
        "a..b@x",
        "a@b\n",
    ],
)
def test_what_is_not_one_mail_address_is_reported_before_a_mail_is_to_be_written(text):
    (said,) = problems(mail=Mail(to=(text,)))
    assert said.startswith(f"mail.to: {text!r} is not a mail address")
    assert 'as a list: ["ada@…", "bo@…"]' in said
    (said,) = problems(mail=Mail(sender=text))
    assert said.startswith("mail.sender: ")


def test_a_mail_without_a_recipient_is_reported():
    assert problems(mail=Mail(to=())) == ["mail.to: empty: nobody would be asked to approve"]


@pytest.mark.parametrize(
    "text", ["ada@company.example", "a@localhost", "Ada <a@x>", '"Ada, L." <a@x>', "Jürgen <j+ci@b.example>"]
)
def test_addresses_with_and_without_a_name_are_taken(text):
    assert not problems(mail=Mail(to=(text, "b@x"), sender=text))


@pytest.mark.parametrize(
    ("each", "good"),
    [
        ("git.example.org", True), ("git.example.org:8443", True), ("[::1]:8443", True), ("/srv/shared", True),
        ("s3://bucket/folder", True),
        ("https://git.example.org", False), ("shared/folder", False), ("s3://Bucket", False), ("a b", False), ("", False),
    ],
)  # fmt: skip
def test_a_place_that_may_be_fetched_from_is_a_host_an_absolute_folder_or_a_bucket(each, good):
    found = problems(repositories=replace(GOOD.repositories, trusted=("git.example.org", each)))
    assert [each.partition(":")[0] for each in found] == ([] if good else ["repositories.trusted"])


@pytest.mark.parametrize(
    ("store", "good"),
    [
        ("", True), ("s3://bucket/prefix", True), ("s3://bucket", True), ("file:///srv/data", True), ("data", True),
        ("https://example.org/data", False), ("s3://Bucket", False), ("a\nb", False),
    ],
)  # fmt: skip
def test_a_store_of_data_is_a_bucket_or_a_folder(store, good):
    found = problems(repositories=replace(GOOD.repositories, data_store=store))
    assert [each.partition(":")[0] for each in found] == ([] if good else ["repositories.data_store"])


def test_who_gets_the_mail_may_be_several_and_who_sends_it_is_one():
    mail = problems(mail=Mail(to=("nobody",), sender="nobody"))
    assert ["several as a list" in each for each in mail if "not a mail address" in each] == [True, False]


@pytest.mark.parametrize(("threshold", "good"), [(0.0, True), (2.0, True), (-0.1, False), (2.1, False)])
def test_a_brier_score_is_between_0_and_2(threshold, good):
    assert (not problems(gate=replace(GOOD.gate, metric="brier", threshold=threshold))) == good


@pytest.mark.parametrize("name", ["mlflow", "openlineage"])
def test_no_password_is_in_the_address_of_another_tool(name):
    (problem,) = problems(tracking=Tracking(**{name: "https://me:secret@tools.example.org"}))
    assert problem.startswith(f"tracking.{name}: holds a user name or a password")
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        (
            {"mlflow": "mlflow.example.org"},
            "tracking.mlflow: 'mlflow.example.org' does not begin with http:// or https://",
        ),
        (
            {"openlineage": "s3://bucket/x"},
            "tracking.openlineage: 's3://bucket/x' is neither an http(s) address nor a file",
        ),
        ({"experiment": "a\nb"}, "tracking.experiment: a name in one line, of at most 250 characters"),
    ],
)
def test_where_other_tools_are_is_an_address_or_a_file(settings_, says):
    assert problems(tracking=Tracking(**settings_)) == [says]


@pytest.mark.parametrize("address", ["http://", "https://:8443/x", "http://host:99999/x", "http://[::1/x"])
def test_an_address_without_a_server_is_not_one(address):
    said = f"{address!r} has no host, or a port that cannot be"
    assert problems(monitoring=Monitoring(webhook=address)) == [f"monitoring.webhook: {said}"]
    log = PredictionLog(enabled=True, sink="http", url=address)
    assert problems(prediction_log=log) == [f"prediction_log.url: {said}"]


def test_addresses_and_files_of_other_tools_are_fine():
    assert problems(tracking=Tracking("http://127.0.0.1:5000", "All models", "https://lineage.example.org")) == []
    assert problems(tracking=Tracking(openlineage="/var/log/lineage.jsonl")) == []


def test_a_comparison_on_recent_predictions_needs_the_log_of_them():
    (problem,) = problems(gate=Policy(recent=True))
    assert problem == "gate.recent: compares on predictions that the API has kept: set prediction_log.enabled = true"
    assert not problems(gate=Policy(recent=True), prediction_log=PredictionLog(enabled=True))


AUTO = {
    "monitoring": Monitoring(on_alarm="retrain", auto_promote=True),
    "gate": Policy(recent=True),
    "prediction_log": PredictionLog(enabled=True),
}


def test_a_machine_promotes_where_the_settings_say_so_in_so_many_words():
    assert problems(**AUTO) == []
    assert not Monitoring().auto_promote


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"monitoring": Monitoring(auto_promote=True)}, 'monitoring.on_alarm = "retrain"'),
        ({"gate": Policy()}, "gate.recent = true"),
        ({"approval": ApprovalPolicy(approvers=("ada",))}, "[approval] approvers demands people"),
        ({"approval": ApprovalPolicy(needed=2)}, "[approval] needed = 2 demands people"),
        (
            {"approval": ApprovalPolicy(author_may_approve=False)},
            "[approval] author_may_approve = false demands people",
        ),
        ({"serving": Serving(deploy="jenkins")}, 'serving.deploy = "jenkins"'),
        (
            {"jenkins": JenkinsServer(url="https://jenkins.example"), "schedule": Schedule(monitor="0 * * * *")},
            "jenkins.url and schedule.monitor",
        ),
    ],
)
def test_and_not_beside_a_setting_that_demands_a_person(other, names):
    (problem,) = problems(**AUTO | other)
    assert problem.startswith("monitoring.auto_promote: ")
    assert names in problem


def test_a_setting_that_is_off_leaves_the_ids_of_runs_as_they_were():
    """They are hashes of these settings: with one more, every push would be run again after an update."""
    assert "recent" not in GOOD.outcome_settings["gate"]
    assert replace(GOOD, gate=Policy(recent=True)).outcome_settings["gate"]["recent"] is True
