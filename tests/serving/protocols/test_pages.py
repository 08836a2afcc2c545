"""The first page of the API, for columns of any name, read and sent back as browsers do."""

import io
import json

import numpy as np
import pytest
from browser_form import Page, as_browsers_send
from hostile_names import CLASSES, COLUMNS, VALUES

from registry.records import Signature, TensorSpec
from serving.calls import Limits
from serving.protocols.body import read_inputs
from serving.protocols.pages import describe, example_body
from serving.protocols.read_instances import Reader
from training.data.spec import Column, DataSpec

NUMBERS, TEXTS = COLUMNS[:30], COLUMNS[30:]
LIMITS = Limits(1 << 20, 10)


@pytest.fixture
def reader():
    inputs = [
        *(TensorSpec(name, (None, 1), "float32") for name in NUMBERS),
        *(TensorSpec(name, (None, 1), "string") for name in TEXTS),
    ]
    return Reader(Signature("classification", "table", tuple(inputs), (), tuple(CLASSES)), data())


def data():
    columns = [Column(name, "numeric", 0.0, 1.0) for name in NUMBERS]
    columns += [Column(name, "categorical", vocabulary=tuple(VALUES), common=tuple(VALUES)) for name in TEXTS]
    return DataSpec("table", "classification", (), tuple(CLASSES), tuple(columns), "\u202etarget")


@pytest.fixture
def sample():
    numbers = {name: np.array([[i]], np.float32) for i, name in enumerate(NUMBERS)}
    return numbers | {name: np.array([[VALUES[i % len(VALUES)]]], object) for i, name in enumerate(TEXTS)}


@pytest.fixture
def page(reader, sample):
    identity = {"model": "m", "version": 1, "release": 1, "engine": "litert"}
    return describe(identity, reader, data(), sample, "http://localhost", LIMITS)


def test_the_form_sends_each_column_its_own_value(reader, sample, page):
    controls = Page(page.html).controls
    assert len(controls) == len(COLUMNS)
    body, kind = as_browsers_send(controls)
    environ = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    found, rows = read_inputs(environ, reader, LIMITS)
    assert rows == 1
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in sample.items()
    }


def test_the_example_can_be_sent_as_it_is(reader, sample):
    body, _ = example_body(reader, sample)
    found, _ = reader.instances(body, 1)
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in sample.items()
    }


def test_what_to_send_is_json_and_hides_nothing(page):
    shown = page.facts["send"]
    row = json.loads(shown.removeprefix("JSON ").replace("…", "0"))["instances"][0]
    assert list(row) == COLUMNS
    assert shown.isprintable()


def test_names_add_no_markup_to_the_page(page):
    found = Page(page.html)
    assert not {"b", "script"} & found.tags
    assert set(CLASSES) <= set(found.words)
    assert "\u202etarget" not in page.html
