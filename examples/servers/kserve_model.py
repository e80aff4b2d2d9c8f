"""A model file behind KServe's protocol V1: python kserve_model.py model.safetensors

    curl localhost:8080/v1/models/fastnn:predict -d '{"instances": [{"age": 51, "town": "Oslo"}]}'

In a cluster this is the predictor's container, with the file under /mnt/models, where KServe's
storage initializer puts what storageUri names.
"""

from __future__ import annotations

import sys
from typing import Any

import kserve

import fastnn


class Predictions(kserve.Model):
    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self.path = path

    def load(self) -> bool:
        self.answer = fastnn.load(self.path).predictor(rows=True)
        self.ready = True
        return self.ready

    def predict(self, payload: dict[str, Any], headers: Any = None, *_: Any, **__: Any) -> Any:
        """Of each row the class and the probabilities."""
        names = [str(one) for one in self.answer.classes.tolist()]
        told = [
            {"class": names[p.argmax()], "probabilities": dict(zip(names, p.tolist(), strict=True))}
            for p in self.answer(payload["instances"])
        ]
        return {"predictions": told}


if __name__ == "__main__":
    model = Predictions("fastnn", sys.argv[1])
    model.load()
    kserve.ModelServer().start([model])
