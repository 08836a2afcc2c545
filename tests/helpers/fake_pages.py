"""The pages that Jenkins shows instead of an answer, and its `tree=` parameter."""

from __future__ import annotations

import html
import re

MENU = '<header><a href="/">Jenkins</a></header><script>var crumb = "x < y";</script>'


def loading_page() -> str:
    return (
        f"<!DOCTYPE html><html><head><title>Starting Jenkins</title></head><body>{MENU}<div class='simple-page'>"
        "<h1 class='loading'>Please wait while Jenkins is getting ready to work</h1>"
        "<p>Your browser will reload automatically when Jenkins is ready</p></div></body></html>"
    )


def jetty_page(status: int, message: str) -> str:
    text = html.escape(message)
    return (
        f"<html><head><title>Error {status} {text}</title></head><body><h2>HTTP ERROR {status} {text}</h2>"
        f"<table><tr><th>STATUS:</th><td>{status}</td></tr><tr><th>MESSAGE:</th><td>{text}</td></tr></table></body></html>"
    )


def denied_page(message: str) -> str:
    return (
        f"<!DOCTYPE html><html><head><title>Jenkins</title></head><body>{MENU}<div id='side-panel'>New Item</div>"
        f"<div id='main-panel'><h1>Access Denied</h1><p class='error'>{html.escape(message)}</p></div></body></html>"
    )


def failure_page(message: str) -> str:
    return (
        f"<!DOCTYPE html><html><head><title>Error</title></head><body>{MENU}"
        f"<div id='main-panel'><h1>Error</h1><p>{html.escape(message)}</p></div></body></html>"
    )


def oops_page() -> str:
    return (
        f"<!DOCTYPE html><html><head><title>Jenkins</title></head><body>{MENU}<div id='main-panel'><h1>Oops!</h1>"
        "<div id='error-description'><h2>A problem occurred while processing the request</h2>"
        "<p>Logging ID=9a1b2c</p></div></div></body></html>"
    )


def tree_of(value, tree: str):
    """What Jenkins leaves of `value` for `tree=a,b[c,d]{0,5}`."""
    wanted, rest = _tree(tree)
    if rest:
        raise ValueError(f"tree: {rest!r} is left over")
    return _pruned(value, wanted)


def _tree(text):
    fields, found = {}, re.match(r"[\w]+", text)
    while found:
        name, text, inner, limit = found[0], text[found.end() :], None, None
        if text.startswith("["):
            inner, text = _tree(text[1:])
            text = text.removeprefix("]")
        if part := re.match(r"\{(\d*)(,?)(\d*)\}", text):
            low, comma, high = part.groups()
            limit = slice(int(low or 0), int(high) if high else None) if comma else slice(int(low), int(low) + 1)
            text = text[part.end() :]
        fields[name] = (inner, limit)
        found = re.match(r"\w+", text[1:]) if text.startswith(",") else None
        text = text[1:] if found else text
    return fields, text


def _pruned(value, wanted):
    if isinstance(value, list):
        return [_pruned(each, wanted) for each in value]
    if not isinstance(value, dict) or wanted is None:
        return value
    kept = {"_class": value["_class"]} if "_class" in value else {}
    for name, (inner, limit) in wanted.items():
        if name in value:
            kept[name] = _pruned(value[name][limit] if limit else value[name], inner)
    return kept
