"""Images in folders by class: what is prepared, and what is found before any training."""

import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from data_makers import images, job_folder, messages, outputs, packages_loaded, png, run, run_worker
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pyarrow import parquet

from registry import codec, dataset_lists
from registry.errors import TryAgain
from registry.files import sha256_file
from registry.records import ImagePreparation, TensorSpec
from training.data.decode import Unreadable, decode
from training.data.prepare import fresh_folder
from training.data.spec import SPLITS, PrepareJob, Validation, load_split


@pytest.fixture
def dataset(tmp_path):
    folder = images(job_folder(tmp_path, dataset="pets"))
    (folder / "dataset.toml").write_text('format = "images"\n')
    return folder


def test_good_images_give_three_splits_that_a_model_can_use(dataset):
    found = run(dataset)
    assert (found.ok, found.dataset, found.format, found.faults) == (True, "pets", "images", ())
    assert sum(found.samples.values()) == 60
    assert {split: sum(found.classes[split].values()) for split in SPLITS} == found.samples
    splits = {name: load_split(outputs(dataset) / "data" / name) for name in SPLITS}
    assert {name: len(split.y) for name, split in splits.items()} == found.samples
    for split in splits.values():
        assert split.spec.inputs == (TensorSpec("image", (None, 8, 8, 1), "uint8", 0.0, 255.0),)
        assert (split.spec.classes, split.spec.image_mode) == (("cat", "dog"), "L")
        assert split.spec.train_samples == found.samples["train"]
        for name, pixels, label in zip(split.names, split.x["image"], split.y, strict=True):
            assert np.array_equal(np.asarray(Image.open(split.files / name)), pixels[:, :, 0])
            assert name.startswith(split.spec.classes[label] + "/")
        assert sorted(split.names) == sorted(str(f.relative_to(split.files)) for f in split.files.rglob("*.png"))


def test_what_is_written_says_the_same_as_the_result(dataset):
    found = run(dataset)
    assert codec.read(Validation, outputs(dataset) / "validation.json") == found
    assert (outputs(dataset) / "junit.xml").read_text().count("<testcase") >= 8


def test_classes_are_mixed_within_a_split(dataset):
    run(dataset)
    labels = load_split(outputs(dataset) / "data" / "train").y
    assert np.count_nonzero(np.diff(labels)) > 5


def test_files_are_not_stored_twice(dataset):
    run(dataset)
    split = load_split(outputs(dataset) / "data" / "train")
    assert (split.files / split.names[0]).samefile(dataset / split.names[0])


def test_rgb_jpegs_in_a_folder_below(tmp_path):
    folder = job_folder(tmp_path)
    images(folder / "all" / "images", mode="RGB", kind="JPEG", suffix=".JPG", size=(8, 10))
    (folder / "dataset.toml").write_text('format = "images"\n[images]\nfolder = "all/images"\n')
    assert run(folder).ok
    split = load_split(outputs(folder) / "data" / "holdout")
    assert split.x["image"].shape[1:] == (10, 8, 3)
    assert split.spec.image_mode == "RGB"
    assert (split.files / "all" / "images" / split.names[0]).is_file()


def test_samples_keep_their_split_when_data_is_added(dataset):
    run(dataset)
    before = {name: set(load_split(outputs(dataset) / "data" / name).names) for name in SPLITS}
    for i in range(100, 130):
        (dataset / "cat" / f"{i}.png").write_bytes(png(i * 7))
    assert run(dataset).ok
    for name in SPLITS:
        assert before[name] <= set(load_split(outputs(dataset) / "data" / name).names)


def test_a_group_stays_together(tmp_path):
    folder = job_folder(tmp_path)
    for name, start in (("cat", 0), ("dog", 400)):
        (folder / name).mkdir()
        for i in range(160):
            (folder / name / f"{i % 40:02d}-{i}.png").write_bytes(png(start + i))
    (folder / "dataset.toml").write_text("format = 'images'\n[images]\ngroup = '^(\\d+)-'\n")
    assert run(folder).ok
    groups = [{n.split("/")[1][:2] for n in load_split(outputs(folder) / "data" / name).names} for name in SPLITS]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    (folder / "cat" / "odd.png").write_bytes(png(999))
    assert "cat/odd.png does not match" in messages(run(folder))


def test_a_killed_run_leaves_nothing_behind_in_the_next(dataset):
    left = outputs(dataset) / "data" / "train"
    (left / "files" / "cat").mkdir(parents=True)
    (left / "x0.npy").write_bytes(b"half")
    (left / "files" / "cat" / "ghost.png").write_bytes(b"old")
    assert run(dataset).ok
    assert not (left / "files" / "cat" / "ghost.png").exists()


