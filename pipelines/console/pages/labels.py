"""The review queue: one answer at a time, to be labelled without knowing what the model or others have said of it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from pipelines.console import audit
from pipelines.console.background import background
from pipelines.console.labelling.office import Turn, office
from pipelines.console.needs import can, needs
from pipelines.text.clean import clean
from registry.label_queue import Item
from serving.feedback.items import Invalid
from serving.request_ids import VALID

page = Blueprint("labels", __name__)
MOST_ROW = 10**6
PAIRS = 20


@page.get("/models/<model>/labels")
@needs("see")
def show(model: str) -> str:
    """The next item of whoever may label; how far the queue is, for everybody."""
    return _page(model, after=_key(request.args.get("after", "")))


@page.get("/models/<model>/labels/image/<request_id>/<int:row>")
@needs("label")
def image(model: str, request_id: str, row: int) -> Response:  # noqa: ARG001  (`g.place` has it)
    """The image of an item in the queue, and of no other answer."""
    item = _item(request_id, row)
    found = office().reader.image(g.place.config, item)
    if not found:
        abort(404)
    return Response(found, mimetype="image/png", headers={"Cache-Control": "private, no-store"})


@page.post("/models/<model>/labels/answer")
@needs("label")
def answer(model: str) -> Any:
    """Keep an answer: the same once more changes nothing, another one overrules it, and both stay as history."""
    item = _of_form()
    try:
        office().question(g.place.config, item)
        _note("label", model, item)
        outcome = office().answer(g.place.config, g.person.shown[:200], item, request.form)
    except Invalid as error:
        return _page(model, error=str(error), stay=item), min(error.status, 499)
    if outcome == "full":
        flash("This item has been labelled a hundred times: no more of it is kept.", "bad")
    return _back(model)


@page.post("/models/<model>/labels/not-sure")
@needs("label")
def not_sure(model: str) -> Answer:
    """Another person is asked."""
    item = _of_form()
    _note("not sure", model, item)
    office().not_sure(g.place.config, g.person.shown[:200], item)
    return _back(model)


@page.post("/models/<model>/labels/undo")
@needs("label")
def undo(model: str) -> Answer:
    """Take back one's own last answer: the item is asked again."""
    kind, number = request.form.get("kind", "")[:10], request.form.get("number", -1, type=int)
    audit.record("undo label", model, f"{kind} {number}")
    last = office().undo(g.place.config, g.person.shown[:200], kind, number if abs(number) < 2**62 else -1)
    if last is None:
        flash("There was nothing to take back.", "good")
    return _back(model)


@page.post("/models/<model>/labels/fill")
@needs("label")
def fill(model: str) -> Answer:
    """Have today's answers chosen that are worth a label, as `trainyard labels queue` does."""
    audit.record("fill the review queue", model, "")
    begun = background().start(f"labels-{model}", g.place.config, "labels", "queue", model, "--json")
    flash(
        "Looking for answers that are worth a label: reload in a moment." if begun else "It is being looked already.",
        "good",
    )
    return _back(model)


def _page(model: str, after: tuple[str, int] | None = None, error: str = "", stay: Item | None = None) -> str:
    config, may = g.place.config, can("label", model)
    turn = office().turn(config, g.person.shown[:200] if may else "", after)
    item = (stay or turn.item) if may else None
    shown = office().reader.get(config, item, turn.soon) if item else None
    return render_template(
        "labels.html",
        enabled=config.prediction_log.enabled,
        may=may,
        item=item,
        shown=shown,
        question=office().question(config, item) if item and shown and not shown.gone else None,
        turn=turn,
        agreements=_agreements(turn, everybody=can("silence", model)),
        accuracy=_accuracy(turn) if can("silence", model) else "",
        labellers=config.labels.labellers,
        per_day=config.labels.per_day,
        looking=background().is_running(f"labels-{model}"),
        error=clean(error, 300),
    )


def _agreements(turn: Turn, *, everybody: bool) -> list[tuple[str, str, str, str, str]]:
    """Rows of a table: one's own, or everybody's for whom it is a matter of running the model."""
    return [
        (
            f"{clean(each.one, 80)} and {clean(each.other, 80)}",
            str(each.items),
            f"{each.share:.0%}",
            "" if each.kappa is None else f"{each.kappa:.2f}",
            "" if each.difference is None else f"{each.difference:.4g}",
        )
        for each in turn.seen.agreements
        if everybody or g.person.shown in {each.one, each.other}
    ][:PAIRS]


def _accuracy(turn: Turn) -> str:
    if turn.seen.accuracy is None:
        return ""
    share, low, high = turn.seen.accuracy
    return f"Of {turn.seen.drawn} that were drawn at random, the model was right in {share:.1%} (95 % interval {low:.1%} to {high:.1%})."


def _key(text: str) -> tuple[str, int] | None:
    request_id, _, row = text[:200].rpartition("/")
    if VALID.fullmatch(request_id) and row.isascii() and row.isdecimal() and len(row) < 8:
        return request_id, int(row)
    return None


def _of_form() -> Item:
    return _item(request.form.get("request", ""), request.form.get("row", -1, type=int))


def _item(request_id: str, row: int) -> Item:
    """One of the queue; 404 for any other."""
    if not VALID.fullmatch(request_id) or not 0 <= row <= MOST_ROW:
        abort(404)
    return office().item(g.place.config, (request_id, row)) or abort(404)


def _note(action: str, model: str, item: Item) -> None:
    """Which item, and not what was said of it: who reads the audit log may label, too."""
    audit.record(action, model, f"request {item.request}, row {item.row}")


def _back(model: str) -> Answer:
    return redirect(url_for("labels.show", model=model), 303)
