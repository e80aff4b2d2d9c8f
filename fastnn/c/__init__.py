"""C: a network as one file that needs no library, for services, devices and browsers."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import Any

from fastnn.c.write import as_c
from fastnn.config import __version__
from fastnn.files.model import write_atomically
from fastnn.model import Model

__all__ = ["export"]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def export(model: Model | Any, path: str | PathLike[str], *, name: str | None = None) -> None:
    """Write a model as one C99 file, with its weights, which any C compiler takes.

    Of a name "net" the file defines one function, and its comment says how it is compiled and what
    its numbers are::

        int net_predict(const float x[N_IN], float y[N_OUT]);

    y becomes h^(K) of the row x, as ``model.forward`` gives it, both double of a float64 model; it
    returns 0, y as it was, where a number of x is not finite. It allocates nothing, keeps nothing
    and calls no library but, for layer normalisation and clipped columns, sqrt of libm: any number
    of threads may call it.

    y has the bits that fastnn gives with ``FASTNN_ISA=baseline`` on x86-64, whose every product and
    sum is rounded (other instruction sets round both at once), unless a number on the way lies
    within half a unit in its last place below the smallest normal one, or is NaN.

    A model that learned columns of numbers takes them as the table has them, in the order of
    training, as double, NaN where a number is missing; an amount comes in its own unit, as double.

    Parameters
    ----------
    model : fastnn.Model
        Without feature_scale, and without embeddings but `fastnn.Categories`; of its columns none
        may be text, a date, or scaled as a logarithm.
    path : path
        Such as "net.c". The file takes its place there once it is whole.
    name : str, optional
        What names in the file begin with; by default the file's name without its suffix.

    Raises
    ------
    TypeError
        `model` is no fastnn.Model.
    ValueError
        The model has something that the file cannot hold, which the error names; weights are not
        finite; or `name` is none that C allows.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.c.export(fastnn.Model([4, 8, 3], seed=0), "net.c")
    >>> from pathlib import Path
    >>> "int net_predict(const float x[4], float y[3]);" in Path("net.c").read_text()
    True
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a fastnn.Model, got {model!r:.100}")
    if name is None:
        name = re.sub(r"\W", "_", Path(os.fspath(path)).stem, flags=re.ASCII)
        name = name if NAME.fullmatch(name) else f"net_{name}"
    elif not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"name must be letters, digits and _, a letter first, got {name!r:.50}")
    write_atomically(path, [as_c(model, name, __version__).encode("ascii")])
