"""Which of a worker's lines a person sees."""

import json

import pytest

from pipelines.context import Context
from training.worker.protocol import EVENT


class Lines:
    def __init__(self):
        self.seen = []

    def line(self, text):
        self.seen.append(text)


@pytest.fixture
def shown():
    """What is shown of these lines."""

    def show(*lines):
        view = Lines()
        context = Context(None, view)
        for each in lines:
            context.show(each)
        return view.seen

    return show


def event(**fields):
    return EVENT + json.dumps(fields)


def test_what_the_converter_prints_is_for_the_log_alone(shown):
    note = event(event="note", text="serving needs TensorFlow")
    on, off = (event(event="quiet", on=each) for each in (True, False))
    lines = ("before", on, "error: 'tf.StringSplit' op is neither a custom op nor a flex op", note, off, "after")
    assert shown(*lines) == ["before", note, "after"]


def test_what_tensorflow_logs_at_every_start_is_not_shown(shown):
    assert shown("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "epoch 1") == ["epoch 1"]
