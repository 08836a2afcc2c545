"""Names of columns and classes that are legal, and mean something to some tool that they pass through."""

COLUMNS = [
    'a"b', "a\\b", "ab", "$x^2$", "{x}", "%s", "<b>", "__proto__", "constructor", "\U0001f600", "\u202eevil", "a b", "a.b",
    "1", "A", "a", "index", "class", "None", "nan", "x" * 300, "=1+1", "@SUM(A1)", "line\nbreak", "red\x1b[31m", "_start", "é",
    "tab\there", "&amp;", "${jndi}", "`id`", "it's", "inputs", "json", "input 3", "a%22b", "../../etc",
]  # fmt: skip
CLASSES = ["<b>x</b>", 'a"b\\c', "=cmd()", "\u202egnp", "$x_1$", "y" * 200, "None", "\U0001f600 two\nlines"]
VALUES = ["<script>alert(1)</script>", "%s", "=1", "\u202ex", "two\nlines", 'q"q', "a\\b"]
