"""The releases that have answered on a machine."""

from serving.known_good import KEPT, KnownGood, Live


def test_the_last_that_has_answered_comes_first_and_each_version_once(tmp_path):
    good = KnownGood(tmp_path)
    assert good.all() == []
    for release, card in ((1, "a"), (2, "b"), (3, "a")):
        good.add(Live(release, ord(card), card))
    assert KnownGood(tmp_path).all() == [Live(3, ord("a"), "a"), Live(2, ord("b"), "b")]


def test_a_few_are_kept(tmp_path):
    good = KnownGood(tmp_path)
    for release in range(1, 12):
        good.add(Live(release, release, str(release)))
    assert [each.release for each in good.all()] == [11, 10, 9, 8, 7]
    assert KEPT == 5


def test_a_file_that_cannot_be_read_holds_none_and_is_replaced(tmp_path):
    (tmp_path / "known_good.json").write_bytes(b'{"releases": [{"number": 1}]}')
    good = KnownGood(tmp_path)
    assert good.all() == []
    good.add(Live(1, 1, "a"))
    assert len(good.all()) == 1
