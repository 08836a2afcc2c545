"""An API that another version of Trainyard has started is known by the form of the records that it reads."""

from dataclasses import dataclass, make_dataclass

from registry.formats import formats


@dataclass(frozen=True)
class Inner:
    a: int


def record(*fields, name="Release"):
    return make_dataclass(name, fields)


def test_the_form_of_the_registrys_records_is_known_by_16_digits():
    assert len(formats()) == 16
    int(formats(), 16)
    assert formats() == formats()


def test_a_field_more_or_less_or_of_another_type_is_another_form():
    forms = [
        formats((record(*fields),))
        for fields in ([("a", int)], [("a", int), ("also_approved", int)], [("a", str)], [("b", int)])
    ]
    assert len(set(forms)) == 4


def test_so_is_a_field_of_a_record_in_a_record():
    @dataclass(frozen=True)
    class Changed:
        a: int
        b: int

    Changed.__name__, Changed.__qualname__, Changed.__module__ = "Inner", "Inner", Inner.__module__
    assert repr(Changed) == repr(Inner)
    for around in (lambda each: each, lambda each: each | None, lambda each: dict[str, tuple[each, ...]]):
        assert formats((record(("a", around(Inner))),)) != formats((record(("a", around(Changed))),))


def test_the_order_of_fields_and_records_does_not_matter():
    assert formats((record(("a", int), ("b", int)),)) == formats((record(("b", int), ("a", int)),))
    one, other = record(("a", int)), record(("a", int), name="Head")
    assert formats((one, other)) == formats((other, one))
