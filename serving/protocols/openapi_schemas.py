"""JSON schemas of what goes into a model and comes out of it, in each dialect's form, from its signature."""

from __future__ import annotations

from typing import Any

from registry.records import Signature, TensorSpec
from serving.calls import Limits
from serving.engines.base import Array, Arrays
from serving.feedback.items import MOST_ITEMS, MOST_TEXT
from serving.probabilities import form_of
from serving.protocols.fields import EXACT, Field
from serving.protocols.read_instances import Reader
from serving.protocols.v2.tensors import DATATYPES
from serving.request_ids import VALID
from training.data import dates

Schema = dict[str, Any]


def schemas(reader: Reader, signature: Signature, warm: Arrays, limits: Limits) -> dict[str, Schema]:
    """By name, for `components.schemas`. `warm`: outputs for rows that are known to be good."""
    values = {each.name: _values(each, warm[each.name]) for each in signature.outputs}
    only = next(iter(values.values())) if len(values) == 1 else None
    return {
        "Instance": _instance(reader),
        "Instances": {"type": "array", "items": ref("Instance"), "minItems": 1, "maxItems": limits.instances},
        "PredictRequest": _object({"instances": ref("Instances")}),
        "Prediction": _prediction(signature, warm),
        "PredictAnswer": _object(
            {
                "model": {"type": "string"},
                "version": {"type": "integer"},
                "release": {"type": ["integer", "null"]},
                "request_id": {"type": "string"},
                "predictions": {"type": "array", "items": ref("Prediction")},
            }
        ),
        "V1Answer": {
            "anyOf": [
                _object({"predictions": _rows(only or _object(values))}),
                _object({"outputs": _rows(only) if only else _object({k: _rows(v) for k, v in values.items()})}),
            ]
        },
        "V1Examples": _object(
            {"examples": {"type": "array", "items": {"type": "object"}, "minItems": 1}}, open_ended=True
        ),
        "V1Results": _object({"results": {"type": "array"}}, open_ended=True),
        "FeedbackItem": _object(
            {
                "request_id": {"type": "string", "pattern": f"^{VALID.pattern}$"},
                "row": {"type": "integer", "minimum": 0},
                "label": {"type": ["string", "number"]},
                "correct": {"type": "boolean"},
                "at": {"type": "string", "format": "date-time"},
                "by": {"type": "string", "minLength": 1, "maxLength": MOST_TEXT},
                "sure": {"type": "number", "minimum": 0, "maximum": 1},
            },
            required=["request_id"],
        ),
        "FeedbackItems": {"type": "array", "items": ref("FeedbackItem"), "minItems": 1, "maxItems": MOST_ITEMS},
        "FeedbackRequest": {
            "anyOf": [ref("FeedbackItem"), _object({"feedback": ref("FeedbackItems")}), ref("FeedbackItems")]
        },
        "FeedbackAnswer": _object(
            {
                "request_id": {"type": "string"},
                **{name: {"type": "integer"} for name in ("added", "same", "refused")},
                "feedback": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "ExplainAnswer": _object({"explanations": {"type": "array", "items": {"type": "object"}}}, open_ended=True),
        "MlflowRequest": _one_of_keys(_object({key: ref("Instances")}) for key in _instance_keys(reader)),
        "MlflowAnswer": _object(
            {"predictions": _rows(only) if only else _object({k: _rows(v) for k, v in values.items()})}
        ),
        "V2Request": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "maxLength": 256},
                "inputs": {
                    "type": "array",
                    "minItems": len(signature.inputs),
                    "maxItems": len(signature.inputs),
                    "items": {"anyOf": [_tensor(each) for each in signature.inputs]},
                },
                "outputs": {"type": "array", "items": _object({"name": {"enum": list(values)}}, open_ended=True)},
                "parameters": {"type": "object"},
            },
            "required": ["inputs"],
        },
        "V2Answer": _object(
            {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "outputs": {"type": "array", "items": {"anyOf": [_tensor(each) for each in signature.outputs]}},
            },
            open_ended=True,
        ),
        "Error": _object(
            {"error": {"type": "string"}, "hint": {"type": "string"}, "request_id": {"type": "string"}},
            required=["error"],
        ),
        "ErrorText": _object({"error": {"type": "string"}}),
        "MlflowError": _object({"error_code": {"type": "string"}, "message": {"type": "string"}}),
        "Facts": {"type": "object"},
    }


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Schema], *, open_ended: bool = False, required: list[str] | None = None) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "required": required or list(properties)}
    return found if open_ended else found | {"additionalProperties": False}


