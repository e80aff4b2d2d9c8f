"""One row's cells, by the names of their columns -> features: what fastnn/tables does to columns, for a single dict."""
cimport numpy as np
from cpython.bool cimport PyBool_Check
from cpython.datetime cimport (
    datetime_day, datetime_hour, datetime_microsecond, datetime_minute, datetime_month, datetime_second, datetime_year,
    import_datetime,
)
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from cpython.unicode cimport PyUnicode_FindChar
from libc.math cimport NAN, exp, fabs, isfinite, isnan, log, sqrt
from libc.stdint cimport int64_t

import numpy

np.import_array()
import_datetime()

cdef tuple NUMBERS = (numpy.integer, numpy.floating)  # beside Python's own

cdef extern from "Python.h":
    double PyLong_AsDouble(object cell) except? -1

cdef enum:
    NUMBER        # the cell, scaled
    ORDERED       # the place of its word, scaled
    CODE          # the place
    SIGN          # -1 or 1, of two places
    ONE_HOT       # 1 at the place
    DATE          # parts of the moment, scaled

cdef enum:
    YEAR, MONTH, DAY, WEEKDAY, HOUR, ELAPSED

KINDS = {"number": NUMBER, "ordered": ORDERED, "code": CODE, "sign": SIGN, "one_hot": ONE_HOT, "date": DATE}
PARTS = {"year": YEAR, "month": MONTH, "day": DAY, "weekday": WEEKDAY, "hour": HOUR, "elapsed": ELAPSED}

cdef double WHOLE = 9007199254740992.  # 2^53: below it every integer is a float
cdef double AN_HOUR = 3.6e9, A_DAY = 8.64e10  # microseconds


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
    """What becomes of one column's cell.

    read: of a cell that compiled code does not know the number (NaN: missing), place (-1: unknown) or moment (None: missing) that
    it is in a table of this row alone; ValueError or OverflowError where the table must tell. decimal: before its fraction.
    parts: of a date, each as a rule of numbers under its name. n: of categories, more than any place.
    """
    cdef object name, read
    cdef dict places           # tidy word -> number; "" is that of missing cells
    cdef list parts
    cdef int kind, part
    cdef Py_ssize_t start      # its first feature
    cdef Py_ssize_t n          # categories
    cdef bint smooth, indicator, plain
    cdef double shift, scale, median, floor

    def __init__(self, name, kind, start, places=None, read=None, parts=None, decimal=".", shift=0, scale=1, median=0,
                 smooth=False,
                 indicator=False, floor=None, n=0):
        self.name, self.kind, self.start, self.read = name, KINDS[kind], start, read
        self.places, self.parts, self.plain = places or {}, parts, decimal == "."
        self.part, self.n = PARTS.get(name, -1), max(n, 1 + max(self.places.values(), default=-1))
        self.shift, self.scale, self.median, self.smooth, self.indicator = shift, scale, median, smooth, indicator
        self.floor = NAN if floor is None else floor  # no logarithm

    cdef Py_ssize_t width(self):
        """Features that it writes."""
        if self.kind == DATE:
            return len(self.parts) + self.indicator
        if self.kind == ONE_HOT:
            return self.n
        return self.n > 0 if self.kind > ORDERED else 1 + self.indicator

    cdef double number(self, cell) except? -2:
        """The cell as a number: NaN where it is missing."""
        if cell is None:
            return NAN
        if PyFloat_Check(cell):
            return PyFloat_AS_DOUBLE(cell)
        if PyLong_Check(cell) and not PyBool_Check(cell):
            return PyLong_AsDouble(cell)
        if PyUnicode_CheckExact(cell) and self.plain:
            try:
                number = float(cell)
            except ValueError:
                return self.read(cell)
            if PyUnicode_FindChar(cell, 95, 0, len(cell), 1) >= 0:  # float() reads 1_000
                return self.read(cell)
            return number
        if isinstance(cell, NUMBERS) and not np.is_timedelta64_object(cell):
            return float(cell)
        return self.read(cell)

    cdef double place(self, cell) except? -2:
        """Of the cell's word: -1 where it has none."""
        cdef PyObject *found = NULL
        word = cell
        if cell is None or (PyFloat_Check(cell) and isnan(PyFloat_AS_DOUBLE(cell))):
            word = ""
        elif PyLong_Check(cell) and (PyBool_Check(cell) or fabs(PyLong_AsDouble(cell)) < WHOLE):
            word = str(cell)
        if PyUnicode_CheckExact(word):
            found = PyDict_GetItem(self.places, word)
            if found == NULL:
                found = PyDict_GetItem(self.places, word.strip())
        if found != NULL:
            return <double> <Py_ssize_t> <object> found
        return -1 if self.read is None else self.read(cell)


cdef int64_t days_of(int64_t year, int month, int day) noexcept nogil:
    """Days from 1970 on, of the Gregorian calendar: years begin in March, so that the day of February 29 is their last."""
    cdef int64_t y = year - (month <= 2), m = month + (9 if month <= 2 else -3)
    return 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468


