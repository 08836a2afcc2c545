"""A team's requirements.txt names packages; whatever else it says is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.container_images.requirements import read_requirements
from registry.errors import ConfigError

SHA = "sha256:" + "ab" * 32


def read(folder, text):
    path = folder / "requirements.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_requirements(path)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", ""),
        ("# nothing\n\n  \n", ""),
        ("einops", "einops\n"),
        ("einops == 0.8.1  # tensors\n", "einops==0.8.1\n"),
        ("a>=1,<2\nb[c,d]~=3.0", "a<2,>=1\nb[c,d]~=3.0\n"),
        ('a; python_version >= "3.9"', 'a; python_version >= "3.9"\n'),
        ("a==1 \\\n  --hash=" + SHA + " \\\n  --hash " + SHA, f"a==1 --hash={SHA} --hash={SHA}\n"),
        ("\N{BYTE ORDER MARK}einops\r\n", "einops\n"),
        ("# comment that ends in \\\neinops", "einops\n"),
    ],
)
def test_packages_are_read(tmp_path, text, plain):
    assert read(tmp_path, text) == plain


@pytest.mark.parametrize(
    "line",
    [
        "--index-url http://evil.example/simple",
        "-i http://evil.example/simple",
        "--extra-index-url=http://evil.example/simple",
        "--trusted-host evil.example",
        "--find-links /tmp",
        "--no-binary :all:",
        "--pre",
        "-r /etc/passwd",
        "-r/etc/passwd",
        "-c other.txt",
        "-e .",
        ".",
        "./package",
        "/tmp/package",
        "package.whl",
        "../package-1.0-py3-none-any.whl",
        "file:///tmp/package",
        "https://evil.example/package.whl",
        "git+https://evil.example/package",
        "package @ https://evil.example/package.whl",
        "package @ file:///etc",
        "package --config-settings=a=b",
        'package --global-option="x"',
        "package --index-url http://evil.example",
        "package==1 --hash=md5:00",
        "package==${HOME}",
        "package==1; ls",
        "a b",
    ],
)
def test_everything_else_is_refused_with_its_line(tmp_path, line):
    with pytest.raises(ConfigError, match=r"^requirements\.txt: line 3: ") as caught:
        read(tmp_path, f"einops\n\n{line}\n")
    assert "PIP_INDEX_URL" in caught.value.hint


def test_all_errors_are_reported_together(tmp_path):
    with pytest.raises(ConfigError, match=r"line 1: .* line 3: .* line 4: "):
        read(tmp_path, "-e .\neinops\n-r other.txt\nfile:///x\n")


@pytest.mark.parametrize("text", [b"\xff\xfee\x00", b"caf\xe9", b"x" * 300_000])
def test_what_is_no_list_of_packages_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"requirements\.txt"):
        read(tmp_path, text)


def test_a_declared_encoding_changes_nothing(tmp_path):
    """pip would decode this file as UTF-7, and see an option."""
    with pytest.raises(ConfigError, match="line 2"):
        read(tmp_path, "# -*- coding: utf-7 -*-\n+AC0-r /etc/passwd\n")


@given(st.text(alphabet=" \\\n\r\t\v\f\x1c\x85\u2028-#re=;@:/.[]~<>!,'\"0a", max_size=60))
def test_whatever_is_read_has_one_plain_package_per_line(tmp_path_factory, text):
    try:
        plain = read(tmp_path_factory.getbasetemp(), text)
    except ConfigError:
        return
    for line in plain.splitlines():
        assert line[0].isalnum()
        assert " @ " not in line
        assert "\\" not in line