def test_preparing_images_loads_nothing_heavy(dataset):
    loaded = packages_loaded(dataset)
    assert "PIL" in loaded
    assert not loaded & {"numpy", "pyarrow", "pandas", "great_expectations", "tensorflow", "keras", "matplotlib"}


def test_many_images_are_read_by_a_pool_of_processes(tmp_path):
    folder = images(job_folder(tmp_path, processes=2), per_class=1600, size=(64, 64))
    (folder / "dataset.toml").write_text('format = "images"\n')
    (folder / "dog" / "1599.png").write_bytes(png(9999)[:-20])
    assert run_worker(folder).returncode == 0
    found = codec.read(Validation, folder.parent.parent / "result.json")
    assert [each.messages[0] for each in found.faults] == ["dog/1599.png is truncated: 8 bytes are missing"]
    (folder / "dog" / "1599.png").unlink()
    done = run_worker(folder)
    assert codec.read(Validation, folder.parent.parent / "result.json").ok
    assert '"done": 3199, "of": 3199' in done.stdout
    split = load_split(outputs(folder) / "data" / "holdout")
    for i in range(0, len(split.names), 50):
        assert np.array_equal(np.asarray(Image.open(folder / split.names[i])), split.x["image"][i, :, :, 0])
        assert (split.files / split.names[i]).samefile(folder / split.names[i])


def sixteen_bit():
    return _saved(Image.new("I;16", (8, 8), 1000))


