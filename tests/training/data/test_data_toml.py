"""dataset.toml: what is understood, and what is reported about a mistake."""

import pytest

from registry.errors import ConfigError
from registry.records import ImagePreparation
from training.data.dataset_toml import DatasetFile, Fractions, Images, Npz, Table, load_dataset_file


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "dataset.toml").write_text(text)
        return load_dataset_file(tmp_path)

    return load


def test_one_line_is_enough_for_images(load):
    assert load('format = "images"') == DatasetFile("images", Images(), (), Fractions(0.15, 0.15))


def test_all_settings_of_images(load):
    found = load("""
        format = "images"
        classes = ["cat", "dog"]
        [images]
        folder = "images"
        size = [28, 32]
        mode = "L"
        group = '^(\\d+)-'
        [split]
        validation = 0.2
        holdout = 0.1
    """)
    assert found.source == Images("images", (28, 32), "L", r"^(\d+)-")
    assert (found.classes, found.split) == (("cat", "dog"), Fractions(0.2, 0.1))


def test_classes_may_have_an_order(load):
    found = load('format = "npz"\nclasses = ["low", "medium", "high"]\nordered = true')
    assert (found.ordered, found.classes) == (True, ("low", "medium", "high"))
    for text in ('format = "npz"\nordered = true', 'format = "npz"\nclasses = ["a", "b"]\nordered = true'):
        with pytest.raises(ConfigError, match="ordered: list the classes in their order, three or more"):
            load(text)
    with pytest.raises(ConfigError, match="ordered: 'yes' is not"):
        load('format = "npz"\nclasses = ["a", "b", "c"]\nordered = "yes"')


def test_all_that_may_be_done_to_images(load):
    found = load("""
        format = "images"
        [images]
        mode = "RGB"
        resize = [28, 32]
        fit = "pad"
        exif = "turn"
        convert = ["16-bit", "grey"]
        background = "white"
        formats = ["webp", "png"]
        frames = "first"
    """).source
    white = (255, 255, 255)
    how = ImagePreparation(("png", "webp"), ("grey", "16-bit"), white, "turn", "first", (28, 32), "pad")
    assert (found.preparation, found.mode) == (how, "RGB")
    assert load('format = "images"\n[images]\nfit = "crop"\nresize = [2, 2]').source.how.fit == "crop"


@pytest.mark.parametrize(
    "text", ["", "[images]\nsize = [8, 8]", '[images]\nexif = "ignore"\nformats = ["jpeg", "png"]']
)
def test_without_such_settings_nothing_is_done_to_images(load, text):
    assert load(f'format = "images"\n{text}').source.preparation is None


def test_all_settings_of_a_table(load):
    found = load("""
        format = "table"
        [table]
        file = ["a.csv", "more/*.csv"]
        target = "price"
        task = "regression"
        key = "id"
        group = "house"
        numeric = ["area"]
        categorical = ["zip"]
        ignore = ["seen"]
        missing = "drop"
        duplicates = "allow"
    """)
    assert found.source == Table(
        ("a.csv", "more/*.csv"), "price", "regression", "id", "house", ("area",), ("zip",), ("seen",), "drop", "allow"
    )


def test_archives_have_defaults_and_one_name_needs_no_list(load):
    assert load('format = "npz"').source == Npz()
    assert load('format = "npz"\n[npz]\nfiles = "a.npz"\nx = "images"').source == Npz(("a.npz",), ("images",))


