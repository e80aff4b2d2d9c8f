"""Bytes of delimited text -> columns: codes of distinct words, or numbers or moments where words are many.

Rows are cut as Python's csv module cuts them (skipinitialspace, strict). What is unusual ends the scan, for a reader that can say
what it is: ragged and empty lines, cells of several lines, quotes that do not close, lone carriage returns, NUL.
"""
cimport numpy as np
from libc.math cimport NAN
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import sys

import numpy as np

np.import_array()

cdef extern from *:
    """
    /* a b = 2^64 high + low */
    static inline uint64_t fnn_product(uint64_t a, uint64_t b, uint64_t *low) {
        const unsigned __int128 product = (unsigned __int128)a * b;
        *low = (uint64_t)product;
        return (uint64_t)(product >> 64);
    }
    #define fnn_leading_zeros(x) __builtin_clzll(x)
    """
    uint64_t fnn_product(uint64_t, uint64_t, uint64_t *) noexcept nogil
    int fnn_leading_zeros(uint64_t) noexcept nogil

cdef enum:
    WORDS      # int32 codes
    NUMBERS    # float64, NaN where missing
    MOMENTS    # int64 microseconds since 1970
    ROWS = 4096         # room at first
    LEAST = -27         # powers of ten for which 128 bits of 5^q decide the rounding alone
    MOST = 55

cdef int64_t NOT_A_TIME = np.iinfo(np.int64).min
cdef uint64_t MIX = 0x9E3779B97F4A7C15  # 2^64 / golden ratio

cdef double EXACT[23]  # 10^q that are float64
cdef uint64_t FIVES[83][2]  # 5^q, its leading 128 bits, q = LEAST..MOST


def _tables():
    for q in range(23):
        EXACT[q] = float(10**q)
    for q in range(LEAST, MOST + 1):
        bits = (5 ** abs(q)).bit_length()
        leading = 5**q << 128 >> bits if q >= 0 else (1 << (bits + 127)) // 5**-q + 1
        FIVES[q - LEAST][0] = leading >> 64
        FIVES[q - LEAST][1] = leading & (2**64 - 1)


_tables()

cdef struct Word:
    Py_ssize_t start, n   # in the column's text

cdef struct Slot:
    uint64_t key       # a word of up to 7 bytes, and how many; of others a hash
    int32_t code       # 1 + the word's, 0 where the slot is free

cdef struct Column:
    int kind
    void *cells        # (capacity,) of the kind
    Py_ssize_t limit   # of more words than this, all of them numbers or moments, the words are dropped
    Py_ssize_t n_words, words_room, text_size, text_room, n_slots
    Word *words
    char *text
    Slot *slots        # (n_slots,)


