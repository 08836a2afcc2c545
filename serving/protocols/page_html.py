"""The page of `GET /` for people: what the model is, a form to try it, commands. Without script, and nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from registry.text import printable
from serving.protocols.fields import range_text

MOST_INPUTS = 100
"""Rows of the table of inputs."""
CSS = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #5b6773; --line: #d9e0e6; --ground: #fff; --panel: #f5f7f9; --link: #1f5c99; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ed; --soft: #a3afba; --line: #36414b; --ground: #14191e; --panel: #1c232a; --link: #7db8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1000px; padding: 24px 20px 48px; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.55rem; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 32px 0 10px; padding-bottom: 5px; border-bottom: 1px solid var(--line); }
a { color: var(--link); }
.soft { color: var(--soft); font-size: 0.88rem; margin: 0 0 10px; }
pre, textarea, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86rem; }
pre { white-space: pre-wrap; margin: 4px 0 8px; padding: 8px 10px; background: var(--panel); border-radius: 6px; }
form { margin-bottom: 8px; background: var(--panel); border-radius: 8px; padding: 14px 16px; }
.fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 12px 16px; margin-bottom: 14px; }
label { display: block; font-size: 0.86rem; color: var(--soft); }
input, select, textarea { width: 100%; padding: 6px 8px; color: var(--ink); background: var(--ground); border: 1px solid var(--line);
  border-radius: 6px; font-size: 0.95rem; }
textarea { min-height: 7em; margin-bottom: 10px; }
button { padding: 7px 18px; border: 0; border-radius: 6px; background: #1f5c99; color: #fff; font-size: 0.95rem; cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); min-width: 4.5em; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; }
"""
POLICY = (
    "default-src 'none'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()}'"
)
"""The page's content security policy: this stylesheet, its own form, and nothing else."""


@dataclass(frozen=True, slots=True)
class Form:
    """What can be tried on the page: an image file, JSON, or one row, field by field."""

    image: str = ""
    accept: str = ""
    """Content types of image files."""
    """Which files the model takes, in words."""
    json: str = ""
    fields: tuple[tuple[str, dict[str, Any], Any], ...] = ()
    """What a field is called in the form, facts about its input, and its value to begin with."""


def page(facts: dict[str, Any], form: Form) -> str:
    """The whole page."""
    title = escape(f"{facts['model']}, version {facts['version']}")
    release = "a candidate in an acceptance test" if facts["release"] is None else f"release {facts['release']}"
    target = f" of {printable(facts['target'])}" if facts["target"] else ""
    if several := facts["targets"]:
        target = f" of {len(several):,} targets"
    about = escape(f"{facts['task']}{target}, {release}, engine {facts['engine']}")
    names = ", ".join(f"<bdi>{escape(each)}</bdi>" for each in facts["classes"][:MOST_INPUTS])
    called = "Classes"
    if "threshold" in facts:
        called, names = "Labels", f"{names}; one applies from a probability of {facts['threshold']:g} on"
    classes = f"<h2>{called}</h2><p>{names}</p>" if names else ""
    if several:
        classes = f"<h2>Targets</h2><p>{', '.join(f'<bdi>{escape(each)}</bdi>' for each in several[:MOST_INPUTS])}</p>"
    curl = "".join(f"<pre>{escape(line)}</pre>" for line in facts["curl"])
    pages = ", ".join(map(_link, facts["pages"]))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head><body>'
        f'<h1>{title}</h1><p class="soft">{about}</p>'
        f"<h2>Try it</h2>{''.join(_form(form))}"
        f"<h2>From a program</h2><p>Send {escape(facts['send'])}.</p>{curl}<pre>{escape(facts['python'])}</pre>"
        f"<h2>Inputs</h2>{''.join(_inputs(facts['inputs']))}{classes}"
        f"{''.join(_kept(facts.get('kept')))}"
        f'<h2>Pages</h2><p class="mono">{pages}</p></body></html>\n'
    )


