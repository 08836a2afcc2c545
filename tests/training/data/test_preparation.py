"""What becomes of an image file by the settings of `[images]`: the same pixels as three lines of Pillow give."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from registry.records import ImagePreparation
from training.data.decode import Unreadable
from training.data.preparation import measure, prepare_image

ANY = ImagePreparation(
    formats=("png", "jpeg", "webp", "bmp", "tiff"),
    convert=("grey", "rgb", "palette", "cmyk", "16-bit", "1-bit"),
    background=(10, 20, 30),
    exif="turn",
    frames="first",
)
BILINEAR = Image.Resampling.BILINEAR


def noise(width, height, mode="RGB", seed=0):
    import random

    image = Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))
    return image.convert(mode)


def saved(image, kind="PNG", **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def made(data, how=ANY, mode="RGB", **more):
    found = prepare_image(data, how, mode, **more)
    return Image.frombytes(found.mode, (found.width, found.height), found.pixels)


def same(a, b):
    return (a.size, a.mode, a.tobytes()) == (b.size, b.mode, b.tobytes())


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(40, 30), (7, 90), (64, 48), (200, 20)])
def test_the_three_ways_to_fit_are_those_of_pillow(size, mode):
    image, how = noise(*size, mode), replace(ANY, resize=(48, 64))
    data = saved(image)
    assert same(made(data, how, mode), image.resize((64, 48), BILINEAR))
    assert same(made(data, replace(how, fit="crop"), mode), ImageOps.fit(image, (64, 48), BILINEAR))
    ground = Image.new("RGB", (1, 1), ANY.background).convert(mode).getpixel((0, 0))
    assert same(made(data, replace(how, fit="pad"), mode), ImageOps.pad(image, (64, 48), BILINEAR, ground))


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_what_was_prepared_is_not_changed_by_preparing_it_again(fit):
    """Labelled answers are kept as the model saw them, and become samples."""
    how = replace(ANY, resize=(24, 32), fit=fit)
    once = made(saved(noise(61, 47)), how)
    assert same(made(saved(once), how), once)


def test_large_jpegs_are_decoded_smaller_as_the_documentation_says():
    data, how = saved(noise(1200, 1000), "JPEG"), replace(ANY, resize=(48, 64))
    image = Image.open(io.BytesIO(data))
    image.draft(image.mode, (128, 128))
    assert image.size == (300, 250)
    assert same(made(data, how), image.resize((64, 48), BILINEAR))
    assert measure(data, how) == (1000, 1200, 300 * 250)
    assert prepare_image(data, how, "RGB").was == (1000, 1200, "RGB")


WAYS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
AS_HELD = {number: Image.Transpose[name] for number, name in enumerate(WAYS, start=2)}
"""EXIF's orientation → what such a camera does to an upright image."""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_exif_turns_is_as_the_upright_one(orientation, kind):
    upright = noise(20, 12)
    stored = upright.transpose(AS_HELD[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WebP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    data = saved(stored, kind, exif=exif, **lossless)
    found = prepare_image(data, ANY, "RGB")
    assert found.was[:2] == (found.height, found.width) == (12, 20)
    read = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert same(made(data), read if kind == "JPEG" else upright)  # a JPEG changes pixels
    ignored = prepare_image(data, replace(ANY, exif="ignore"), "RGB")
    assert ignored.rotated == (orientation != 1 and kind != "TIFF")  # a TIFF's orientation is its own, and always holds
    assert (ignored.height, ignored.width) == ((12, 20) if kind == "TIFF" else stored.size[::-1])


def rgba(width=9, height=7):
    image = noise(width, height)
    image.putalpha(noise(width, height, "L", 1))
    return image


def on_ground(image):
    ground = Image.new("RGB", image.size, ANY.background)
    ground.paste(image, (0, 0), image)
    return ground


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF"])
def test_transparent_parts_are_laid_on_the_background(kind):
    image = rgba()
    data = saved(image, kind, **({"lossless": True, "exact": True} if kind == "WebP" else {}))
    assert same(made(data), on_ground(image))
    with pytest.raises(Unreadable, match="has transparency") as refused:
        made(data, replace(ANY, background=None))
    assert refused.value.declare == 'background = "white"'


def test_a_transparent_colour_and_a_transparent_palette():
    grey = noise(6, 6, "L")
    grey.putpixel((0, 0), 77)
    found = made(saved(grey, transparency=77), mode="RGB")
    assert found.getpixel((0, 0)) == ANY.background
    palette = noise(6, 6).quantize(8)
    found = made(saved(palette, transparency=palette.getpixel((2, 3))))
    assert found.getpixel((2, 3)) == ANY.background


def sixteen_bits(kind):
    values = bytes(range(64)) * 2
    return saved(Image.frombytes("I;16", (8, 8), values), kind), Image.frombytes("L", (8, 8), values[1::2])


SPECIAL = {
    "palette": lambda: (saved(noise(8, 8).quantize(16)), noise(8, 8).quantize(16).convert("RGB")),
    "palette bmp": lambda: (saved(noise(8, 8).quantize(16), "BMP"), noise(8, 8).quantize(16).convert("RGB")),
    "cmyk": lambda: (saved(noise(8, 8, "CMYK"), "TIFF"), noise(8, 8, "CMYK").convert("RGB")),
    "16-bit png": lambda: sixteen_bits("PNG"),
    "16-bit tiff": lambda: sixteen_bits("TIFF"),
    "1-bit": lambda: (saved(noise(8, 8, "1")), noise(8, 8, "1").convert("L")),
    "1-bit tiff": lambda: (saved(noise(8, 8, "1"), "TIFF", compression="group4"), noise(8, 8, "1").convert("L")),
}


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_other_modes_are_converted_where_that_is_declared(kind, mode):
    data, expected = SPECIAL[kind]()
    assert same(made(data, mode=mode), expected.convert(mode))
    name = kind.split()[0]
    with pytest.raises(Unreadable) as refused:
        made(data, replace(ANY, convert=tuple(each for each in ANY.convert if each != name)))
    assert (refused.value.about, name in refused.value.declare) == ("mode", True)


def test_cmyk_jpegs_are_what_pillow_makes_of_them():
    data = saved(noise(16, 16, "CMYK"), "JPEG")
    assert same(made(data), Image.open(io.BytesIO(data)).convert("RGB"))


def test_grey_and_colour_are_converted_when_declared_or_asked():
    grey, plain = saved(noise(5, 4, "L")), replace(ANY, convert=())
    assert made(grey, plain).mode == "L"
    assert made(grey, plain, lenient=True).mode == made(grey).mode == "RGB"
    assert made(saved(noise(5, 4)), mode="L").mode == "L"


def several(kind):
    frames = [noise(8, 8, seed=each) for each in range(3)]
    how = {"lossless": True} if kind == "WebP" else {}
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **how), frames[0]


@pytest.mark.parametrize("kind", ["WebP", "TIFF", "PNG"])
def test_of_a_file_with_several_images_the_first_or_none(kind):
    data, first = several(kind)
    assert same(made(data), first)
    with pytest.raises(Unreadable, match=f"is {kind} with several images") as refused:
        made(data, replace(ANY, frames="refuse"))
    assert refused.value.declare == 'frames = "first"'
    assert same(
        made(saved(first, kind, **({"lossless": True} if kind == "WebP" else {})), replace(ANY, frames="refuse")), first
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "BMP", "TIFF"])
def test_formats_that_are_not_declared_are_named(kind):
    data = saved(noise(8, 8), kind)
    with pytest.raises(Unreadable, match=f"is {kind}, not ") as refused:
        made(data, ImagePreparation(formats=("jpeg",) if kind == "PNG" else ("png",), exif="turn"))
    assert kind.lower() in refused.value.declare


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "BMP", "TIFF"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_off_is_never_half_an_image(kind, data):
    whole = saved(noise(24, 16), kind)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    try:
        found = made(cut)
    except Unreadable:
        return
    assert same(found, made(whole))  # what was missing was not of the image


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_and_nothing_else(data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WebP", "BMP", "TIFF"]))
    raw = bytearray(saved(noise(16, 12), kind))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    how = replace(ANY, resize=(8, 8), fit=data.draw(st.sampled_from(["stretch", "pad", "crop"])))
    try:
        found = prepare_image(bytes(raw), how, "RGB")
    except Unreadable:
        return
    assert (found.height, found.width, len(found.pixels)) == (8, 8, 8 * 8 * 3)


def header_of(kind, side):
    """A small file that says to have side × side pixels."""
    data = bytearray(
        saved(
            Image.new("L" if kind == "PNG" else "RGB", (8, 8)), kind, **({"lossless": True} if kind == "WebP" else {})
        )
    )
    if kind == "PNG":
        import struct
        import zlib

        head = b"IHDR" + struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
        data[12:33] = head + struct.pack(">I", zlib.crc32(head))
    elif kind == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    elif kind == "WebP":  # VP8L: 14 bits each, less one
        bits = int.from_bytes(data[21:25], "little") >> 28 << 28
        data[21:25] = (bits | (side - 1) | (side - 1) << 14).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(("kind", "side"), [("PNG", 1 << 15), ("BMP", 1 << 15), ("WebP", 1 << 14)])
def test_a_bomb_is_refused_by_its_header(kind, side):
    with pytest.raises(Unreadable, match="pixels, 67,108,864 are allowed"):
        prepare_image(header_of(kind, side), replace(ANY, resize=(8, 8)), "RGB")


def test_images_that_would_take_much_memory_on_the_way_are_refused():
    long = saved(Image.new("L", (2, 30_000)))
    how = replace(ANY, resize=(64, 4096))
    with pytest.raises(Unreadable, match="is 30000×2, too long to be stretched to 64×4096"):
        made(long, how)
    with pytest.raises(Unreadable, match="is 30000×2: nothing of it would be left in 64×4096"):
        made(long, replace(how, fit="pad"))
    assert made(long, replace(how, fit="crop")).size == (4096, 64)
    with pytest.raises(Unreadable, match="has 60,000 pixels to decode, 1,000 are allowed"):
        made(long, how, most=1000)
