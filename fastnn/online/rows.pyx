"""A stream's rows, which are dicts -> inputs of a network -> steps of it, or predictions: no Python statement between.

    name        a 53-bit hash of the feature: of a number its name, of a word its name and the word
    table       (n_inputs, 4) float64: of each input the name of its feature (0: none yet), and of its numbers
                how many there were, their mean, and the sum of their squared distances from it
    x           of a number d / sqrt(variance + d^2 / 9), d = number - mean: about standardised, within -3 and 3; of a word 1

A feature takes the first free input of the PROBES from where its name points; where there is none, it shares that one.
What runs between two Python statements of a caller is whole to other threads: without objects under the interpreter's lock, and
in a critical section where there is none.
"""
cimport cython
cimport numpy as np
from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Check
from libc.math cimport fabs, isnan, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.kernels._cpu cimport Memory, fnn_features, fnn_kind_float32, fnn_targets
from fastnn.kernels.engine cimport Engine
from fastnn.kernels.net cimport THETA, store_net
from fastnn.kernels.panels cimport Layer

from collections.abc import Mapping

import numpy

from fastnn.errors import DivergenceError

np.import_array()

cdef extern from "philox.h" nogil:
    void fnn_random_words(uint64_t key0, uint64_t key1, uint64_t purpose, uint64_t index, Py_ssize_t n, uint64_t *words)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    double PyLong_AsDouble(object cell) except? -1

cdef extern from *:
    """
    static inline int fnn_lowest(unsigned long long bits) { return __builtin_ctzll(bits); }
    """
    int fnn_lowest(unsigned long long bits) nogil

cdef tuple NUMBERS = (numpy.integer, numpy.floating)  # beside Python's own
cdef double LARGEST = 1e100    # of a number: its square, and sums of squares, stay finite
cdef uint64_t FEATURES = 8     # as fastnn.random's purposes: the first weights from a feature's input

cdef enum:
    PROBES = 16                # inputs that a feature may take
    NEAR = 64                  # features of a row, or outputs, that lie on the stack


cdef struct Input:
    # A row of the table.
    double name
    double count
    double mean
    double squares             # M of Welford's recurrence (Technometrics 4(3), 1962)


cdef struct Entry:
    # A feature of one row.
    double name
    double number              # 1 of a word
    bint word
    Py_ssize_t place           # its input
    Input before               # ... as it was


cdef uint64_t mixed(uint64_t h, const char *text, Py_ssize_t n) noexcept nogil:
    """FNV-1a, 64 bits."""
    cdef Py_ssize_t i
    for i in range(n):
        h = (h ^ <unsigned char> text[i]) * <uint64_t> 0x100000001B3
    return h


cdef double name_of(uint64_t h) noexcept nogil:
    """53 bits of h, mixed as MurmurHash3 ends, which a double holds exactly; never 0."""
    h = (h ^ (h >> 33)) * <uint64_t> 0xFF51AFD7ED558CCD
    h = (h ^ (h >> 33)) * <uint64_t> 0xC4CEB9FE1A85EC53
    return <double> (((h ^ (h >> 33)) >> 11) | 1)


cdef int read_feature(Entry *e, feature, cell) except -1:
    """e <- a feature and its cell; 0: there is none."""
    cdef const char *text
    cdef Py_ssize_t n
    cdef uint64_t h
    e.word, e.number = False, 1
    if PyFloat_Check(cell):
        e.number = PyFloat_AS_DOUBLE(cell)
        if isnan(e.number):
            return 0
    elif PyUnicode_Check(cell):
        e.word = True
    elif cell is None:
        return 0
    elif PyBool_Check(cell) or isinstance(cell, numpy.bool_):
        e.word, cell = True, "True" if cell else "False"
    elif PyLong_Check(cell):
        try:
            e.number = PyLong_AsDouble(cell)
        except OverflowError:
            e.number = 2 * LARGEST
    elif isinstance(cell, NUMBERS):
        e.number = float(cell)
        if isnan(e.number):
            return 0
    else:
        raise TypeError(f"feature {feature!r:.100} must be a number, a text, a bool or None, got {type(cell).__name__}")
    if not fabs(e.number) <= LARGEST:
        raise ValueError(f"feature {feature!r:.100} must be within -1e100 and 1e100, got {cell!r:.50}")
    if not PyUnicode_Check(feature):
        if not PyLong_Check(feature) or PyBool_Check(feature):
            raise TypeError(f"names of features must be texts or integers, got {feature!r:.100}")
        feature = str(feature)
    text = PyUnicode_AsUTF8AndSize(feature, &n)
    h = mixed(<uint64_t> 0xCBF29CE484222325, text, n)
    if e.word:
        text = PyUnicode_AsUTF8AndSize(cell, &n)
        h = mixed(mixed(h, "\xff", 1), text, n)  # no text in UTF-8 has this byte
    e.name = name_of(h)
    return 1


