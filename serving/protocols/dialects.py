"""The table of dialects, and a model prepared for all of them."""

from __future__ import annotations

from collections.abc import Callable

from serving.model import Model
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.protocols.base import Dialect, Routes
from serving.protocols.explain import ExplainCodec, ExplainDialect
from serving.protocols.feedback import FeedbackDialect, Taker
from serving.protocols.instances import InstancesCodec, InstancesDialect
from serving.protocols.mlflow import MlflowCodec, MlflowDialect
from serving.protocols.v1 import V1Codec, V1Dialect
from serving.protocols.v2.dialect import V2Dialect
from serving.protocols.v2.infer import V2Codec

DIALECTS: tuple[Callable[[Predictors], Dialect], ...] = (
    InstancesDialect,
    V2Dialect,
    V1Dialect,
    MlflowDialect,
    ExplainDialect,
)
CODECS: tuple[Callable[[Model], object], ...] = (InstancesCodec, V2Codec, MlflowCodec, V1Codec, ExplainCodec)
"""Made when a model is loaded, so that the first request finds them, and a signature that cannot be sent is found then."""


def routes_for(predictors: Predictors, taker: Taker | None = None) -> Routes:
    """All that clients may ask of a model. `taker` keeps what they report; None: nobody does."""
    return Routes([*(each(predictors) for each in DIALECTS), FeedbackDialect(taker)])


def predictor_for(model: Model) -> Predictor:
    """The model, ready to answer; raises Corrupt for a signature that requests cannot carry."""
    predictor = Predictor(model)
    for each in CODECS:
        predictor.codec(each)
    return predictor