def sixteen_bit_rgb():
    """Pillow would silently cut such an image down to 8 bits."""
    rows = b"".join(b"\0" + bytes(48) for _ in range(8))
    chunks = ((b"IHDR", struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def flipped():
    data = bytearray(png(5))
    data[data.index(b"IDAT") + 6] ^= 0x10
    return bytes(data)


def huge():
    """1 gigapixel, if one were to believe the header."""
    head = b"IHDR" + struct.pack(">2I5B", 1 << 15, 1 << 15, 8, 0, 0, 0, 0)
    data = png(1)
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def _saved(image, **how):
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG", **how)
    return buffer.getvalue()


BAD_FILES = {
    "empty": (b"", "is empty (0 bytes)"),
    "truncated png": (lambda: png(1)[:-30], "is truncated"),
    "png cut at a chunk": (lambda: png(1)[:-12], "is truncated: the end of the PNG is missing"),
    "png cut in its head": (lambda: png(1)[:20], "is truncated"),
    "damaged png": (flipped, "is damaged: wrong checksum in IDAT"),
    "truncated jpeg": (lambda: png(1, (64, 64), "RGB", "JPEG")[:300], "is truncated: the end of the JPEG is missing"),
    "jpeg of many scans": (
        lambda: png(1, kind="JPEG")[:-2] + b"\xff\xda" * 200 + b"\xff\xd9",
        "has 201 scans, 100 are allowed",
    ),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
    "link as text": (b"../dog/000.png", "is a symbolic link to '../dog/000.png'"),
    "text": (b"hello\nworld\n", "is not PNG or JPEG, whatever its name says"),
    "gif": (b"GIF89a....", "is GIF, not PNG or JPEG"),
    "16 bit grey": (sixteen_bit, "has 16 bits per channel"),
    "16 bit rgb": (sixteen_bit_rgb, "has 16 bits per channel"),
    "palette": (lambda: png(1, mode="P"), "has a palette"),
    "alpha": (lambda: png(1, mode="RGBA"), "has an alpha channel"),
    "grey alpha": (lambda: png(1, mode="LA"), "has an alpha channel"),
    "transparent colour": (lambda: _saved(Image.new("L", (8, 8)), transparency=3), "has transparency"),
    "1 bit": (lambda: _saved(Image.new("1", (8, 8))), "has 1 bit per pixel"),
    "cmyk": (lambda: png(1, mode="CMYK", kind="JPEG"), "has Pillow's mode 'CMYK'"),
    "other size": (lambda: png(1, (9, 8)), "is 8×9, not 8×8 (height × width)"),
    "other mode": (lambda: png(1, mode="RGB"), "has mode RGB, not L"),
    "bomb": (huge, "has 1,073,741,824 pixels, 67,108,864 are allowed"),
}


@pytest.mark.parametrize(("data", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_image_is_reported_by_name_and_nothing_is_prepared(dataset, data, message):
    (dataset / "cat" / "bad.png").write_bytes(data() if callable(data) else data)
    found = run(dataset)
    assert not found.ok
    (failed,) = found.faults
    assert failed.messages[0].startswith(f"cat/bad.png {message}")
    assert failed.count == 1
    assert failed.hint
    assert not (outputs(dataset) / "data").exists()
    assert 'failures="1"' in (outputs(dataset) / "junit.xml").read_text()


def test_the_odd_first_image_is_reported_not_the_thousand_others(dataset):
    (dataset / "cat" / "000.png").write_bytes(png(1, (9, 9)))
    assert [(f.count, f.messages) for f in run(dataset).faults] == [
        (1, ("cat/000.png is 9×9, not 8×8 (height × width)",))
    ]


def test_a_declared_size_and_mode_hold_for_all(dataset):
    (dataset / "dataset.toml").write_text('format = "images"\n[images]\nsize = [9, 9]\nmode = "RGB"\n')
    size, mode = run(dataset).faults
    assert (size.count, mode.count) == (60, 60)
    assert len(size.messages) == 10


def test_a_real_symbolic_link_is_not_followed(dataset):
    os.symlink("/etc/passwd", dataset / "cat" / "link.png")
    assert "cat/link.png is a symbolic link to '/etc/passwd'" in messages(run(dataset))


def test_a_linked_class_folder_is_not_followed(dataset):
    os.symlink(dataset / "cat", dataset / "lion")
    assert "lion is a symbolic link" in messages(run(dataset))


def test_other_files_and_folders(dataset):
    (dataset / "README.md").write_text("pets")
    (dataset / "logo.png").write_bytes(png(1))
    (dataset / "cat" / ".gitkeep").write_text("")
    (dataset / "cat" / "notes.txt").write_text("")
    found = run(dataset)
    assert found.ok
    assert found.notes == (
        "cat/notes.txt is not an image: not used",
        "1 images are outside the class folders and are not used (e.g. logo.png)",
    )
    (dataset / "cat" / "scan.bmp").write_bytes(b"BM")
    (dataset / "dog" / "more").mkdir()
    (dataset / "dog" / "more" / "1.png").write_bytes(png(1))
    text = messages(run(dataset))
    assert "cat/scan.bmp is neither PNG nor JPEG" in text
    assert "dog/more is a folder inside a class folder" in text


def test_a_class_that_vanished(dataset):
    (dataset / "dataset.toml").write_text('format = "images"\nclasses = ["cat", "dog", "emu"]\n')
    assert "class 'emu' is listed in dataset.toml but has no samples" in messages(run(dataset))
    (dataset / "emu").mkdir()
    (dataset / "emu" / ".gitkeep").write_text("")
    assert "class 'emu' is listed in dataset.toml but has no samples" in messages(run(dataset))


def test_a_class_without_samples(dataset):
    (dataset / "emu").mkdir()
    (dataset / "emu" / ".gitkeep").write_text("")
    assert "folder 'emu' has no samples" in messages(run(dataset))


def test_a_class_that_nobody_declared(dataset):
    images(dataset, ["dgo"], per_class=3)
    (dataset / "docs").mkdir()
    (dataset / "dataset.toml").write_text('format = "images"\nclasses = ["cat", "dog"]\n')
    found = run(dataset)
    assert "folder 'dgo' (3 samples) is not among `classes`, did you mean 'dog'?" in messages(found)
    assert "folder docs holds no images and is not among `classes`: not used" in found.notes


def test_a_single_class(tmp_path):
    folder = images(job_folder(tmp_path), ["cat"])
    (folder / "dataset.toml").write_text('format = "images"\n')
    assert "a classifier needs at least two classes, there is only 'cat'" in messages(run(folder))


def test_no_images_at_all(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text('format = "images"\n')
    text = messages(run(folder))
    assert "there is none" in text
    assert "train: no samples at all" in text


def test_a_folder_that_is_not_there(dataset):
    (dataset / "dataset.toml").write_text('format = "images"\n[images]\nfolder = "pics"\n')
    assert "[images] folder: 'pics' is not a folder" in messages(run(dataset))


def test_a_split_that_lacks_a_class(dataset):
    for i in range(2, 30):
        (dataset / "dog" / f"{i:03d}.png").unlink()
    (failed,) = run(dataset).faults
    assert any("no sample of class 'dog' (samples of it in all: 2)" in message for message in failed.messages)
    assert "add samples of this class, or raise the fractions in [split]" in failed.hint


def test_one_class_in_two_folders(dataset):
    (dataset / "cat").rename(dataset / "caf\u00e9")
    (dataset / "cafe\u0301").mkdir()
    (dataset / "caf\u00e9" / "000.png").rename(dataset / "cafe\u0301" / "000.png")
    (failed,) = run(dataset).faults
    assert failed.messages == (
        (
            "the images folder holds one value in 2 spellings: 'cafe\\u0301' (1 sample, the first: cafe\u0301/000.png) and "
            "'caf\\xe9' (29 samples, the first: caf\u00e9/001.png); they differ in the Unicode form of their letters"
        ),
    )
    assert failed.hint == "put all images of a class into one folder"


def test_the_same_image_under_two_labels(dataset):
    (dataset / "cat" / "twin.png").write_bytes((dataset / "dog" / "003.png").read_bytes())
    assert "equal samples: cat/twin.png (cat), dog/003.png (dog)" in messages(run(dataset))


def test_the_same_image_in_two_splits_and_within_one(dataset):
    run(dataset)
    where = {n: name for name in SPLITS for n in load_split(outputs(dataset) / "data" / name).names}
    one, same = (
        next(f"cat/{i:03d}.png" for i in range(30) if where[f"cat/{i:03d}.png"] == s) for s in ("train", "holdout")
    )
    two = next(n for n in where if n.startswith("cat/") and n != one and where[n] == "train")
    (dataset / two).write_bytes((dataset / one).read_bytes())
    found = run(dataset)
    assert found.ok
    assert found.notes == (f"1 samples repeat another one of the same split and label (e.g. {max(one, two)})",)
    (dataset / same).write_bytes((dataset / one).read_bytes())
    text = messages(run(dataset))
    assert f"{same} (holdout)" in text
    assert f"{min(one, two)} (train)" in text
    assert "keep one of them" in text


def test_empty_files_are_not_the_same_sample(dataset):
    (dataset / "cat" / "a.png").write_bytes(b"")
    (dataset / "dog" / "b.png").write_bytes(b"")
    assert [each.count for each in run(dataset).faults] == [2]


def test_a_rotated_photo_is_noted(dataset):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(dataset / "cat" / "000.png").save(dataset / "cat" / "photo.jpg", exif=exif)
    (note,) = run(dataset).notes
    assert note.startswith("1 JPEGs have an EXIF orientation, which is not applied (e.g. cat/photo.jpg)")


def test_a_name_that_is_not_utf8(dataset):
    with open(os.fsencode(dataset / "cat") + b"/\xff.png", "wb") as file:
        file.write(png(1))
    assert "\\\\xff.png: the name is not UTF-8" in messages(run(dataset))


def test_the_index_for_expectations_is_written_only_when_there_is_a_suite(dataset):
    from pyarrow import parquet

    run(dataset)
    assert not (outputs(dataset) / "index.parquet").exists()
    (dataset / "expectations.json").write_text("{}")
    run(dataset)
    table = parquet.read_table(outputs(dataset) / "index.parquet")
    assert table.num_rows == 60
    assert table.slice(0, 1).to_pylist() == [
        {"path": "cat/000.png", "label": "cat", "width": 8, "height": 8, "mode": "L"}
        | {"bytes": (dataset / "cat" / "000.png").stat().st_size}
    ]


def test_a_full_disk_is_reported_as_such_and_leaves_nothing_half(tmp_path):
    def fill():
        with fresh_folder(tmp_path / "data") as data, open("/dev/full", "wb", buffering=0) as file:
            (data / "x0.npy").write_bytes(b"some")
            file.write(b"more")

    with pytest.raises(TryAgain, match="no space left") as caught:
        fill()
    assert "free some space" in caught.value.hint
    assert not (tmp_path / "data").exists()


def test_a_pipe_that_calls_itself_an_image_is_not_opened(dataset):
    os.mkfifo(dataset / "cat" / "pipe.png")
    assert "cat/pipe.png is not a file" in messages(run(dataset))


WHOLE = [png(3, (20, 20)), png(3, (20, 20), "RGB"), png(3, (20, 20), "RGB", "JPEG")]


@settings(deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_damaged_bytes_are_read_or_refused_but_never_crash(whole, data):
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)), "length")])
    for _ in range(data.draw(st.integers(0, 3), "flips") if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1), "at")] = data.draw(st.integers(0, 255), "byte")
    try:
        height, width, mode, _, pixels = decode(bytes(damaged))
    except Unreadable as error:
        assert str(error)
    else:
        assert len(pixels) == height * width * len(mode)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_gives_the_same_pixels_with_and_without_other_chunks(mode):
    plain = png(3, (20, 30), mode)
    end = plain.index(b"IEND") - 4
    text = b"tEXtAuthor\0me"
    with_text = (
        plain[:end] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + plain[end:]
    )
    assert decode(plain) == decode(with_text)
    assert decode(plain)[4] == Image.open(io.BytesIO(plain)).tobytes()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["L", "RGB"]), st.randoms(use_true_random=False))
