/* A strict reader of JSON texts (RFC 8259) that trusts nothing: no byte is read outside a text, nothing is allocated, values nest at
 * most JSON_DEPTH deep. A value is the stretch of text that it is; what is no JSON has n = 0. */
#ifndef FNN_JSON_H
#define FNN_JSON_H

#include <locale.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 100

typedef struct {
    const char *p;
    size_t n;
} json_text;

/* Goes through a list, an object or a whole text. What it meets that is no JSON ends it: p = end, failed = 1. */
typedef struct {
    const char *p, *end;
    size_t passed; /* entries */
    int failed;
} json_reader;

static int json_fail(json_reader *r) {
    r->p = r->end;
    r->failed = 1;
    return 0;
}

static void json_space(json_reader *r) {
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) r->p++;
}

/* Whether the next character is c; then it is passed. */
static int json_take(json_reader *r, char c) {
    json_space(r);
    if (r->p == r->end || *r->p != c) return 0;
    r->p++;
    return 1;
}

static int json_hex(const char *p, unsigned *code) {
    *code = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return 0;
        *code = *code * 16 + (unsigned)digit;
    }
    return 1;
}

/* Past a string whose first quote has been passed. */
static int json_past_string(json_reader *r) {
    unsigned code;
    while (r->p < r->end && *r->p != '"') {
        if ((unsigned char)*r->p < 0x20) return json_fail(r);
        if (*r->p++ != '\\') continue;
        if (r->p == r->end || !*r->p || !strchr("\"\\/bfnrtu", *r->p)) return json_fail(r);
        if (*r->p++ != 'u') continue;
        if (r->end - r->p < 4 || !json_hex(r->p, &code)) return json_fail(r);
        r->p += 4;
    }
    if (r->p == r->end) return json_fail(r);
    r->p++;
    return 1;
}

static int json_digits(json_reader *r) {
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') r->p++;
    return r->p > from;
}

static int json_past_number(json_reader *r) {
    if (r->p < r->end && *r->p == '-') r->p++;
    const int zero = r->p < r->end && *r->p == '0';
    const char *from = r->p;
    if (!json_digits(r) || (zero && r->p - from > 1)) return json_fail(r);
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (!json_digits(r)) return json_fail(r);
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) r->p++;
        if (!json_digits(r)) return json_fail(r);
    }
    return 1;
}

static int json_past(json_reader *r, int depth);

/* Past the comma, if any, to the next entry of a list or an object that ends with `close`, which is passed, too; 0: no more. */
static int json_next(json_reader *r, char close) {
    if (json_take(r, close)) return 0;
    if (r->passed++ && !json_take(r, ',')) return json_fail(r);
    json_space(r);
    return r->p < r->end ? 1 : json_fail(r);
}

/* Past the next name of an object, which must have one. */
static json_text json_name(json_reader *r) {
    json_text name = {r->p + 1, 0};
    if (!json_take(r, '"') || !json_past_string(r)) {
        json_fail(r);
        return name;
    }
    name.n = (size_t)(r->p - 1 - name.p);
    if (!json_take(r, ':')) json_fail(r);
    return name;
}

static int json_past(json_reader *r, int depth) {
    static const char *const words[] = {"true", "false", "null"};
    json_space(r);
    if (r->p == r->end || depth > JSON_DEPTH) return json_fail(r);
    if (*r->p == '"') {
        r->p++;
        return json_past_string(r);
    }
    if (*r->p == '[' || *r->p == '{') {
        json_reader in = {r->p + 1, r->end, 0, 0};
        const char close = *r->p == '[' ? ']' : '}';
        while (json_next(&in, close)) {
            if (close == '}') json_name(&in);
            if (!json_past(&in, depth + 1)) break;
        }
        r->p = in.p;
        return in.failed ? json_fail(r) : 1;
    }
    for (int i = 0; i < 3; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(r->end - r->p) >= n && !memcmp(r->p, words[i], n)) {
            r->p += n;
            return 1;
        }
    }
    return json_past_number(r);
}

