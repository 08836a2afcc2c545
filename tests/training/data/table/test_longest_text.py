"""How long a text may be that is a feature: as declared, in the dataset and in requests, and within the room that it takes."""

import pytest
from data_makers import job_folder, messages, outputs, run

from registry.records import Signature, TensorSpec
from serving.errors import Refused
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.read_instances import Reader
from training.data.spec import load_split
from training.data.table import columns

HEAD = 'format = "table"\n[table]\nfile = "data.csv"\ntarget = "kind"\nduplicates = "allow"\n'


@pytest.fixture
def dataset(tmp_path):
    dataset = job_folder(tmp_path)
    texts = ["word " * (4000 if i == 7 else 1 + i % 9) for i in range(60)]
    lines = [f"{text},{('cat', 'dog')[i % 2]}\n" for i, text in enumerate(texts)]
    (dataset / "data.csv").write_text("".join(["text,kind\n", *lines]))
    return dataset


def prepare(dataset, settings=""):
    (dataset / "dataset.toml").write_text(HEAD + settings)
    return run(dataset)


def test_a_longer_text_is_refused_with_the_line_that_allows_it(dataset):
    found = prepare(dataset)
    assert "column 'text' holds 20,000 characters in data.csv line 9" in messages(found)
    assert "write longest_text = 20000 under [table]" in found.faults[0].hint


def test_a_text_of_the_declared_length_reaches_the_model_and_is_taken_in_requests(dataset):
    found = prepare(dataset, "longest_text = 20_000")
    assert found.ok, messages(found)
    splits = [load_split(outputs(dataset) / "data" / name) for name in ("train", "validation", "holdout")]
    assert max(len(text) for split in splits for text in split.x["text"][:, 0].tolist()) == 20_000
    spec = splits[0].spec
    assert spec.inputs == (TensorSpec("text", (None, 1), "string", longest=20_000),)
    signature = Signature(
        "classification", "table", spec.inputs, (TensorSpec("p", (None, 2), "float32"),), spec.classes
    )
    reader = Reader(signature, spec)
    named = NamedInputs(reader)
    long = "w" * 20_000
    assert reader.rows([{"text": long}], 9)[0]["text"].tolist() == [[long]]
    assert named.from_texts(spec.inputs[0], [long], (1, 1), "x").tolist() == [[long]]
    for refused in (
        lambda: reader.rows([{"text": long + "w"}], 9),
        lambda: named.from_texts(spec.inputs[0], [long + "w"], (1, 1), "x"),
    ):
        with pytest.raises(Refused, match="20001 characters, 20000 are allowed"):
            refused()


def test_a_column_that_would_take_too_much_room_is_refused(dataset, monkeypatch):
    monkeypatch.setattr(columns, "MOST_TEXT", 60 * 4 * 20_000 - 1)
    found = prepare(dataset, "longest_text = 1_000_000")
    assert (
        "column 'text' would take 0 GB: every row has the room of the longest text, 20,000 characters in data.csv line 9"
        in messages(found)
    )


def test_the_default_is_not_written_into_the_signature(dataset):
    rows = (f"{'word ' * (1 + i % 9)},{('cat', 'dog')[i % 2]}\n" for i in range(60))
    (dataset / "data.csv").write_text("".join(["text,kind\n", *rows]))
    assert prepare(dataset).ok
    assert load_split(outputs(dataset) / "data" / "train").spec.inputs == (TensorSpec("text", (None, 1), "string"),)
