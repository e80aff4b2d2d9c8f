"""A package in Cython that predicts with fastnn's C functions: python -m pip install ."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastnn

folder = str(Path(fastnn.get_library()).parent)
scores = Extension(
    "scores",
    ["scores.pyx"],
    include_dirs=[fastnn.get_include()],
    libraries=["fastnn"],
    library_dirs=[folder],
    runtime_library_dirs=[folder],
)
setup(
    name="scores",
    version="1.0",
    py_modules=[],
    install_requires=["fastnn-cpu"],
    ext_modules=cythonize([scores], language_level=3),
)