/* The next value, which is passed. */
static json_text json_value(json_reader *r) {
    json_text value = {0};
    json_space(r);
    value.p = r->p;
    if (json_past(r, 0)) value.n = (size_t)(r->p - value.p);
    return value;
}

/* Whether a text is one value and no more. */
static int json_whole(json_text text) {
    json_reader r = {text.p, text.p + text.n, 0, 0};
    json_past(&r, 0);
    json_space(&r);
    return !r.failed && r.p == r.end;
}

static json_reader json_inside(json_text value) { /* of a list or an object, as which it has been checked */
    return (json_reader){value.p + 1, value.p + value.n, 0, 0};
}

static int json_is_list(json_text value) { return value.n && *value.p == '['; }
static int json_is_object(json_text value) { return value.n && *value.p == '{'; }
static int json_is_string(json_text value) { return value.n && *value.p == '"'; }

/* Whether the text is that word. A word in quotes asks for a string; its escapes must stand for nothing that could stand itself. */
static int json_is(json_text text, const char *word) { return text.n == strlen(word) && !memcmp(text.p, word, text.n); }

/* values[i] <- that of the object's member names[i], n = 0 where there is none. 0: it is no object, has one of these names twice, or
 * has others although these are `all`. */
static int json_members(json_text object, int n, const char *const *names, json_text *values, int all) {
    if (!json_is_object(object)) return 0;
    memset(values, 0, (size_t)n * sizeof *values);
    for (json_reader r = json_inside(object); json_next(&r, '}');) {
        const json_text name = json_name(&r), value = json_value(&r);
        int i = 0;
        if (r.failed) return 0;
        while (i < n && !json_is(name, names[i])) i++;
        if (i < n ? values[i].n > 0 : all) return 0;
        if (i < n) values[i] = value;
    }
    return 1;
}

static size_t json_length(json_text list) {
    size_t n = 0;
    if (json_is_list(list))
        for (json_reader r = json_inside(list); json_next(&r, ']'); n++) json_value(&r);
    return n;
}

/* A number without sign, point and exponent, up to 2^53. */
static int json_count(json_text value, uint64_t *count) {
    *count = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9' || *count > (1ull << 53) / 10) return 0;
        *count = *count * 10 + (uint64_t)(value.p[i] - '0');
    }
    return value.n > 0;
}

/* The double nearest to a number. strtod takes the point that the program's locale has. */
static int json_real(json_text value, double *real) {
    char text[64];
    const char *point = localeconv()->decimal_point;
    size_t n = 0;
    if (!value.n || !(*value.p == '-' || (*value.p >= '0' && *value.p <= '9'))) return 0;
    for (size_t i = 0; i < value.n; i++) {
        const char *from = value.p[i] == '.' ? point : value.p + i;
        const size_t length = value.p[i] == '.' ? strlen(point) : 1;
        if (n + length >= sizeof text) return 0;
        memcpy(text + n, from, length);
        n += length;
    }
    text[n] = 0;
    *real = strtod(text, NULL);
    return *real - *real == 0; /* finite */
}

/* to <- what a string says, but "?" for an escaped character that is not ASCII; room: that of its text. Returns the length. */
static size_t json_said(json_text string, char *to) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    const char *p = string.p + 1, *end = string.p + string.n - 1;
    size_t n = 0;
    while (p < end) {
        unsigned code;
        if (*p != '\\') {
            to[n++] = *p++;
        } else if (p[1] == 'u') {
            json_hex(p + 2, &code);
            to[n++] = code < 0x80 ? (char)code : '?';
            p += 6;
        } else {
            const char *of = escapes;
            while (*of != p[1]) of += 2;
            to[n++] = of[1];
            p += 2;
        }
    }
    return n;
}

#endif
