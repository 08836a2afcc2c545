"""How image files are prepared, on a version's card; and the record that says so."""

import json
from dataclasses import replace

import pytest
from report_parts import evaluation
from versions import candidate, image_signature

from pipelines.report.model_card import card_markdown
from pipelines.text.images import in_words
from registry import codec
from registry.records import ImagePreparation, Signature
from unit_tests.malformed_requests import malformed_requests

ALL = ImagePreparation(
    ("png", "webp"), ("grey", "16-bit"), (255, 255, 255), exif="turn", frames="first", resize=(48, 64), fit="pad"
)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            ALL,
            (
                "files of PNG, WebP; of several images in a file the first; turned as EXIF says; transparent parts laid on the colour "
                "[255, 255, 255]; grey, 16-bit converted to 8-bit RGB; shrunk or enlarged as a whole, with a border, to 48×64 pixels "
                "(height × width), bilinear with antialiasing, the border [255, 255, 255]"
            ),
        ),
        (
            ImagePreparation(resize=(9, 9)),
            "files of PNG, JPEG; not turned by EXIF; stretched to 9×9 pixels (height × width), bilinear with antialiasing",
        ),
        (
            replace(ALL, resize=None, convert=(), background=None, frames="refuse"),
            "files of PNG, WebP; turned as EXIF says",
        ),
    ],
)
def test_everything_that_is_done_is_said_in_its_order(how, words):
    assert in_words(how, "RGB") == words


def test_the_card_says_it_and_that_of_other_models_is_as_it_was():
    plain = image_signature()
    card = card_markdown(candidate(evaluation=evaluation(), signature=replace(plain, preparation=ALL)), None)
    assert "Images, in training and in every request: files of PNG, WebP; " in card
    assert "Images, in training" not in card_markdown(candidate(evaluation=evaluation(), signature=plain), None)


def test_signatures_of_earlier_versions_are_read_as_they_were():
    signature = replace(image_signature(), preparation=ALL)
    written = codec.to_json(signature)
    assert codec.from_json(Signature, written, "here") == signature
    old = json.loads(codec.to_json(image_signature()))
    del old["preparation"]
    assert codec.from_json(Signature, json.dumps(old).encode(), "here") == image_signature()


@pytest.mark.parametrize(("how", "refused"), [(None, True), (replace(ALL, resize=None), True), (ALL, False)])
def test_the_acceptance_test_expects_that_images_of_another_size_are_refused_where_none_is_resized(how, refused):
    signature = replace(image_signature(), preparation=how)
    names = [each.error for each in malformed_requests(signature, [[0]], b"an image")]
    assert ("an image of another size" in names) == refused
