"""A model file behind BentoML: MODEL=model.safetensors bentoml serve bentoml_service:Predictions

    curl localhost:3000/predict -H 'content-type: application/json' \\
        -d '{"rows": [{"age": 51, "town": "Oslo"}]}'
"""

from __future__ import annotations

import os
from typing import Any

import bentoml

import fastnn


@bentoml.service
class Predictions:
    def __init__(self) -> None:
        self.answer = fastnn.load(os.environ["MODEL"]).predictor(rows=True)

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of each row the class and the probabilities."""
        names = [str(one) for one in self.answer.classes.tolist()]
        return [
            {"class": names[p.argmax()], "probabilities": dict(zip(names, p.tolist(), strict=True))}
            for p in self.answer(rows)
        ]