cdef double part_of(int part, moment):
    """As `fastnn.tables.dates.PARTS`."""
    cdef int year = datetime_year(moment), month = datetime_month(moment), day = datetime_day(moment)
    cdef int64_t days, time
    if part == YEAR:
        return year
    if part == MONTH:
        return month
    if part == DAY:
        return day
    days = days_of(year, month, day)
    if part == WEEKDAY:
        return ((days + 3) % 7 + 7) % 7
    time = ((datetime_hour(moment) * 60 + datetime_minute(moment)) * 60 + datetime_second(moment)) * <int64_t> 1000000
    time += datetime_microsecond(moment)
    return time / AN_HOUR if part == HOUR else (days * <int64_t> 86400000000 + time) / A_DAY


cdef class Cells:
    """The features of single rows, as tables of each row alone give them.

    Parameters
    ----------
    rules : list of Rule
        In the order of the columns.
    width : int
        Features in all.
    dtype : {"float32", "float64"}
    fills : bool
        Whether missing numbers are replaced by medians.
    absent : function(cell) -> bool, optional
        Whether a cell means that it is missing, beside those that always do.
    """
    cdef list rules
    cdef np.npy_intp width
    cdef int type_number
    cdef bint fills
    cdef object absent

    def __init__(self, list rules, Py_ssize_t width, str dtype, bint fills, absent=None):
        self.rules, self.width, self.fills, self.absent = rules, width, fills, absent
        self.type_number = np.NPY_FLOAT32 if dtype == "float32" else np.NPY_FLOAT64
        cdef Rule rule
        for rule in rules:
            if not 0 <= rule.start <= width - rule.width():
                raise ValueError(f"a rule must be of the {width} features, got one of {rule.width()} from {rule.start} on")

    def __call__(self, row, bint quiet=False):
        """Features (width,) of a dict; None where a cell is absent, or must be told of by those who can say where: errors, and,
        unless quiet, unknown categories."""
        features = np.PyArray_ZEROS(1, &self.width, self.type_number, 0)
        return features if self.known(row, np.PyArray_DATA(features), quiet) else None

    def each(self, list rows):
        """Features (n, width) of dicts, and which rows (list of int) are for those who can say what is wrong; unknown categories
        are none of the known."""
        cdef np.npy_intp shape[2]
        cdef Py_ssize_t i
        shape[0], shape[1] = len(rows), self.width
        features = np.PyArray_ZEROS(2, shape, self.type_number, 0)
        strange = []
        for i in range(len(rows)):
            if not self.known(rows[i], <char *> np.PyArray_DATA(features) + i * np.PyArray_STRIDE(features, 0), True):
                strange.append(i)
        return features, strange

    cdef bint known(self, row, void *out, bint quiet) except -1:
        """out (width,), zeros <- features of the row; whether all of its cells are known."""
        cdef Rule rule
        cdef PyObject *found
        if not PyDict_CheckExact(row):
            return False
        for rule in self.rules:
            found = PyDict_GetItem(row, rule.name)
            if found == NULL:
                return False
            cell = <object> found
            try:
                if self.absent is not None and self.absent(cell):
                    cell = None
                if not self.put(rule, cell, out, quiet):
                    return False
            except (ValueError, OverflowError):
                return False
        return True

    cdef bint put(self, Rule rule, cell, void *out, bint quiet) except -1:
        """The features of a cell; False where somebody must be told."""
        cdef Rule part
        cdef double x
        cdef bint missing
        if rule.kind == DATE:
            moment = rule.read(cell)
            missing = moment is None
            if missing and not self.fills:
                return False
            for part in rule.parts:
                if not self.scaled(part, NAN if missing else part_of(part.part, moment), out):
                    return False
            if rule.indicator:
                self.write(out, rule.start + <Py_ssize_t> len(rule.parts), missing)
            return True
        if rule.kind == NUMBER:
            x = rule.number(cell)
            missing = isnan(x)
            if missing and not self.fills:
                return False
            return self.scaled(rule, x, out)
        x = rule.place(cell)
        if not rule.n or (x < 0 and not quiet):
            return False
        if rule.kind == ORDERED:  # unknown ones count as missing
            return self.scaled(rule, x if x >= 0 else NAN, out)
        if rule.kind == ONE_HOT:
            if x >= 0:
                self.write(out, rule.start + <Py_ssize_t> x, 1)
        else:
            self.write(out, rule.start, x if rule.kind == CODE else 0 if x < 0 else 2 * x - 1)
        return True

    cdef bint scaled(self, Rule rule, double x, void *out) noexcept:
        """The features of a number, NaN where it is missing; whether it is finite as such."""
        cdef bint missing = isnan(x)
        if missing:
            x = rule.median
        elif not isnan(rule.floor):
            x = logarithm(x, rule.floor)
        if not isfinite(x):
            return False
        x = (x - rule.shift) / rule.scale
        if rule.smooth:
            x = min(max(x, -1e9), 1e9)
            x /= sqrt(1 + (x / 3) * (x / 3))
        if rule.indicator:
            self.write(out, rule.start + 1, missing)
        return self.write(out, rule.start, x)

    cdef inline bint write(self, void *out, Py_ssize_t i, double x) noexcept:
        """out[i] <- x; whether it is finite there."""
        if self.type_number == np.NPY_FLOAT32:
            (<float *> out)[i] = <float> x
            return isfinite((<float *> out)[i])
        (<double *> out)[i] = x
        return isfinite(x)