cdef Py_ssize_t read(dict row, Entry *entries, Py_ssize_t room) except -1:
    """entries <- the features of a row; returns how many."""
    cdef Py_ssize_t n = 0
    for feature, cell in row.items():
        if n == room:
            raise RuntimeError("a row must not change while it is read")
        n += read_feature(&entries[n], feature, cell)
    return n


cdef dict as_row(x):
    if PyDict_CheckExact(x):
        return x
    if isinstance(x, Mapping):
        return dict(x)
    raise TypeError(f"x must be a dict of features, got {type(x).__name__}")


cdef double amount_of(y) except? -1:
    """A target that is an amount."""
    cdef double amount
    if isinstance(y, (str, bytes)):
        raise TypeError(f"y must be a number, got {y!r:.50}")
    amount = float(y)
    if not fabs(amount) <= LARGEST:
        raise ValueError(f"y must be within -1e100 and 1e100, got {y!r:.50}")
    return amount


cdef void count(Input *of, double x) noexcept nogil:
    """One more number."""
    cdef double d = x - of.mean
    of.count += 1
    of.mean += d / of.count
    of.squares += d * (x - of.mean)


cdef double scaled(const Input *of, double x) noexcept nogil:
    cdef double d = x - of.mean, root = sqrt(of.squares / of.count + d * d / 9) if of.count else 0
    return d / root if root else 0