def _form(form: Form) -> Iterator[str]:
    yield '<form method="post" action="predict" enctype="multipart/form-data">'
    if form.image:
        words = escape(form.image)
        yield f'<div class="fields"><label>{words}<input type="file" name="image" accept="{form.accept}" required></label></div>'
    elif form.fields:
        yield f'<div class="fields">{"".join(_field(i, *each) for i, each in enumerate(form.fields))}</div>'
    else:
        yield f'<label>JSON<textarea name="json" required>{escape(form.json)}</textarea></label>'
    yield '<button>Predict</button></form><p class="soft">The answer is the JSON that a program gets.</p>'


def _field(number: int, form_name: str, facts: dict[str, Any], value: Any) -> str:
    label, name, known = escape(facts["name"]), escape(form_name), facts.get("known_values", ())
    if facts["dtype"] == "bool":
        options = "".join(
            f"<option{' selected' if value is each else ''}>{str(each).lower()}</option>" for each in (True, False)
        )
        return f'<label>{label}<select name="{name}">{options}</select></label>'
    said = escape(f"{value:.7g}" if isinstance(value, float) else str(value))
    if facts["dtype"] != "string":
        required = "" if facts.get("may_miss") else " required"
        return f'<label>{label}<input name="{name}" inputmode="decimal"{required} value="{said}"></label>'
    if any("\n" in each or "\r" in each for each in (*known, value)):  # an input has one line, and drops the others
        return f'<label>{label}<textarea name="{name}">\n{said}</textarea></label>'
    # a list to choose from, and whatever else one writes
    options = "".join(f'<option value="{escape(each)}">' for each in known)
    of = f' list="known{number}"' if known else ""
    values = f'<datalist id="known{number}">{options}</datalist>' if known else ""
    return f'<label>{label}<input name="{name}"{of} value="{said}">{values}</label>'


def _inputs(inputs: list[dict[str, Any]]) -> Iterator[str]:
    yield '<div class="scroll"><table><thead><tr><th scope="col">name</th><th scope="col">dtype</th><th scope="col">shape</th><th scope="col">values</th></tr></thead><tbody>'
    for each in inputs[:MOST_INPUTS]:
        cells = (each["dtype"], _shape(each["shape"]), _values(each) + (" or null" if each.get("may_miss") else ""))
        yield (
            f'<tr><th scope="row">{escape(each["name"])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    yield "</tbody></table></div>"
    if more := len(inputs) - MOST_INPUTS:
        yield f'<p class="soft">… and {more} more: this page as JSON lists them all.</p>' if more > 0 else ""


def _kept(facts: dict[str, Any] | None) -> Iterator[str]:
    """What becomes of what a client sends."""
    yield "<h2>What is kept</h2>"
    if facts is None:
        yield "<p>Nothing that you send is kept.</p>"
        return
    share = "every request" if facts["fraction"] >= 1 else f"{facts['fraction']:.4g} of all requests"
    elsewhere = ", and sent to another system" if facts.get("sent_elsewhere") else ""
    yield f"<p>Of {share} the answer is kept for {facts['days']} days{elsewhere}, with who asked, and of the inputs:</p><ul>"
    for name, words in list(facts["inputs"].items())[:MOST_INPUTS]:
        yield f"<li><bdi>{escape(name)}</bdi>: {escape(words)}</li>"
    yield "</ul>"


def _link(text: str) -> str:
    verb, _, path = text.partition(" ")
    return f'GET <a href="{path.removeprefix("/")}">{path}</a>' if verb == "GET" else escape(text)


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if each is None else str(each) for each in shape) or "one value"


def _values(facts: dict[str, Any]) -> str:
    if "known_values" in facts:
        return ", ".join(facts["known_values"]) or "text"
    said = [f"mostly {range_text(*facts['typical'])}"] if "typical" in facts else []
    if bounds := range_text(facts.get("low"), facts.get("high")):
        said.append(bounds)
    return "; ".join(said) or {"string": "text", "bool": "true or false"}.get(facts["dtype"], "any number")
