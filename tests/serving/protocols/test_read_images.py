"""An image file gives the API, a batch and an explanation the very pixels that it has in the dataset."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from batch_models import Worker, image_signature
from data_makers import job_folder, outputs, run
from echo_model import app_of, echo_images
from PIL import Image

from registry.records import ImagePreparation, Signature, TensorSpec
from serving.errors import Refused
from serving.protocols.read_instances import Reader
from training.data.spec import SPLITS, load_split

RESIZED = 'resize = [12, 16]\nmode = "RGB"\nconvert = ["grey", "cmyk", "palette", "16-bit"]'
DECLARED = f'{RESIZED}\nexif = "turn"\nbackground = [9, 8, 7]\nformats = ["png", "jpeg", "webp", "bmp", "tiff"]\nframes = "first"'
ANY = ImagePreparation(exif="turn", resize=(12, 16), formats=("png", "jpeg", "webp"))


def noise(number, size, mode="RGB"):
    raw = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(raw)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def file_of(number):
    """Name and bytes of one of many images, all different."""
    size = (10 + number * 37 % 91, 8 + number * 53 % 77)
    kinds = (("jpg", "JPEG", "RGB"), ("jpg", "JPEG", "L"), ("png", "PNG", "RGBA"), ("webp", "WEBP", "RGB"), ("tif", "TIFF", "CMYK"),
             ("bmp", "BMP", "P"), ("png", "PNG", "P"), ("jpeg", "JPEG", "CMYK"))  # fmt: skip
    suffix, kind, mode = kinds[number % len(kinds)]
    exif = Image.Exif()
    exif[0x0112] = number % 9 or 1
    file = io.BytesIO()
    noise(number, size, mode).save(file, kind, **({} if kind == "BMP" else {"exif": exif}))
    return f"{number:03d}.{suffix}", file.getvalue()


@pytest.fixture(scope="module", params=["stretch", "pad", "crop"])
def dataset(request, tmp_path_factory):
    """A prepared dataset of images of all kinds; its job folder is above."""
    folder = job_folder(tmp_path_factory.mktemp("photos"))
    for number in range(96):
        name, data = file_of(number)
        path = folder / ("cat" if number % 2 else "dog") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (folder / "dataset.toml").write_text(f'format = "images"\n[images]\n{DECLARED}\nfit = "{request.param}"\n')
    assert run(folder).ok
    return folder


def signature_of(spec):
    return Signature(
        "classification", "image", spec.inputs, (TensorSpec("out", (None, 2), "float32"),), spec.classes,
        spec.image_mode, preparation=spec.preparation,
    )  # fmt: skip


def test_every_file_of_the_holdout_is_read_as_the_dataset_has_it(dataset):
    split = load_split(outputs(dataset) / "data" / "holdout")
    reader = Reader(signature_of(split.spec))
    assert len(split.names) > 5
    files = [(dataset / name).read_bytes() for name in split.names]
    for data, pixels in zip(files, split.x["image"], strict=True):
        assert np.array_equal(reader.images([data], 1)[0]["image"], pixels[None])
    together, rows = reader.images(files, len(files))
    assert rows == len(files)
    assert np.array_equal(together["image"], split.x["image"])


def test_every_dialect_gets_the_same_pixels_from_a_file(dataset):
    split = load_split(outputs(dataset) / "data" / "holdout")
    model = echo_images(signature_of(split.spec))
    api = app_of(model, max_body=1 << 20)
    for name, pixels in list(zip(split.names, split.x["image"], strict=True))[:4]:
        data = (dataset / name).read_bytes()
        b64 = {"b64": base64.b64encode(data).decode()}
        asked = [
            api.post("/v1/models/m:predict", json={"instances": [b64]}).get_json()["predictions"],
            api.post("/v1/models/m:predict", json={"instances": [{"image": b64}]}).get_json()["predictions"],
            api.post("/v1/models/m:predict", json={"inputs": [b64]}).get_json()["outputs"],
            api.post("/v1/models/m:predict", json={"inputs": {"image": [b64]}}).get_json()["outputs"],
            api.post("/invocations", json={"instances": [b64]}).get_json()["predictions"],
            api.post("/invocations", json={"inputs": [b64]}).get_json()["predictions"],
        ]
        for answer in asked:
            assert np.array_equal(np.asarray(answer, np.uint8), pixels[None])
        for body in (
            {"data": data},
            {"data": {"image": (io.BytesIO(data), name)}},
            {"json": {"instances": [b64]}},
        ):
            answer = api.post("/predict", **body)
            assert answer.status_code == 200, answer.get_json()
            (found,) = answer.get_json()["predictions"][0].values()
            assert np.array_equal(np.asarray(found, np.uint8), pixels)


def test_a_batch_predicts_what_the_model_says_of_the_holdout(tmp_path):
    """Files of a folder, and base64 in JSON Lines."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        name, data = file_of(number * 4)  # JPEG, TIFF
        (folder / name).write_bytes(data)
    how = ImagePreparation(("png", "jpeg", "tiff"), ("rgb", "cmyk"), exif="turn", resize=(8, 8), fit="pad")
    signature = replace(image_signature(), preparation=how)
    worker, reader = Worker(tmp_path, signature), Reader(signature)
    table, rejected = worker.predicted(folder, kinds=["folder"])
    assert not rejected
    assert len(table) == 12
    lines = tmp_path / "photos.jsonl"
    files = sorted(folder.iterdir())
    encoded = [{"b64": base64.b64encode(each.read_bytes()).decode()} for each in files]
    lines.write_text("".join(f"{json.dumps(each)}\n" for each in encoded))
    again, rejected = worker.predicted(lines, columns=())
    assert not rejected
    assert again["probabilities"].to_pylist() == table["probabilities"].to_pylist()
    pixels = reader.images([each.read_bytes() for each in files], 99)[0]["image"]
    arrays = tmp_path / "photos.npz"
    np.savez(arrays, image=pixels)
    assert worker.predicted(arrays)[0]["probabilities"].to_pylist() == table["probabilities"].to_pylist()