cdef class Rows:
    """What a `Learner` knows, and does in compiled code. Trusts whoever calls `adopt`.

    Attributes
    ----------
    rows : int
        Learned so far.
    """

    cdef Engine engine
    cdef Memory memory
    cdef readonly list known        # classes, in the order of the network's outputs; None: amounts
    cdef dict labels                # class -> its number
    cdef bint classifies
    cdef Py_ssize_t n_known, n_out  # classes, and outputs of the network
    cdef readonly long long rows
    cdef double rate
    cdef Input amounts              # of targets, where these are amounts
    cdef uint64_t key0, key1
    cdef Py_ssize_t n_inputs
    cdef Input *inputs              # the table
    cdef uint64_t *marks            # [n_inputs / 64]: inputs of the row that is being read, as bits; zeros between rows
    cdef float *values              # [n_inputs]: what is in them; likewise
    cdef int32_t *indices           # [n_inputs]: these inputs in order, ...
    cdef float *data                # ... and what is in them: CSR
    cdef int64_t ends[2]
    cdef uint64_t *words            # [units of layer 1]

    cdef int check_made(self) except -1:
        if self.engine is None:
            raise TypeError("a learner must be made by its class: this one has no network")
        return 0

    def adopt(self, Engine engine not None, table, list known, long long rows, amounts, seed, double learning_rate):
        """Become a learner of these: engine of float32 for single rows, its weights loaded; amounts: (3,) as a row of the table
        without a name. Both are C-contiguous."""
        cdef Py_ssize_t n = engine.net.layers[0].n_in
        cdef const double *of = <const double *> np.PyArray_DATA(amounts)
        cdef Memory memory = Memory()
        self.inputs = <Input *> memory.take(n, sizeof(Input))
        self.marks = <uint64_t *> memory.take((n + 63) // 64, sizeof(uint64_t))
        self.values = <float *> memory.take(n, sizeof(float))
        self.indices = <int32_t *> memory.take(n, sizeof(int32_t))
        self.data = <float *> memory.take(n, sizeof(float))
        self.words = <uint64_t *> memory.take(engine.net.layers[0].n_out, sizeof(uint64_t))
        memcpy(self.inputs, np.PyArray_DATA(table), n * sizeof(Input))
        self.memory, self.n_inputs = memory, n
        self.amounts.count, self.amounts.mean, self.amounts.squares = of[0], of[1], of[2]
        self.key0, self.key1 = seed & 0xFFFFFFFFFFFFFFFF, seed >> 64
        self.rows, self.rate, self.classifies = rows, learning_rate, known is not None
        self.known, self.n_known = known, len(known) if self.classifies else 0
        self.labels = {one: number for number, one in enumerate(known)} if self.classifies else None
        self.ready(engine)
        self.use(engine)

    cdef int ready(self, Engine engine) except -1:
        """Have it take single steps."""
        if not (engine.all_finite() and engine.can_be_sure()):
            raise ValueError("hidden must have at most 2 MiB of weights between two layers: more is for Model.partial_fit")
        engine.prepare_row()
        return 0

    cdef void use(self, Engine engine) noexcept:
        self.engine, self.n_out = engine, engine.net.layers[engine.net.n_layers - 1].n_out

    def contents(self):
        """theta, the table, classes, rows, and what is known of amounts, (3,), all of one moment."""
        cdef Engine engine
        cdef double *of
        cdef Py_ssize_t n_known = 0
        cdef long long rows = 0
        self.check_made()
        table, amounts = numpy.empty((self.n_inputs, 4)), numpy.empty(3)
        of = <double *> np.PyArray_DATA(amounts)
        while True:
            engine = self.engine
            theta = numpy.empty(n_parameters(engine), numpy.float32)
            with cython.critical_section(self):
                if engine is self.engine:
                    store_net(&engine.net, <char *> np.PyArray_DATA(theta), THETA)
                    memcpy(np.PyArray_DATA(table), self.inputs, self.n_inputs * sizeof(Input))
                    of[0], of[1], of[2] = self.amounts.count, self.amounts.mean, self.amounts.squares
                    rows, n_known = self.rows, self.n_known
                    break
        known = self.known[:n_known] if self.classifies else None
        return theta, table, known, rows, amounts

    @property
    def n_outputs(self):
        self.check_made()
        return self.n_out

    @property
    def learning_rate(self):
        """Of every step from here on; it may be set."""
        return self.rate

    @learning_rate.setter
    def learning_rate(self, value):
        self.rate = self.as_rate(value)

    def as_rate(self, value):
        """A learning rate, checked: of those who know what may be one."""
        raise NotImplementedError

    def as_class(self, y):
        """A new class, checked, likewise."""
        raise NotImplementedError

    def grown(self):
        """An engine of the same weights with an output more, whose weights are 0, likewise."""
        raise NotImplementedError

    @cython.embedsignature(True)  # River reads it
    @cython.embedsignature.format("clinic")
    def learn_one(self, x, y):
        """Take a step on one row.

        Parameters
        ----------
        x : dict
            Features by name: numbers, and words (texts and bools). None and NaN are as if they were not there. Not kept.
        y : str, int, bool or float
            Its class, or its amount.

        Raises
        ------
        TypeError, ValueError
            A cell or y is none of these, or beyond 1e100. The learner is as before.
        DivergenceError
            The step would leave weights that are not finite. The learner is as before.
        """
        cdef Entry near[NEAR]
        cdef Entry *entries = near
        cdef Py_ssize_t n, label = 0, room
        cdef double amount = 0
        cdef int taken
        cdef bint is_new = False
        cdef PyObject *found
        cdef long long rows
        cdef Engine engine, grown
        cdef dict row = as_row(x)
        self.check_made()
        room = len(row)
        if room > NEAR:
            entries = <Entry *> PyMem_Malloc(room * sizeof(Entry))
            if entries == NULL:
                raise MemoryError
        try:
            n = read(row, entries, room)
            if not self.classifies:
                amount = amount_of(y)
            while True:  # again where another thread has learned meanwhile: what was found out is of before
                engine, rows = self.engine, self.rows
                grown, is_new = engine, False
                if self.classifies:
                    found = PyDict_GetItemWithError(self.labels, y)
                    if found != NULL:
                        label = <Py_ssize_t> <object> found
                    else:
                        y, is_new, label = self.as_class(y), True, self.n_known
                        if label >= self.n_out:
                            grown = self.grown()
                            self.ready(grown)
                with cython.critical_section(self):
                    if engine is self.engine and rows == self.rows:
                        if is_new:
                            self.known.append(y)
                            self.labels[y] = label
                        self.use(grown)
                        self.n_known += is_new
                        taken = self.step(entries, n, label, amount)
                        if not taken:
                            self.use(engine)
                            self.n_known -= is_new
                            if is_new:
                                self.labels.pop(self.known.pop())
                        break
            if not taken:
                raise DivergenceError(
                    "training diverged: the step would leave weights that are not finite; use a smaller learning_rate. "
                    "The learner is as before the call."
                )
        finally:
            if entries != near:
                PyMem_Free(entries)

    cdef int step(self, Entry *entries, Py_ssize_t n, Py_ssize_t label, double amount) noexcept:
        """Count the row and take its step; 0: neither, as weights might not stay finite. Touches no Python object."""
        cdef Input before = self.amounts
        cdef fnn_features X
        cdef fnn_targets y
        cdef int32_t number = <int32_t> label
        cdef float value
        cdef double loss
        cdef int taken = 1
        cdef Py_ssize_t i
        for i in range(n):
            self.take(&entries[i], n)
        self.gather(&X)
        memset(&y, 0, sizeof(fnn_targets))
        if not self.classifies:
            count(&self.amounts, amount)
            value = <float> ((amount - self.amounts.mean) / self.deviation() if self.deviation() else 0)
            y.values = &value
        else:
            y.labels = &number
        if not self.classifies or self.n_known > 1:  # one class alone teaches nothing: its probability is 1
            taken = self.engine.row_step(&X, &y, self.rate, &loss)
        if taken:
            self.rows += 1
            return 1
        self.amounts = before
        for i in range(n - 1, -1, -1):
            self.inputs[entries[i].place] = entries[i].before
            if entries[i].before.name == 0:
                self.draw(&entries[i], 0)
        return 0

    cdef double deviation(self) noexcept:
        """Of amounts."""
        return sqrt(self.amounts.squares / self.amounts.count) if self.amounts.count else 0

    cdef void take(self, Entry *e, Py_ssize_t n) noexcept:
        """A feature of a row of n: its input, which is its own from here on where one is free; its number counts."""
        cdef Input *of
        cdef bint is_new = self.find(e)
        of = &self.inputs[e.place]
        e.before = of[0]
        if is_new:
            of.name = e.name
            self.draw(e, sqrt(6. / n) if self.engine.net.n_layers > 1 else 0)
        if not e.word:
            count(of, e.number)
        self.put(e)

    cdef bint find(self, Entry *e) noexcept:
        """e.place <- where it is, or may be; whether it is new and an input is free for it."""
        cdef Py_ssize_t first = <Py_ssize_t> ((<uint64_t> e.name >> 1) % <uint64_t> self.n_inputs), i
        for i in range(min(PROBES, self.n_inputs)):
            e.place = first + i
            if e.place >= self.n_inputs:
                e.place -= self.n_inputs
            if self.inputs[e.place].name == e.name:
                return False
            if self.inputs[e.place].name == 0:
                return True
        e.place = first
        return False

    cdef void draw(self, const Entry *e, double limit) noexcept:
        """The weights from its input <- uniform within `limit` of 0, as its name and the seed will have it: of he_uniform
        sqrt(6 / n) where a row has n features."""
        cdef const Layer *layer = &self.engine.net.layers[0]
        cdef Py_ssize_t nr = self.engine.net.k.nr, j
        cdef double u
        fnn_random_words(self.key0, self.key1, FEATURES, <uint64_t> e.name, layer.n_out, self.words)
        for j in range(layer.n_out):
            u = 2 * ((self.words[j] >> 11) * 2.**-53) - 1
            (<float *> layer.Wp)[(j // nr * layer.n_in + e.place) * nr + j % nr] = <float> (u * limit) if limit else 0

    cdef inline void put(self, const Entry *e) noexcept:
        self.values[e.place] += 1 if e.word else <float> scaled(&self.inputs[e.place], e.number)
        self.marks[e.place >> 6] |= <uint64_t> 1 << (e.place & 63)

    cdef void gather(self, fnn_features *X) noexcept:
        """X <- the row that was put together, which is forgotten: its inputs in order, whatever the dict's was."""
        cdef Py_ssize_t n = 0, i, w
        for w in range((self.n_inputs + 63) >> 6):
            while self.marks[w]:
                i = (w << 6) + fnn_lowest(self.marks[w])
                self.marks[w] &= self.marks[w] - 1
                self.indices[n], self.data[n] = <int32_t> i, self.values[i]
                self.values[i] = 0
                n += 1
        self.ends[0], self.ends[1] = 0, n
        X.data, X.kind, X.row, X.column, X.scale = <char *> self.data, fnn_kind_float32, 0, 0, 1
        X.indptr, X.indices = self.ends, self.indices

    @cython.embedsignature(True)  # River reads it
    @cython.embedsignature.format("clinic")
    def predict_one(self, x):
        """Class or amount of one row.

        Parameters
        ----------
        x : dict
            As of `learn_one`; a feature that no row has had yet says nothing.

        Returns
        -------
        class or float
            The likeliest class, None before any is known; or the amount, 0.0 before any row.
        """
        return self.predicted(x, False)

    @cython.embedsignature(True)  # River reads it
    @cython.embedsignature.format("clinic")
    def predict_proba_one(self, x):
        """Probabilities of the classes for one row.

        Parameters
        ----------
        x : dict
            As of `predict_one`.

        Returns
        -------
        dict {class: float}
            Of those known, in the order in which they came. They sum to 1.

        Raises
        ------
        ValueError
            It learns amounts.
        """
        if not self.classifies:
            raise ValueError("predict_proba_one must have a learner of classes, this one learns amounts")
        return self.predicted(x, True)

    cdef object predicted(self, x, bint probabilities):
        cdef Entry near[NEAR]
        cdef Entry *entries = near
        cdef float few[NEAR]
        cdef float *f = few
        cdef dict row = as_row(x)
        cdef Py_ssize_t n, n_known, room = len(row), n_out = self.n_out, best = 0, j
        cdef double total = 0, amount = 0
        cdef bint fits
        self.check_made()
        try:
            if room > NEAR:
                entries = <Entry *> PyMem_Malloc(room * sizeof(Entry))
            if n_out > NEAR:
                f = <float *> PyMem_Malloc(n_out * sizeof(float))
            if entries == NULL or f == NULL:
                raise MemoryError
            n = read(row, entries, room)
            with cython.critical_section(self):
                fits, n_known = self.n_out <= n_out, self.n_known
                if fits:
                    self.forward(entries, n, f)
                    amount = self.amounts.mean + self.deviation() * f[0]
            if not fits:  # a class has come meanwhile
                return self.predicted(x, probabilities)
            if not self.classifies:
                return amount
            if not probabilities:
                for j in range(n_known):
                    best = j if f[j] > f[best] else best
                return self.known[best] if n_known else None
            for j in range(n_known):
                total += f[j]
            return {self.known[j]: f[j] / total for j in range(n_known)}
        finally:
            if entries != near:
                PyMem_Free(entries)
            if f != few:
                PyMem_Free(f)

    cdef void forward(self, Entry *entries, Py_ssize_t n, float *f) noexcept:
        """f (n_out,) <- h^(K) of a row. Touches no Python object."""
        cdef fnn_features X
        cdef Py_ssize_t i
        for i in range(n):
            if not self.find(&entries[i]):
                self.put(&entries[i])
        self.gather(&X)
        self.engine.row_forward(&X, <char *> f)


cdef Py_ssize_t n_parameters(Engine engine):
    cdef Py_ssize_t l, n = 0
    for l in range(engine.net.n_layers):
        n += engine.net.layers[l].n_out * (engine.net.layers[l].n_in + engine.net.layers[l].has_bias)
    return n
