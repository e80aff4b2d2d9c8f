"""Streams of single rows: learn one, predict one, and what that scores; in the background, too."""

from fastnn.online.learner import Learner
from fastnn.online.live import Live
from fastnn.online.prequential import prequential

__all__ = ["Learner", "Live", "prequential"]
