"""Our `dataclass` compiles its methods late; what they do is what the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.dataclass import dataclass, types_of

GIVEN = [
    ((1,), {}),
    ((1, 3), {"names": ("a",)}),
    ((), {"x": 1, "more": {"a": 1}}),
    ((1,), {"hidden": 2.0}),
    ((), {}),
    ((1, 2, (), {}, 0.5, 6), {}),
    ((1,), {"z": 1}),
    ((1,), {"x": 1}),
]


def point(decorator: typing.Any, *, frozen: bool = True) -> typing.Any:
    """A class with each kind of field that we use."""

    @decorator(slots=True, frozen=frozen)
    class Point:
        """Where."""

        x: int
        y: int = 2
        names: tuple[str, ...] = ()
        more: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
        hidden: float | None = dataclasses.field(default=None, repr=False)
        WORD: typing.ClassVar = "point"

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("less than nothing")

        @property
        def both(self) -> int:
            """The sum."""
            return self.x + self.y

    return Point


@pytest.fixture(params=[True, False], ids=["frozen", "changeable"])
def twins(request):
    """The class as we make it, and as the standard library does."""
    return [point(each, frozen=request.param) for each in (dataclass, dataclasses.dataclass)]


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that `pickle` finds by its name."""

    x: int
    names: tuple[str, ...] = ()


def outcome(work: typing.Callable[[], object]) -> object:
    """What comes of it, or the kind of the error and its words."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)


@pytest.mark.parametrize(("values", "named"), GIVEN)
def test_an_instance_is_made_shown_and_compared_as_by_the_standard_library(twins, values, named):
    def seen(cls: typing.Any) -> object:
        one, same, other = cls(*values, **named), cls(*values, **named), cls(7)
        return (
            repr(one), dataclasses.asdict(one), one == same, one != other, one == (1, 2), one.both,
            outcome(lambda: hash(one) == hash(same)), one.more is same.more,
        )  # fmt: skip

    ours, theirs = (outcome(lambda cls=cls: seen(cls)) for cls in twins)
    assert ours == theirs


def test_the_class_describes_itself_as_in_the_standard_library(twins):
    def seen(cls: typing.Any) -> object:
        fields = [(each.name, each.type, each.default, each.repr, each.compare) for each in dataclasses.fields(cls)]
        signature = [(each.name, each.kind, each.annotation) for each in inspect.signature(cls).parameters.values()]
        about = (cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__, cls.__slots__, cls.__match_args__)
        return fields, signature, typing.get_type_hints(cls), about, cls.__init__.__qualname__, cls.WORD

    ours, theirs = map(seen, twins)
    assert ours == theirs


@dataclass(frozen=True, slots=True)
class Typed:
    """With types of each kind that we write."""

    a: int | None
    b: tuple[str, ...]
    c: typing.Annotated[dict[str, Kept], 5, "more"]
    d: typing.Literal["x", "y"] = "x"
    e: list[Typed] = dataclasses.field(default_factory=list)
    f: typing.Optional[Kept] = None  # noqa: UP045


@pytest.mark.parametrize("cls", [Typed, Kept])
def test_the_types_of_fields_are_those_of_the_standard_library(cls):
    assert types_of(cls) == typing.get_type_hints(cls, include_extras=True)


def test_a_field_is_changed_and_deleted_just_where_the_standard_library_allows_it(twins):
    def seen(cls: typing.Any) -> object:
        one = cls(1)
        return (
            outcome(lambda: setattr(one, "x", 5)), outcome(lambda: delattr(one, "y")),
            outcome(lambda: repr(one)), repr(dataclasses.replace(cls(1), x=3)), outcome(lambda: cls(-1)),
        )  # fmt: skip

    ours, theirs = map(seen, twins)
    assert ours == theirs


def test_a_frozen_record_takes_no_other_attribute():
    with pytest.raises(AttributeError, match="unknown"):
        Kept(1).unknown = 5


def test_copies_are_equal_also_those_that_another_process_would_read():
    one = Kept(1, ("a",))
    assert [copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))] == [one] * 3


def test_a_subclass_with_an_init_of_its_own_keeps_it():
    class More(Kept):
        def __init__(self) -> None:
            super().__init__(5)

    assert [More().x, More().x, Kept(6).x] == [5, 5, 6]


def test_threads_that_make_the_first_instances_at_the_same_time_all_get_one():
    for _ in range(20):
        cls = point(dataclass)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda number, cls=cls: cls(number).x, range(50))) == set(range(50))


@pytest.mark.parametrize("name", ["__init__", "__repr__", "__eq__", "__hash__"])
def test_a_thread_that_was_overtaken_between_look_up_and_call_gets_the_method_of_the_other(name):
    cls = point(dataclass)
    found, one = vars(cls)[name], cls(1)
    made = getattr(cls, name)
    assert found is not vars(cls)[name]
    assert found.__get__(None, cls) is made
    assert found.__get__(one, cls) == made.__get__(one, cls)


def test_a_method_is_compiled_when_it_is_first_asked_for_and_the_one_that_makes_instances_for_the_second():
    cls = point(dataclass)
    one = cls(1)
    assert not inspect.isfunction(vars(cls)["__init__"])
    assert cls(1) == one
    assert inspect.isfunction(vars(cls)["__init__"])
    cls = point(dataclass)
    one = cls(1)
    assert not inspect.isfunction(vars(cls)["__eq__"])
    assert one == cls(1)
    assert inspect.isfunction(vars(cls)["__eq__"])


def test_the_standard_library_finds_what_of_inspect_it_needs():
    """Also when our module came first, and `inspect` was not imported with it."""
    code = """
import registry.dataclass, dataclasses, sys
print("inspect" in sys.modules)
@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
print(Point.__doc__)
import inspect
print(inspect.isclass(Point))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.splitlines()) == ("", ["False", "Point(x: int, y: int = 2)", "True"])


@pytest.mark.parametrize(("values", "named"), GIVEN)
def test_the_first_instance_and_the_second_are_made_or_refused_alike(values, named):
    cls = point(dataclass)
    first, second = (outcome(lambda: dataclasses.asdict(cls(*values, **named))) for _ in range(2))
    assert first == second == outcome(lambda: dataclasses.asdict(point(dataclasses.dataclass)(*values, **named)))


@pytest.mark.parametrize("other", [{"record": 1, "self": 2}, {"self": 1}, {"record": 1}])
def test_a_field_may_have_any_name(other):
    @dataclass(frozen=True, slots=True)
    class Odd:
        record: int
        fields: int = 2

    first, second = (outcome(lambda: Odd(**other)) for _ in range(2))
    assert first == second
    assert (Odd(record=5).record, Odd(5, fields=7).fields) == (5, 7)


def test_only_classes_with_slots_are_made():
    with pytest.raises(TypeError, match="slots"):
        dataclass(slots=False, frozen=True)