def reader_of(how, mode="RGB", height=12, width=16):
    shape = (None, height, width, 1 if mode == "L" else 3)
    outputs = (TensorSpec("out", (None, 2), "float32"),)
    return Reader(
        Signature("classification", "image", (TensorSpec("image", shape, "uint8"),), outputs, ("a", "b"), mode, "", how)
    )


def saved(image, kind="PNG", **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def test_a_client_may_send_grey_for_colour_and_colour_for_grey_as_ever():
    assert reader_of(ANY).images([saved(noise(1, (50, 40), "L"))], 1)[0]["image"].shape == (1, 12, 16, 3)
    assert reader_of(ANY, "L").images([saved(noise(1, (50, 40)), "JPEG")], 1)[0]["image"].shape == (1, 12, 16, 1)


def test_images_that_are_turned_but_not_resized_must_have_the_size_then():
    exif = Image.Exif()
    exif[0x0112] = 6
    reader = reader_of(replace(ANY, resize=None))
    assert reader.images([saved(noise(1, (12, 16)), "JPEG", exif=exif)], 1)[0]["image"].shape == (1, 12, 16, 3)
    with pytest.raises(Refused, match="the image is 12x16 pixels, not a PNG, JPEG or WebP of 16x12 pixels"):
        reader.images([saved(noise(1, (12, 16)), "JPEG")], 1)


REFUSED = {
    "another format": (lambda: saved(noise(1, (9, 9)), "BMP"), "the image is BMP, not PNG, JPEG or WebP"),
    "transparency": (lambda: saved(noise(1, (9, 9), "RGBA")), "the image has transparency"),
    "palette": (lambda: saved(noise(1, (9, 9), "P")), "the image has a palette"),
    "cut off": (lambda: saved(noise(1, (90, 90)), "WEBP")[:-40], "the image is truncated: 40 bytes are missing"),
    "text": (lambda: b"hello", "the image is not PNG, JPEG or WebP, whatever its name says"),
    "an animation": (
        lambda: saved(noise(1, (9, 9)), "WEBP", save_all=True, append_images=[noise(2, (9, 9))]),
        "the image is WebP with several images",
    ),
    "too many pixels to decode": (
        lambda: saved(Image.new("1", (5200, 5000)).convert("L")),
        "the image has 26,000,000 pixels to decode, 25,165,824 are allowed",
    ),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_dataset_does_not_declare_is_refused_without_naming_its_files(data, message):
    with pytest.raises(Refused, match=message) as refused:
        reader_of(ANY).images([data()], 1)
    assert refused.value.status == 400
    assert refused.value.hint
    assert "dataset.toml" not in refused.value.hint
    assert "delete it" not in refused.value.hint  # that is advice for the people of the dataset


def test_photos_of_a_modern_camera_are_taken_and_no_more_than_one_is_in_memory():
    photo = saved(Image.new("RGB", (8000, 6000), (128, 128, 128)), "JPEG")  # 48 million pixels
    assert reader_of(ANY).images([photo] * 2, 9)[0]["image"].tolist()[0][0][0] == [128, 128, 128]
    with pytest.raises(Refused, match="pixels to decode, counted once per scan") as refused:
        reader_of(ANY).images([photo] * 6, 9)
    assert refused.value.status == 413


def test_content_types_are_those_of_the_declared_formats():
    how = replace(ANY, formats=("png", "webp"))
    model = echo_images(
        Signature(
            "classification", "image", (TensorSpec("image", (None, 12, 16, 3), "uint8"),),
            (TensorSpec("out", (None, 2), "float32"),), ("a", "b"), "RGB", "", how,
        )
    )  # fmt: skip
    api = app_of(model, max_body=1 << 20)
    webp = saved(noise(1, (30, 30)), "WEBP")
    assert api.post("/predict", data=webp, content_type="image/webp").status_code == 200
    assert api.post("/predict", data=webp, content_type="image/bmp").status_code == 415
    document = api.get("/openapi.json").get_json()
    types = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {each for each in types if each.startswith("image/")} == {"image/png", "image/webp"}
    page = api.get("/", headers={"Accept": "text/html"}).text
    assert 'accept="image/png,image/webp"' in page
    assert "PNG or WebP of any size; the model sees 16x12 pixels" in page
    assert api.post("/predict", data=api.get("/example").data).status_code == 200


@pytest.mark.parametrize("split", SPLITS)
def test_what_the_log_keeps_of_an_image_is_prepared_to_itself(dataset, split):
    found = load_split(outputs(dataset) / "data" / split)
    reader = Reader(signature_of(found.spec))
    for pixels in found.x["image"][:10]:
        png = saved(Image.fromarray(np.asarray(pixels)))
        assert np.array_equal(reader.images([png], 1)[0]["image"][0], pixels)
