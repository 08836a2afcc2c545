"""Small changes to a module's source, each of which a test should notice.

Only what decides is changed: comparisons, and/or/not, arithmetic, numbers, booleans, keywords that turn something on,
conditions, and statements that can be left out. The words of messages and docstrings are not.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "+",
    ast.Pow: "*",
}

ANNOTATIONS = {"annotation", "returns", "decorator_list", "bases"}
"""Fields of nodes that decide nothing."""
UNCHANGED = (ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)


@dataclass(frozen=True, slots=True)
class Mutation:
    """Replace the characters from `start` to `end` of the source by `new`."""

    start: int
    end: int
    new: str
    line: int
    old: str

    def apply(self, source: str) -> str:
        """The changed source."""
        return source[: self.start] + self.new + source[self.end :]


def mutations(source: str) -> list[Mutation]:
    """All changes, in the order of the source, each once."""
    return sorted(set(_Finder(source).found()), key=lambda each: (each.start, each.end, each.new))


def named(source: str) -> dict[str, Mutation]:
    """All changes under what they are called in the list of those that change nothing: the line, and the change. Names
    stay when lines are added elsewhere; of equal ones the second has a (2), and so on.
    """
    found: dict[str, Mutation] = {}
    lines, times = source.splitlines(), Counter[str]()
    for each in mutations(source):
        name = f"{lines[each.line - 1].strip()} ⇒ {each.old} → {each.new}"
        times[name] += 1
        found[name if times[name] == 1 else f"{name} ({times[name]})"] = each
    return found


class _Finder:
    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = [0]  # where each begins; ast counts bytes in a line, which differ from characters
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._text = source.splitlines()

    def found(self) -> Iterator[Mutation]:
        tree = ast.parse(self._source)
        for node in self._deciding(tree):
            yield from self._of(node)

    def _deciding(self, node: ast.AST) -> Iterator[ast.AST]:
        """All nodes but those of messages, annotations and imports."""
        yield node
        for name, value in ast.iter_fields(node):
            if name in ANNOTATIONS or (isinstance(node, ast.keyword) and node.arg in {"hint", "strict"}):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, UNCHANGED) and not _is_for_types(child):
                    yield from self._deciding(child)

    def _of(self, node: ast.AST) -> Iterator[Mutation]:
        yield from self._operators(node)
        yield from self._values(node)
        yield from self._statements(node)

    def _operators(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    yield from (self._between(left, right, new) for new in COMPARISONS[type(op)])
            case ast.BoolOp():
                new = "or" if isinstance(node.op, ast.And) else "and"
                yield from (self._between(left, right, new) for left, right in pairwise(node.values))
            case ast.BinOp() if type(node.op) in ARITHMETIC and not _is_text(node):
                yield self._between(node.left, node.right, ARITHMETIC[type(node.op)])
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace(node, self._code(node.operand))

    def _values(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.Constant(value=bool(value)):
                yield self._replace(node, str(not value))
            case ast.Constant(value=int(value) | float(value)):
                yield self._replace(node, repr(value + 1))
                if value > 1:
                    yield self._replace(node, repr(value - 1))

    def _statements(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.If() | ast.IfExp():
                yield self._replace(node.test, "True")
                yield self._replace(node.test, "False")
            case ast.While():
                yield self._replace(node.test, "False")
            case ast.comprehension():
                yield from (self._replace(test, "True") for test in node.ifs)
            case ast.Raise() | ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break():
                yield self._replace(node, "pass")
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield self._replace(value, "None")

    def _place(self, line: int, byte: int) -> int:
        return self._lines[line - 1] + len(self._text[line - 1].encode()[:byte].decode())

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self._place(node.lineno, node.col_offset),
            self._place(node.end_lineno, node.end_col_offset),
        )

    def _code(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return f"({self._source[start:end]})"

    def _replace(self, node: ast.AST, new: str) -> Mutation:
        start, end = self._span(node)
        return Mutation(start, end, new, node.lineno, " ".join(self._source[start:end].split()))

    def _between(self, left: ast.AST, right: ast.AST, new: str) -> Mutation:
        """Replace the operator between two operands; brackets around them stay."""
        start, end = self._span(left)[1], self._span(right)[0]
        text = self._source[start:end]
        operator = text.strip(" ()\n\t\\")
        at = start + text.index(operator)
        line = self._source.count("\n", 0, at) + 1
        return Mutation(at, at + len(operator), new, line, operator)


def _is_for_types(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which decides nothing when it runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_text(node: ast.BinOp) -> bool:
    """Whether it joins texts or lists: `+` of those is left alone."""
    sides = (node.left, node.right)
    return any(
        isinstance(each, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(each, ast.Constant) and isinstance(each.value, str | bytes))
        for each in sides
    )
