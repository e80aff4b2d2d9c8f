"""One row's cells, by the names of their columns -> features: what fastnn/tables does to columns, for a single dict."""
cimport numpy as np
from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.math cimport NAN, exp, isfinite, isnan, log, sqrt

import numpy

np.import_array()

cdef tuple NUMBERS = (numpy.integer, numpy.floating)  # beside Python's own

cdef extern from "Python.h":
    double PyLong_AsDouble(object cell) except? -1

cdef enum:
    NUMBER        # the cell, scaled
    ORDERED       # the place of its word, scaled
    CODE          # the place
    SIGN          # -1 or 1, of two places
    ONE_HOT       # 1 at the place

KINDS = {"number": NUMBER, "ordered": ORDERED, "code": CODE, "sign": SIGN, "one_hot": ONE_HOT}


cdef inline double logarithm(double x, double floor) noexcept nogil:
    return log(max(x, floor)) if isfinite(x) else x


def logarithms(double[::1] x, double floor):
    """x <- ln max(x, floor), but what is not finite; a number alone as among others, which vectors of NumPy do not promise."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        x[i] = logarithm(x[i], floor)


def powers(double[::1] x):
    """x <- e^x, likewise."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        x[i] = exp(x[i])


cdef class Rule:
    """What becomes of one column's cell."""
    cdef object name
    cdef dict places           # word, without blanks around it -> number; "" is that of missing cells
    cdef int kind
    cdef Py_ssize_t start      # its first feature
    cdef bint smooth, indicator
    cdef double shift, scale, median, floor

    def __init__(self, name, kind, start, places=None, shift=0, scale=1, median=0, smooth=False, indicator=False, floor=None):
        self.name, self.kind, self.start, self.places = name, KINDS[kind], start, places or {}
        self.shift, self.scale, self.median, self.smooth, self.indicator = shift, scale, median, smooth, indicator
        self.floor = NAN if floor is None else floor  # no logarithm

    cdef Py_ssize_t width(self):
        """Features that it writes."""
        if self.kind == ONE_HOT:
            return 1 + max(self.places.values(), default=-1)
        return <bint> self.places if self.kind > ORDERED else 1 + self.indicator

    cdef double number(self, cell) except? -2:
        """The cell as a number: NaN where it is missing. Infinite: it is not of the plain sort."""
        if cell is None:
            return NAN
        if self.kind == NUMBER:
            if PyFloat_Check(cell):
                return PyFloat_AS_DOUBLE(cell)
            if PyLong_Check(cell) and not PyBool_Check(cell):
                try:
                    return PyLong_AsDouble(cell)
                except OverflowError:
                    pass
            elif isinstance(cell, NUMBERS) and not np.is_timedelta64_object(cell):
                return float(cell)
            return float("inf")
        return self.place(cell)

    cdef double place(self, cell):
        cdef PyObject *found = NULL
        if cell is None or (PyFloat_Check(cell) and isnan(PyFloat_AS_DOUBLE(cell))):
            cell = ""
        elif PyBool_Check(cell) or PyLong_Check(cell):
            cell = str(cell)
        if PyUnicode_CheckExact(cell):
            found = PyDict_GetItem(self.places, cell)
            if found == NULL:
                cell = cell.strip()
                found = PyDict_GetItem(self.places, cell)
        return float("inf") if found == NULL else <double> <Py_ssize_t> <object> found


cdef class Cells:
    """The features of single rows.

    Parameters
    ----------
    rules : list of Rule
        In the order of the columns.
    width : int
        Features in all.
    dtype : {"float32", "float64"}
    fills : bool
        Whether missing numbers are replaced by medians.
    """
    cdef list rules
    cdef np.npy_intp width
    cdef int type_number
    cdef bint fills

    def __init__(self, list rules, Py_ssize_t width, str dtype, bint fills):
        self.rules, self.width, self.fills = rules, width, fills
        self.type_number = np.NPY_FLOAT32 if dtype == "float32" else np.NPY_FLOAT64
        cdef Rule rule
        for rule in rules:
            if not 0 <= rule.start <= width - rule.width():
                raise ValueError(f"a rule must be of the {width} features, got one of {rule.width()} from {rule.start} on")

    def __call__(self, row):
        """Features (width,) of a dict; None where a cell is absent, of another sort than numbers and known words, or must be told
        of, for those who can say where."""
        cdef Rule rule
        cdef PyObject *cell
        cdef double x, missing
        cdef void *out
        if not PyDict_CheckExact(row):
            return None
        features = np.PyArray_ZEROS(1, &self.width, self.type_number, 0)
        out = np.PyArray_DATA(features)
        for rule in self.rules:
            cell = PyDict_GetItem(row, rule.name)
            if cell == NULL:
                return None
            if rule.kind > ORDERED:
                x = rule.place(<object> cell)
                if not isfinite(x):
                    return None
                if rule.kind == ONE_HOT:
                    self.put(out, rule.start + <Py_ssize_t> x, 1)
                else:
                    self.put(out, rule.start, x if rule.kind == CODE else 2 * x - 1)
                continue
            x, missing = rule.number(<object> cell), 0
            if isnan(x):
                if not self.fills:
                    return None
                x, missing = rule.median, 1
            elif not isnan(rule.floor):
                x = logarithm(x, rule.floor)
            if not isfinite(x):
                return None
            x = (x - rule.shift) / rule.scale
            if rule.smooth:
                x = min(max(x, -1e9), 1e9)
                x /= sqrt(1 + (x / 3) * (x / 3))
            if not self.put(out, rule.start, x):
                return None
            if rule.indicator:
                self.put(out, rule.start + 1, missing)
        return features

    cdef inline bint put(self, void *out, Py_ssize_t i, double x) noexcept:
        """out[i] <- x; whether it is finite there."""
        if self.type_number == np.NPY_FLOAT32:
            (<float *> out)[i] = <float> x
            return isfinite((<float *> out)[i])
        (<double *> out)[i] = x
        return isfinite(x)
