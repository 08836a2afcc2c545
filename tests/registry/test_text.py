import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.text import printable

HOSTILE = st.text(
    st.sampled_from(
        "a é€\t\r\n\v\x1b[]0;31m\\\x07\x9b\x00\x7f\x85\xa0\xad\u200d\u2028\u202e\u2066\ud800\ue000\U0001f600"
    )
)


@pytest.mark.parametrize(
    ("text", "expected", "blanked"),
    [
        ("fünf 5 € 😀", "fünf 5 € 😀", "fünf 5 € 😀"),
        ("\x1b[1;31mred\x1b[0m", "red", "       red    "),
        ("\x1b]0;a new title\x07hello", "hello", " " * 16 + "hello"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", " " * 15 + "link" + " " * 7),
        ("a\x1b]0;unterminated", "a]0;unterminated", "a ]0;unterminated"),
        ("a\x1bMb\x1b", "ab", "a  b "),
        ("\x9b2Ja", "2Ja", " 2Ja"),
        ("50%\x08\x0860%\x00\x7f", "50%60%", "50%  60%  "),
        ("a\tb\r\nc\vd\x85e\xa0f\u2028g\u3000h", "a b  c d e f g h", "a b  c d e f g h"),
        ("safe\u202etxt.exe\u2066\u200b\xad\ufeff", "safetxt.exe", "safe txt.exe    "),
        ("half \ud800, private \ue000, unassigned \u0378", "half , private , unassigned ", "half  , private  , unassigned  "),
    ],
    ids=ascii,
)  # fmt: skip
def test_what_could_rewrite_a_terminal_is_dropped_or_blanked(text, expected, blanked):
    assert printable(text) == expected
    assert printable(text, instead=" ") == blanked


def test_line_feeds_and_tabs_stay_where_they_are_kept():
    assert printable("a\tb\nc\rd", keep="\t\n") == "a\tb\nc d"
    assert printable("\x1b[1ma\n\x1b[0m", keep="\n") == "a\n"


@given(HOSTILE | st.text())
def test_the_result_is_printable_and_final_and_blanking_keeps_its_length(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert printable(text, instead=" ").isprintable()
    assert len(printable(text, instead=" ")) == len(text)
    printable(text).encode()
    assert set(printable(text, keep="\t\n")) - set("\t\n") <= set(printable(text)) | {" "}