WRONG = {
    "not TOML": ("format = ", "dataset.toml: not TOML"),
    "no format": ("", "format: missing; it is one of 'images', 'table', 'npz'"),
    "unknown format": ('format = "video"', "format: 'video' is not one of 'images', 'table', 'npz'"),
    "the ending of a file as format": ('format = ".CSV"', "'npz': for these files write 'table'"),
    "a word of another number as format": ('format = "image"', "'npz': for these files write 'images'"),
    "unknown key": ('format = "images"\nclases = ["a", "b"]', "clases: unknown setting, did you mean 'classes'?"),
    "unknown key in a section": (
        'format = "images"\n[images]\nfoldr = "x"',
        "[images] foldr: unknown setting, did you",
    ),
    "section of another format": ('format = "images"\n[table]\nfile = "a.csv"', '[table]: is for format = "table"'),
    "not a section": ('format = "images"\nsplit = 0.1', "split: 0.1 is not a [section]"),
    "size of one number": ('format = "images"\n[images]\nsize = 28', "[images] size: 28 is not [height, width]"),
    "size of zero": ('format = "images"\n[images]\nsize = [0, 8]', "[images] size: [0, 8] is not [height, width]"),
    "mode": ('format = "images"\n[images]\nmode = "RGBA"', "mode: 'RGBA' is not one of 'L', 'RGB'"),
    "resize and size": (
        'format = "images"\n[images]\nsize = [8, 8]\nresize = [8, 8]',
        "[images] size: is that of images that are not resized; leave it out",
    ),
    "fit without resize": (
        'format = "images"\n[images]\nfit = "pad"',
        "[images] fit: says how to resize, and there is no",
    ),
    "convert without mode": (
        'format = "images"\n[images]\nconvert = ["grey"]',
        "[images] convert: into what? Write mode =",
    ),
    "unknown kind": (
        'format = "images"\n[images]\nconvert = ["lab"]',
        "convert: ['lab'] is not a list of some of 'grey', 'rgb'",
    ),
    "formats without png": (
        'format = "images"\n[images]\nformats = ["jpeg"]',
        "formats: ['jpeg'] is not a list with \"png\"",
    ),
    "a huge size": (
        'format = "images"\n[images]\nresize = [8, 5000]',
        "is not [height, width] of at most 4096 pixels each",
    ),
    "a colour": (
        'format = "images"\n[images]\nbackground = [1, 2, 256]',
        "is not [red, green, blue] with 0 to 255 each",
    ),
    "regex": ('format = "images"\n[images]\ngroup = "("', "[images] group: '(' is not a regular expression ("),
    "regex without a group": ('format = "images"\n[images]\ngroup = "a"', "with exactly one (group)"),
    "path outside": (
        'format = "images"\n[images]\nfolder = "../x"',
        "folder: '../x' is not a path inside the repository",
    ),
    "absolute path": ('format = "npz"\n[npz]\nfiles = "/etc/x"', "[npz] files: '/etc/x' is not a path inside"),
    "one class": ('format = "images"\nclasses = ["a"]', "classes: ['a'] is not a list of at least two classes"),
    "class twice": ('format = "images"\nclasses = ["a", "a"]', "is not a list without repetitions"),
    "class of wrong type": ('format = "images"\nclasses = [0, 1]', "classes: [0, 1] is not a list of texts"),
    "fraction of one": ('format = "images"\n[split]\nholdout = 1.0', "holdout: 1.0 is not a fraction between 0 and 1"),
    "fraction as text": ('format = "images"\n[split]\nholdout = "a"', "[split] holdout: 'a' is not a fraction"),
    "fraction nan": ('format = "images"\n[split]\nholdout = nan', "[split] holdout: nan is not a fraction"),
    "nothing left": (
        'format = "images"\n[split]\nholdout = 0.5\nvalidation = 0.5',
        "is 1, nothing is left to train on",
    ),
    "no target": ('format = "table"\n[table]\nfile = "a.csv"', "[table] target: missing"),
    "no table": ('format = "table"', "[table] file: missing; [table] target: missing"),
    "two roles": (
        'format = "table"\n[table]\nfile = "a.csv"\ntarget = "x"\nignore = ["x"]',
        "[table] ignore: 'x' already is target",
    ),
    "classes of a regression": (
        'format = "npz"\nclasses = ["a", "b"]\n[npz]\ntask = "regression"',
        'classes: a task of "regression" has none',
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_reported_with_its_place(load, text, message):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith("dataset.toml: ")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_reported_together(load):
    with pytest.raises(ConfigError) as caught:
        load('format = "images"\nclases = []\n[images]\nsize = 1\nmode = 2\n[split]\nholdout = 7.0')
    assert str(caught.value).count(";") == 3


def test_a_missing_file_is_reported_with_what_to_write(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.toml is missing") as caught:
        load_dataset_file(tmp_path)
    assert 'format = "images"' in caught.value.hint


def test_a_byte_order_mark_is_passed_over(tmp_path):
    text = '\ufeffformat = "table"\n[table]\nfile = "a.csv"\ntarget = "x"\ndelimiter = ";"\nna = ["?", "-"]\n'
    (tmp_path / "dataset.toml").write_text(text, encoding="utf-8")
    table = load_dataset_file(tmp_path).source
    assert (table.delimiter, table.na) == (";", ("?", "-"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('format = "images"'.encode("utf-16"), "it is encoded as UTF-16; save it as UTF-8"),
        (b'format = "images"\n# caf\xe9', "line 2 is not UTF-8; save the file as UTF-8"),
    ],
    ids=["UTF-16", "latin-1"],
)
def test_another_encoding_is_named(tmp_path, data, message):
    (tmp_path / "dataset.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        load_dataset_file(tmp_path)


DIALECT = {
    'quote = "ab"': "[table] quote: 'ab' is not one character",
    'quote = "x"': "[table] quote: 'x' is not one character that is neither a letter nor a digit",
    "quote = ';'\ndelimiter = ';'": "[table] quote: ';' is [table] delimiter, too",
    'comment = ""': "[table] comment: '' is not one to 3 signs, with which no row begins",
    'comment = "-"': "[table] comment: '-' is not one to 3 signs",
    'comment = ",#"': "[table] comment: a row, too, may begin with ',', which is [table] delimiter",
    'comment = "\'"\nquote = "\'"': 'may begin with "\'", which is [table] quote',
    'delimiter = ";;"': "[table] delimiter: ';;' is not one character",
    "delimiter = '\\t'": "is not one character, such as",
    'decimal = "·"': "[table] decimal: '·' is not one of '.', ','",
    'thousands = "1"': "[table] thousands: '1' is not one character between groups of digits",
    'decimal = ","\nthousands = ","': "[table] thousands: ',' is [table] decimal, too",
    'encoding = "ansi-west"': "[table] encoding: 'ansi-west' is not an encoding",
    'encoding = "rot13"': "[table] encoding: 'rot13' is not an encoding",
    'na = "?"': "[table] na: '?' is not a list of the texts that mean missing",
}


@pytest.mark.parametrize(("line", "message"), DIALECT.items(), ids=DIALECT)
def test_how_a_text_file_is_written_is_checked_before_it_is_read(tmp_path, line, message):
    (tmp_path / "dataset.toml").write_text(
        f'format = "table"\n[table]\nfile = "a.csv"\ntarget = "x"\n{line}\n', "utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load_dataset_file(tmp_path)
    assert message in str(caught.value)
