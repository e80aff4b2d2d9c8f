"""The compiled core. Importing it says what is wrong where its modules are not there."""

import os
import sys
from importlib import import_module

from fastnn.errors import DISTRIBUTION

try:
    import_module("fastnn.kernels._cpu")
except ImportError as error:
    _here = os.path.dirname(os.path.realpath(__file__))
    _folder = os.path.dirname(os.path.dirname(_here))
    _python = f"Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform}"
    if not os.path.exists(os.path.join(_folder, "setup.py")):
        _what = (
            "The installation is damaged, or for another Python. Install it anew:\n\n"
            f"    {sys.executable} -m pip install --force-reinstall {DISTRIBUTION}"
        )
    else:
        _what = (
            f"{_folder} is fastnn's source, which Python started there takes before an installed "
            "fastnn. Build its modules in place (minutes, once):\n\n"
            f"    cd {_folder} && {sys.executable} -m pip install -e .\n\n"
            "or start Python in another folder."
        )
    raise ImportError(
        f"fastnn's compiled modules cannot be loaded from {_here} by {_python}: "
        f"{error}.\n{_what}"
    ) from error