def _one_of_keys(objects: Any) -> Schema:
    return {"oneOf": list(objects)}


def _instance_keys(reader: Reader) -> tuple[str, ...]:
    return ("instances", "dataframe_records") if reader.named else ("instances",)


def _rows(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _instance(reader: Reader) -> Schema:
    if reader.named:
        return _object({each.name: _nested(_leaf(each), each.shape) for each in reader.fields})
    return _nested(_leaf(reader.fields[0]), reader.fields[0].shape)


def _leaf(field: Field) -> Schema:
    """One value of an input."""
    if field.dtype == "string":
        said = {} if field.written is None else {"description": f"a date {dates.in_words(field.written)}"}
        kinds: Any = ["string", "null"] if field.may_miss else "string"
        return {"type": kinds, "maxLength": field.longest} | said
    if field.dtype == "bool":
        return {"type": "boolean"}
    whole = field.dtype.startswith(("int", "uint"))
    low, high = (max(field.low, -EXACT), min(field.high, EXACT)) if whole else (field.low, field.high)
    kind: Any = "integer" if whole else "number"
    return {"type": [kind, "null"] if field.may_miss else kind, "minimum": low, "maximum": high}


def _nested(leaf: Schema, shape: tuple[int | None, ...]) -> Schema:
    """Lists in lists around `leaf`, one per dimension."""
    for size in reversed(shape):
        bounds = {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}
        leaf = {"type": "array", "items": leaf} | bounds
    return leaf


def _values(spec: TensorSpec, warm: Array) -> Schema:
    """One row of an output, as the model gives it."""
    return _nested(_kind(spec), tuple(warm.shape[1:]))


def _kind(spec: TensorSpec) -> Schema:
    if spec.dtype in {"string", "bool"}:
        return {"type": "string" if spec.dtype == "string" else "boolean"}
    return {"type": "integer" if spec.dtype.startswith(("int", "uint")) else "number"}


def _prediction(signature: Signature, warm: Arrays) -> Schema:
    if signature.task == "anomaly":
        return _object({each.name: _kind(each) for each in signature.outputs})
    found = {each.name: _answer(signature, each, warm[each.name]) for each in signature.outputs}
    return next(iter(found.values())) if len(found) == 1 else _object(found)


def _answer(signature: Signature, spec: TensorSpec, warm: Array) -> Schema:
    """One output of one row, as serving.protocols.write_predictions writes it."""
    number: Schema = {"type": "number"}
    classes, targets = signature.classes, signature.targets
    form = form_of(signature, warm)
    per_class = _object(dict.fromkeys(classes, number))
    if form in {"distribution", "second"}:
        return _object({"class": {"enum": list(classes)}, "probability": number, "probabilities": per_class})
    if form == "labels":
        names: Schema = {"type": "array", "items": {"enum": list(classes)}, "uniqueItems": True}
        return _object({"labels": names, "probabilities": per_class})
    if form == "scores":
        return _object({"class": {"enum": list(classes)}, "scores": per_class})
    if warm.ndim == 1 or warm.shape[1:] == (1,):
        return _object({"value": _kind(spec)})
    if targets and warm.shape[1:] == (len(targets),):
        return _object({"values": _object(dict.fromkeys(targets, number))})
    return _object({"values": _values(spec, warm)})


def _tensor(spec: TensorSpec) -> Schema:
    """One tensor of the Open Inference Protocol."""
    size: Schema = {"type": "integer", "minimum": 0}
    shape = [size if each is None else {"const": each} for each in spec.shape]
    return {
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": DATATYPES.get(spec.dtype, spec.dtype)},
            "shape": {"type": "array", "prefixItems": shape, "minItems": len(shape), "maxItems": len(shape)},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        "required": ["name", "datatype", "shape"],
    }