def test_a_small_png_is_read_as_pillow_reads_it(width, height, mode, random):
    buffer = io.BytesIO()
    image = Image.frombytes(mode, (width, height), random.randbytes(width * height * len(mode)))
    image.save(buffer, "PNG")
    assert decode(buffer.getvalue()) == (height, width, mode, False, image.tobytes())


def test_the_rule_of_the_split_is_kept(dataset):
    assert run(dataset).ok
    assert load_split(outputs(dataset) / "data" / "train").spec.split == "holdout 0.15, validation 0.15, by file name"


def test_images_are_listed_with_the_digests_that_were_found_on_the_way(tmp_path):
    folder = job_folder(tmp_path, row_keys=1000)
    images(folder)
    (folder / "dataset.toml").write_text('format = "images"\n')
    tree = run(folder).tree
    listed = {each.path: each for each in dataset_lists.read_files(outputs(folder) / dataset_lists.FILES)}
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert {name: (each.sha256, each.bytes) for name, each in listed.items()} == {
        str(path.relative_to(folder)): (sha256_file(path), path.stat().st_size) for path in files
    }
    assert (tree.files, tree.bytes) == (len(files), sum(path.stat().st_size for path in files))
    keys = outputs(folder) / dataset_lists.KEYS
    assert [kind for _, kind in dataset_lists.splits_with(keys, tree.digest, "cat/000.png")] == ["row"]


