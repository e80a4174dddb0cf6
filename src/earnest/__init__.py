"""Deep learning, in earnest: from data and a question to a model you can trust.

import earnest

run = earnest.fit("photos/", minutes=10)
run.evaluation["test"]["metrics"]["accuracy"]
earnest.load("runs/photos").predict("new_photos/")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earnest.api.boltzmann import RBM
    from earnest.api.deep_belief import DBN
    from earnest.api.estimators import Classifier, Regressor
    from earnest.api.fit import fit
    from earnest.api.generate import generate
    from earnest.api.generate_pictures import generate_pictures
    from earnest.api.predict import load, predict
    from earnest.api.report import report
    from earnest.api.resume import resume
    from earnest.api.similar import similar
    from earnest.api.zoo import zoo

__version__ = "0.1.0"

__all__ = [
    "DBN",
    "RBM",
    "Classifier",
    "Regressor",
    "fit",
    "generate",
    "generate_pictures",
    "load",
    "predict",
    "report",
    "resume",
    "similar",
    "zoo",
]

_HOMES = {
    "DBN": "deep_belief",
    "RBM": "boltzmann",
    "Classifier": "estimators",
    "Regressor": "estimators",
    "fit": "fit",
    "generate": "generate",
    "generate_pictures": "generate_pictures",
    "load": "predict",
    "predict": "predict",
    "report": "report",
    "resume": "resume",
    "similar": "similar",
    "zoo": "zoo",
}

importlib.import_module("earnest.report")  # its first import binds the name `report`, which belongs to the verb
del globals()["report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earnest' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"earnest.api.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
