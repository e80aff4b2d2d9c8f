"""Streams of single rows: learn one, predict one, and what that scores."""

from fastnn.online.learner import Learner
from fastnn.online.prequential import prequential

__all__ = ["Learner", "prequential"]
