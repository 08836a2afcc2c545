"""What the model card says of the fence around the training."""

import pytest
from versions import candidate

from pipelines.report.model_card import _details
from registry import codec
from registry.records import Candidate


@pytest.mark.parametrize(
    ("unfenced", "row"),
    [
        ((), "| fence | complete |"),
        (
            ("signals", "TCP ports"),
            "| fence | incomplete: the kernel could not keep the training code from signals, TCP ports |",
        ),
        (None, "| fence | none: the training code could reach what its user could |"),
    ],
    ids=["complete", "incomplete", "none"],
)
def test_the_card_says_what_the_training_was_kept_from(unfenced, row):
    assert row in [*_details(candidate(unfenced=unfenced))]


def test_the_card_of_a_model_from_a_container_names_its_image_alone():
    rows = [*_details(candidate(image="sha256:1", unfenced=()))]
    assert "| container image | sha256:1 |" in rows
    assert not [row for row in rows if row.startswith("| fence")]


def test_a_manifest_of_an_earlier_version_has_no_fence_and_is_read():
    data = codec.to_json(candidate()).replace(b' "unfenced": null,\n', b"")
    assert b"unfenced" not in data
    assert codec.from_json(Candidate, data, "card.json").unfenced is None