def test_images_of_all_sizes_become_those_that_are_declared(tmp_path):
    """Read by a pool of processes, as by one."""
    found = {}
    for processes in (1, 2):
        folder = images(
            job_folder(tmp_path / str(processes), processes=processes), ["cat"], 400, size=(40, 30), mode="RGB"
        )
        images(folder, ["dog"], 400, ".webp", size=(10, 40), mode="RGB", kind="WEBP")
        images(folder, ["dog"], 400, ".jpg", size=(9, 9), mode="L", kind="JPEG")
        (folder / "dataset.toml").write_text(
            'format = "images"\n[images]\nresize = [6, 8]\nfit = "crop"\nmode = "RGB"\nconvert = ["grey"]\n'
            'formats = ["png", "jpeg", "webp"]\n'
        )
        (folder / "expectations.json").write_text("{}")
        validation = run(folder)
        assert (validation.ok, validation.notes) == (True, ())
        split = load_split(outputs(folder) / "data" / "train")
        assert split.spec.preparation == ImagePreparation(("png", "jpeg", "webp"), ("grey",), resize=(6, 8), fit="crop")
        assert split.spec.inputs[0].shape == (None, 6, 8, 3)
        found[processes] = (split.names, split.x["image"].tobytes())
        table = parquet.read_table(outputs(folder) / "index.parquet").to_pylist()
        assert {(each["width"], each["height"], each["mode"]) for each in table} == {
            (40, 30, "RGB"), (10, 40, "RGB"), (9, 9, "L"),
        }  # fmt: skip
        first = split.names.index(next(each for each in split.names if each.startswith("cat")))
        with Image.open(folder / split.names[first]) as image:
            wanted = ImageOps.fit(image, (8, 6), Image.Resampling.BILINEAR)
        assert np.array_equal(split.x["image"][first], np.asarray(wanted))
    assert found[1] == found[2]


def test_each_image_that_does_not_fit_is_named_with_the_setting_that_takes_it(dataset):
    (dataset / "cat" / "a.webp").write_bytes(png(1, kind="WEBP"))
    (dataset / "cat" / "b.png").write_bytes(png(2, (9, 9)))
    (dataset / "cat" / "c.png").write_bytes(png(3, mode="P"))
    (dataset / "cat" / "d.png").write_bytes(png(4, mode="RGB"))
    text = messages(run(dataset)).replace('\\"', '"')
    for hint in (
        'formats = ["png", "jpeg", "webp"]',
        "resize = [height, width]",
        'convert = ["palette"]',
        'mode = "L" and convert = ["rgb"]',
    ):
        assert hint in text
    (dataset / "dataset.toml").write_text(
        'format = "images"\n[images]\nformats = ["png", "jpeg", "webp"]\nresize = [8, 8]\nmode = "L"\nconvert = ["palette", "rgb"]\n'
    )
    assert run(dataset).ok


def test_the_job_of_a_dataset_is_written_as_ever_so_that_what_was_prepared_is_found():
    """How images are prepared is part of the dataset's commit, which the key of prepared data has."""
    assert json.loads(codec.to_json(PrepareJob())) == {
        "schema": 1, "dataset": "dataset", "files": True, "processes": 0, "row_keys": 0,
    }  # fmt: skip