cdef class Scan:
    """Columns that are filled, piece by piece.

    Parameters
    ----------
    delimiter : bytes
        Of one byte.
    limits : sequence of int
        Of each column, how many distinct words it may have before `convert` is asked what they are.
    size : int
        Bytes to come, about; 0: unknown.
    convert : function of a list of words
        Numbers or datetime64[us] of them; None: they are text.
    number : function of a word that is no plain number
        Its number, NaN where it means that there is none; None: it is text.
    """
    cdef Column *columns
    cdef readonly Py_ssize_t n_rows
    cdef Py_ssize_t n_columns, capacity, size, done
    cdef bint ended, dropping
    cdef unsigned char delimiter
    cdef unsigned char[256] stops
    cdef char *scratch
    cdef Py_ssize_t scratch_room
    cdef list cells, texts
    cdef object convert, number

    def __cinit__(self, delimiter, limits, size, convert, number):
        cdef Py_ssize_t j
        self.n_columns, self.size = len(limits), size
        self.columns = <Column *> calloc(self.n_columns, sizeof(Column))
        if self.columns == NULL:
            raise MemoryError
        for j in range(self.n_columns):
            self.columns[j].limit = limits[j]
        self.convert, self.number = convert, number
        self.delimiter = ord(delimiter)
        memset(self.stops, 0, 256)
        for byte in b"\0\r\n" + delimiter:
            self.stops[byte] = 1
        self.cells = [np.empty(0, np.int32) for _ in limits]
        self.texts = [{} for _ in limits]

    def __dealloc__(self):
        cdef Py_ssize_t j
        if self.columns != NULL:
            for j in range(self.n_columns):
                forget(&self.columns[j])
        free(self.columns)
        free(self.scratch)

    def feed(self, unsigned char[::1] piece, Py_ssize_t n):
        """Take the rows of piece[:n], whole lines; at least 8 bytes more must be there. False where something is unusual."""
        cdef const char *at = <const char *> &piece[0]
        cdef const char *begin = at
        cdef const char *end = at + n
        cdef Py_ssize_t j
        while at < end:
            if self.n_rows == self.capacity:
                self._grow(self.done + at - begin)
            with nogil:
                at = self._rows(at, end)
            if at == NULL:
                return False
            if self.dropping:
                self.dropping = False
                for j in range(self.n_columns):
                    if self.columns[j].kind == WORDS and self.columns[j].n_words > self.columns[j].limit:
                        self._drop_words(j)
        self.done += n
        return True

    def finish(self):
        """Of each column its cells, its words where these are codes of them, and the text among numbers, by row."""
        return [
            (self.cells[j][:self.n_rows], self._words(j) if self.columns[j].kind == WORDS else None, self.texts[j])
            for j in range(self.n_columns)
        ]

    cdef void _grow(self, Py_ssize_t done):
        """Room for more rows: for all, as those so far tell, or twice as many."""
        cdef Py_ssize_t j, room = max(ROWS, 2 * self.capacity)
        if self.n_rows and self.size > done:
            room = max(self.n_rows * 5 // 4, <Py_ssize_t> (1.02 * self.n_rows / done * self.size)) + ROWS
        for j in range(self.n_columns):
            old = self.cells[j]
            more = np.empty(room, old.dtype)  # memory is taken as it is written
            more[:self.n_rows] = old[:self.n_rows]
            self._hold(j, more)
        self.capacity = room

    cdef void _hold(self, Py_ssize_t j, np.ndarray cells):
        self.cells[j] = cells
        self.columns[j].cells = np.PyArray_DATA(cells)

    cdef list _words(self, Py_ssize_t j):
        cdef Column *c = &self.columns[j]
        cdef Py_ssize_t i
        return [c.text[c.words[i].start:c.words[i].start + c.words[i].n].decode() for i in range(c.n_words)]

    cdef _drop_words(self, Py_ssize_t j):
        cdef Column *c = &self.columns[j]
        values = plain_numbers(c)
        if values is None:
            values = self.convert(self._words(j))
        if values is None:
            c.limit = sys.maxsize
            return
        cells = np.empty(self.capacity, values.dtype)
        np.take(values, self.cells[j][:self.n_rows], out=cells[:self.n_rows])
        c.kind = NUMBERS if values.dtype.kind == "f" else MOMENTS
        forget(c)
        self._hold(j, cells)

    cdef int _strange(self, Column *c, Py_ssize_t j, const char *cell, Py_ssize_t n) except -1:
        """A cell among numbers or moments that is none, as it seems."""
        word = cell[:n].decode()
        value = self.number(word)
        if c.kind == MOMENTS:
            if value is None or value == value:
                return 1
            (<int64_t *> c.cells)[self.n_rows] = NOT_A_TIME
            return 0
        if value is None:
            self.texts[j][self.n_rows] = word
        (<double *> c.cells)[self.n_rows] = NAN if value is None else value
        return 0

    cdef int _strange_or_unusual(self, Column *c, Py_ssize_t j, const char *cell, Py_ssize_t n) noexcept with gil:
        try:
            return self._strange(c, j, cell, n)
        except UnicodeDecodeError:
            return 1

    cdef const char *_rows(self, const char *p, const char *end) noexcept nogil:
        """Take rows while there is room and no column has too many words; where it stopped, NULL where that is unusual."""
        cdef Py_ssize_t j, n, last = self.n_columns - 1
        cdef const char *cell
        while p < end and self.n_rows < self.capacity and not self.dropping:
            if p[0] == b"\n" or (p[0] == b"\r" and p[1] == b"\n"):
                self.ended = True
                p += 1 + (p[0] == b"\r")
                continue
            if self.ended:
                return NULL
            for j in range(last + 1):
                while p[0] == b" ":
                    p += 1
                if p[0] == b'"':
                    n = self._quoted(&p, &cell)
                    if n < 0:
                        return NULL
                else:
                    cell = p
                    while not self.stops[<unsigned char> p[0]]:
                        p += 1
                    n = p - cell
                if self._take(&self.columns[j], j, cell, n):
                    return NULL
                if j < last:
                    if <unsigned char> p[0] != self.delimiter:
                        return NULL
                    p += 1
            if p[0] == b"\r":
                p += 1
            if p[0] != b"\n":
                return NULL
            p += 1
            self.n_rows += 1
        return p

    cdef Py_ssize_t _quoted(self, const char **at, const char **cell) noexcept nogil:
        """A cell between quotes, of which two stand for one: its length, -1 where it is unusual."""
        cdef const char *p = at[0] + 1
        cdef const char *begin = p
        cdef Py_ssize_t n = 0, doubled = 0
        while True:
            if p[0] == b'"':
                if p[1] != b'"':
                    break
                doubled += 1
                p += 1
            elif p[0] == b"\n" or p[0] == b"\r" or p[0] == 0:
                return -1
            p += 1
        at[0] = p + 1
        if not self.stops[<unsigned char> p[1]]:
            return -1
        n = p - begin
        cell[0] = begin
        if not doubled:
            return n
        if n + 8 > self.scratch_room:
            free(self.scratch)
            self.scratch_room = 0
            self.scratch = <char *> malloc(2 * n + 8)
            if self.scratch == NULL:
                return -1
            self.scratch_room = 2 * n + 8
        n = 0
        while begin < p:
            begin += begin[0] == b'"'
            self.scratch[n] = begin[0]
            n += 1
            begin += 1
        cell[0] = self.scratch
        return n

    cdef inline int _take(self, Column *c, Py_ssize_t j, const char *cell, Py_ssize_t n) noexcept nogil:
        """A cell of the row that is read; 1 where it is unusual."""
        cdef int32_t code
        if c.kind == WORDS:
            code = code_of(c, cell, n)
            (<int32_t *> c.cells)[self.n_rows] = code
            if c.n_words > c.limit:
                self.dropping = True
            return code < 0
        if c.kind == NUMBERS:
            if n == 0:
                (<double *> c.cells)[self.n_rows] = NAN
                return 0
            if number_of(cell, n, &(<double *> c.cells)[self.n_rows]):
                return 0
        elif n == 0:
            (<int64_t *> c.cells)[self.n_rows] = NOT_A_TIME
            return 0
        elif moment_of(cell, n, &(<int64_t *> c.cells)[self.n_rows]):
            return 0
        return self._strange_or_unusual(c, j, cell, n)


cdef void forget(Column *c) noexcept nogil:
    """Give the words back."""
    free(c.words)
    free(c.text)
    free(c.slots)
    c.words, c.text, c.slots = NULL, NULL, NULL
    c.n_words = c.words_room = c.text_size = c.text_room = c.n_slots = 0


cdef inline uint64_t key_of(const char *word, Py_ssize_t n) noexcept nogil:
    """Of short words what they are. What lies up to seven bytes behind a word is read, but does not count."""
    cdef uint64_t h = n, part
    if n < 8:
        memcpy(&part, word, 8)
        return (part & ((<uint64_t> 1 << (8 * n)) - 1)) | <uint64_t> n << 56
    while n > 0:
        memcpy(&part, word, 8)
        if n < 8:
            part &= (<uint64_t> 1 << (8 * n)) - 1
        h = (h ^ part) * MIX
        h ^= h >> 32
        word += 8
        n -= 8
    return h | <uint64_t> 255 << 56


cdef inline Slot *slot_of(Column *c, uint64_t key, const char *word, Py_ssize_t n) noexcept nogil:
    """The slot of a word, or a free one where it may go."""
    cdef uint64_t mixed = key * MIX
    cdef Py_ssize_t i = (mixed ^ mixed >> 32) & (c.n_slots - 1)
    cdef Slot *slot
    cdef Word *known
    while True:
        slot = &c.slots[i]
        if slot.code == 0:
            return slot
        if slot.key == key:
            known = &c.words[slot.code - 1]
            if n < 8 or (known.n == n and memcmp(c.text + known.start, word, n) == 0):
                return slot
        i = (i + 1) & (c.n_slots - 1)


cdef inline int32_t code_of(Column *c, const char *word, Py_ssize_t n) noexcept nogil:
    """The code of a word, new or known; -1 where there is no memory."""
    cdef uint64_t key = key_of(word, n)
    cdef Slot *slot
    if c.n_slots:
        slot = slot_of(c, key, word, n)
        if slot.code:
            return slot.code - 1
    return new_code(c, word, n, key)


cdef int32_t new_code(Column *c, const char *word, Py_ssize_t n, uint64_t key) noexcept nogil:
    cdef Py_ssize_t room
    cdef void *more
    if c.n_words == 0x7FFFFFFE or (2 * (c.n_words + 1) > c.n_slots and not more_slots(c)):
        return -1
    if c.n_words == c.words_room:
        room = 2 * c.words_room + 32
        more = realloc(c.words, room * sizeof(Word))
        if more == NULL:
            return -1
        c.words, c.words_room = <Word *> more, room
    if c.text_size + n >= c.text_room:
        room = 2 * (c.text_size + n) + 256
        more = realloc(c.text, room)
        if more == NULL:
            return -1
        c.text, c.text_room = <char *> more, room
    memcpy(c.text + c.text_size, word, n)
    c.words[c.n_words] = Word(c.text_size, n)
    c.text_size += n
    c.n_words += 1
    slot_of(c, key, word, n)[0] = Slot(key, c.n_words)
    return c.n_words - 1


cdef bint more_slots(Column *c) noexcept nogil:
    """Four times as many; False where there is no memory."""
    cdef Slot *old = c.slots
    cdef Slot *slot
    cdef Py_ssize_t i, n = c.n_slots
    cdef Py_ssize_t room = max(64, 4 * n)
    cdef Slot *slots = <Slot *> calloc(room, sizeof(Slot))
    cdef Word *word
    if slots == NULL:
        return False
    c.slots, c.n_slots = slots, room
    for i in range(n):
        if old[i].code:
            word = &c.words[old[i].code - 1]
            slot = slot_of(c, old[i].key, c.text + word.start, word.n)
            slot[0] = old[i]
    free(old)
    return True


cdef np.ndarray plain_numbers(Column *c):
    """(n_words,) numbers, NaN of the empty word; None where a word is no number (`number_of`), or may be a code: 00731."""
    cdef np.ndarray values = np.empty(c.n_words)
    cdef double *value = <double *> np.PyArray_DATA(values)
    cdef const char *word
    cdef Py_ssize_t i, n
    for i in range(c.n_words):
        word, n = c.text + c.words[i].start, c.words[i].n
        if n == 0:
            value[i] = NAN
        elif (n > 1 and word[0] == b"0" and b"0" <= word[1] <= b"9") or not number_of(word, n, &value[i]):
            return None
    return values


cdef bint number_of(const char *p, Py_ssize_t n, double *out) noexcept nogil:
    """A decimal number as the nearest float64; False where it is none, or takes more than this to round it.

    w 10^q, of a whole w < 10^19: where w and 10^|q| are float64 one operation rounds right (Clinger, 1990, "How to read
    floating point numbers accurately", PLDI); otherwise w times the leading 128 bits of 5^q (Lemire, 2021, "Number parsing at a
    gigabyte per second", Software: Practice and Experience 51(8)).
    """
    cdef const char *end = p + n
    cdef const char *begin
    cdef uint64_t w = 0
    cdef Py_ssize_t digits, q = 0, power = 0
    cdef bint negative, below
    while end > p and (end - 1)[0] == b" ":
        end -= 1
    negative = p < end and p[0] == b"-"
    if p < end and (p[0] == b"-" or p[0] == b"+"):
        p += 1
    begin = p
    while p < end and b"0" <= p[0] <= b"9":
        w = 10 * w + (p[0] - c"0")
        p += 1
    digits = p - begin
    if p < end and p[0] == b".":
        p += 1
        begin = p
        while p < end and b"0" <= p[0] <= b"9":
            w = 10 * w + (p[0] - c"0")
            p += 1
        q = begin - p
        digits -= q
    if digits == 0 or digits > 19:
        return False
    if p < end and (p[0] == b"e" or p[0] == b"E"):
        p += 1
        below = p < end and p[0] == b"-"
        if p < end and (p[0] == b"-" or p[0] == b"+"):
            p += 1
        if p == end or end - p > 3:
            return False
        while p < end and b"0" <= p[0] <= b"9":
            power = 10 * power + (p[0] - c"0")
            p += 1
        q += -power if below else power
    if p != end:
        return False
    if w == 0:
        out[0] = 0
    elif w <= <uint64_t> 1 << 53 and -22 <= q <= 22:
        out[0] = w / EXACT[-q] if q < 0 else w * EXACT[q]
    elif LEAST <= q <= MOST:
        out[0] = rounded(w, q)
    else:
        return False
    if negative:
        out[0] = -out[0]
    return True


cdef double rounded(uint64_t w, Py_ssize_t q) noexcept nogil:
    """w 10^q, w > 0, to the nearest float64, of two the even one."""
    cdef int shift = fnn_leading_zeros(w), above
    cdef uint64_t high, low, second, rest, bits
    cdef const uint64_t *five = FIVES[q - LEAST]
    cdef double result
    w <<= shift
    high = fnn_product(w, five[0], &low)
    if high & 0x1FF == 0x1FF:  # the bits below might carry into these
        second = fnn_product(w, five[1], &rest)
        low += second
        high += low < second
    above = high >> 63
    bits = high >> (above + 9)  # 54 of them: one more than are kept
    if low <= 1 and -4 <= q <= 23 and bits & 3 == 1 and bits << (above + 9) == high:
        bits -= 1  # halfway, and exactly: to even
    bits = (bits + (bits & 1)) >> 1
    # 2^63 <= w 2^shift < 2^64, and 217706 / 2^16 is log2(10): the exponent of the leading bit
    bits += <uint64_t> ((((217706 * q) >> 16) + 63 + above - shift) + 1022) << 52  # its leading bit adds one
    memcpy(&result, &bits, 8)
    return result


cdef inline int two(const char *p) noexcept nogil:
    """The number of two digits, -1 where they are none."""
    cdef int tens = p[0] - c"0", ones = p[1] - c"0"
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1


cdef bint moment_of(const char *p, Py_ssize_t n, int64_t *out) noexcept nogil:
    """2020-01-31, 2020-01-31T13:45, 2020-01-31 13:45:10 or 2020-01-31 13:45:10.25 as microseconds since 1970; False where it is
    none of these."""
    cdef int century, year, month, day, longest, hour = 0, minute = 0, second = 0, i, digit
    cdef int64_t micro = 0, days, y
    if n < 10 or p[4] != b"-" or p[7] != b"-":
        return False
    century, year, month, day = two(p), two(p + 2), two(p + 5), two(p + 8)
    if century < 0 or year < 0 or not 1 <= month <= 12 or day < 1:
        return False
    year += 100 * century
    longest = 30 + ((month + month // 8) & 1)
    if month == 2:
        longest = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    if year < 1 or day > longest:
        return False
    if n > 10:
        if n < 16 or (p[10] != b"T" and p[10] != b" ") or p[13] != b":":
            return False
        hour, minute = two(p + 11), two(p + 14)
        if n > 16:
            if n < 19 or p[16] != b":" or n == 20 or n > 26 or (n > 19 and p[19] != b"."):
                return False
            second = two(p + 17)
            for i in range(20, 26):
                digit = p[i] - c"0" if i < n else 0
                if not 0 <= digit <= 9:
                    return False
                micro = 10 * micro + digit
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return False
    # Days of the years before, and of the months since March: Hinnant, "chrono-compatible low-level date algorithms".
    y = year - (month <= 2)
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468
    out[0] = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000000 + micro
    return True
