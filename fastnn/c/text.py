"""The functions of an exported file, as C text: the scalar twins of src/elementary.h,
src/activations.h, src/normalise.h and the softmax of src/output.h.

`@` stands for the prefix of all names. Each function names those it calls, so that a file has no
other than it needs. A product and a sum are rounded one after the other, as by FASTNN_ISA=baseline;
`@flush` stands where a number below the smallest normal one may come about, which compiled code of
fastnn makes 0.
"""

from __future__ import annotations

#: What depends on the width of a real: texts that are put in for ``%(name)s``.
REALS = {
    "float32": {
        "real": "float", "uint": "uint32_t", "mantissa": "23", "bias": "127", "sign": "0x80000000u",
        "suffix": "f", "smallest": "0x1p-126f", "exact": "0x1p-102f", "sqrt": "sqrtf",
        "ln2_high": "0.693359375f", "ln2_low": "-2.12194440054690583e-4f",
        "exp_low": "-87.33f", "exp_high": "88.37f", "round": "12582912.0", "exp_terms": "7",
        "log1p_terms": "8", "normal_high": "14", "normal_k": "3",
        "normal_tail": """
        5.5174623938e-5f, 1.3282590865e-4f, -2.4448394209e-4f, -1.0338913481e-3f,
        1.0241576682e-3f, 6.9696895432e-3f, -1.0462311158e-2f, -4.7262727689e-2f,
        2.3001767971e-1f, -5.0933199024e-1f, 7.2908369067e-1f""",
    },
    "float64": {
        "real": "double", "uint": "uint64_t", "mantissa": "52", "bias": "1023",
        "sign": "0x8000000000000000u",
        "suffix": "", "smallest": "0x1p-1022", "exact": "0x1p-969", "sqrt": "sqrt",
        "ln2_high": "6.93147180369123816490e-01", "ln2_low": "1.90821492927058770002e-10",
        "exp_low": "-708.39", "exp_high": "709.4", "round": "6755399441055744.0", "exp_terms": "13",
        "log1p_terms": "17", "normal_high": "39", "normal_k": "5.5",
        "normal_tail": """
        -2.606774740968198992e-9, -5.73910418618140302e-9, 2.29216086337358783e-8,
        5.045535636850466216e-8, -1.774331453557289688e-7, -2.679659862617942295e-7,
        1.48363739162762658e-6, 4.464370634092104613e-7, -1.211874250226164908e-5,
        1.631996538411102554e-5, 7.141478894513676585e-5, -3.245226531331884503e-4,
        2.696040156145406772e-4, 2.442982675730465154e-3, -1.392351056774359549e-2,
        4.509758081468490839e-2, -1.097030899585598684e-1, 2.178724328579739556e-1,
        -3.670490652936254e-1, 5.35596489062494326e-1, -6.851834205743380535e-1,
        7.737696342764067687e-1""",
    },
}  # fmt: skip

HEAD = """
#include <float.h>
%(math)s#include <stdint.h>

#if defined(__FAST_MATH__) || !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
#error "needs C99 and plain IEEE arithmetic: no -ffast-math; on 32-bit x86 -msse2 -mfpmath=sse"
#endif
#if defined(__GNUC__) && !defined(__clang__)
/* It has no STDC FP_CONTRACT, and would take 4 inputs at a time, by shuffles, not 4 outputs. */
#pragma GCC optimize ("fp-contract=off", "no-tree-loop-vectorize")
#else
#pragma STDC FP_CONTRACT OFF
#endif

typedef %(real)s @real;
typedef union { @real x; %(uint)s n; } @bits;

/* 0 of the same sign for a number that is not normal. */
static @real @flush(@real x)
{
    const @real size = x < 0 ? -x : x;
    return size < %(smallest)s ? x * 0 : x;
}

/* a <- W x + b: each sum in order of x. W: blocks of 8 outputs, [n_in][8], then single outputs.
 * least: of |W|, but for zeros. As long as that times the least |x| is %(exact)s or more, no sum
 * comes near numbers that are not normal: all its terms, and so itself, are multiples of the
 * smallest normal number. */
static void @product(
    int n_in, int n_out, const @real *W, const @real *b, @real least, const @real *x, @real *a)
{
    @real small = 1;
    int i, e, m;
    for (i = 0; i < n_in; i++) {
        const @real size = x[i] < 0 ? -x[i] : x[i];
        if (size > 0 && size < small) small = size;
    }
    for (; n_out > 0; n_out -= m, W += m * n_in, b += m, a += m) {
        @real s[8] = {0};
        m = n_out < 8 ? 1 : 8;
        if (small * least < %(exact)s) {
            for (i = 0; i < n_in; i++)
                for (e = 0; e < m; e++) s[e] = @flush(@flush(W[i * m + e] * x[i]) + s[e]);
        } else if (m == 8) {
            @real t[8] = {0}; /* in registers */
            for (i = 0; i < n_in; i++) {
                const @real *w = W + i * 8, v = x[i];
                t[0] = w[0] * v + t[0];
                t[1] = w[1] * v + t[1];
                t[2] = w[2] * v + t[2];
                t[3] = w[3] * v + t[3];
                t[4] = w[4] * v + t[4];
                t[5] = w[5] * v + t[5];
                t[6] = w[6] * v + t[6];
                t[7] = w[7] * v + t[7];
            }
            for (e = 0; e < 8; e++) s[e] = t[e];
        } else {
            for (i = 0; i < n_in; i++) s[0] = W[i] * x[i] + s[0];
        }
        for (e = 0; e < m; e++) a[e] = @flush(s[e] + b[e]);
    }
}
"""

#: name: (functions it calls, text), each after those that it calls.
FUNCTIONS = {
    "magnitude": ((), """
static @real @magnitude(@real x)
{
    @bits u;
    u.x = x;
    u.n &= ~%(sign)s;
    return u.x;
}
"""),
    "expm1_reduced": ((), """
/* x = n ln2 + r; *scale = 2^n; e^r - 1. */
static @real @expm1_reduced(@real x, @real *scale)
{
    const @real shift = (@real)(%(round)s + %(bias)s);
    const @real shifted = x * (@real)1.4426950408889634074 + shift, n = shifted - shift;
    @real r = n * -%(ln2_high)s + x, p;
    @bits u;
    u.x = shifted;
    u.n <<= %(mantissa)s;
    *scale = u.x;
    r = n * -(%(ln2_low)s) + r;
%(exp_series)s
    return p * (r * r) + r;
}
"""),
    "exp": (("expm1_reduced",), """
static @real @exp(@real x)
{
    @real scale, p;
    p = @expm1_reduced(x < %(exp_low)s ? %(exp_low)s : x > %(exp_high)s ? %(exp_high)s : x, &scale);
    return x < %(exp_low)s ? 0 : (p + 1) * scale;
}
"""),
    "tanh": (("magnitude", "expm1_reduced"), """
static @real @tanh(@real x)
{
    const @real size = @magnitude(x), t = size > 20 ? 20 : size;
    @real scale;
    const @real p = @expm1_reduced(t + t, &scale), e = scale * p + (scale - 1);
    @bits u, sign;
    u.x = e / (e + 2);
    sign.x = x;
    u.n |= sign.n & %(sign)s;
    return u.x;
}
"""),
    "sigmoid": (("expm1_reduced",), """
static @real @sigmoid(@real x)
{
    const @real least = %(exp_low)s, most = %(exp_high)s;
    @real scale, p;
    p = @expm1_reduced(-x < least ? least : -x > most ? most : -x, &scale);
    return @flush(1 / (scale * p + (scale + 1)));
}
"""),
    "log1p": ((), """
/* log(1 + e), 0 <= e <= 1. */
static @real @log1p(@real e)
{
    const @real s = @flush(e / (e + 2)), z = s * s;
    @real p = (@real)(1.0 / (2 * %(log1p_terms)s + 1));
    int i;
    for (i = %(log1p_terms)s - 1; i > 0; i--) p = p * z + (@real)(1.0 / (2 * i + 1));
    return p * z * (s + s) + (s + s);
}
"""),
    "expm1": (("expm1_reduced",), """
/* e^x - 1, x <= 0. */
static @real @expm1(@real x)
{
    @real scale, p;
    p = @expm1_reduced(x < %(exp_low)s ? %(exp_low)s : x > 0 ? 0 : x, &scale);
    return scale * p + (scale - 1);
}
"""),
    "logistic": (("magnitude", "exp"), """
static @real @logistic(@real x)
{
    const @real e = @exp(-@magnitude(x)), larger = 1 / (1 + e);
    return x < 0 ? @flush(e * larger) : larger;
}
"""),
    "relu": ((), """
static @real @relu(@real a) { return a < 0 ? 0 : a; }
"""),
    "leaky_relu": ((), """
static @real @leaky_relu(@real a, @real p) { return a > 0 ? a : @flush(p * a); }
"""),
    "elu": (("expm1",), """
static @real @elu(@real a, @real p) { return a > 0 ? a : @flush(p * @expm1(a)); }
"""),
    "selu": (("expm1",), """
static @real @selu(@real a)
{
    return (@real)1.0507009873554804934 * (a > 0 ? a : (@real)1.6732632423543772848 * @expm1(a));
}
"""),
    "softplus": (("magnitude", "exp", "log1p"), """
static @real @softplus(@real a) { return (a < 0 ? 0 : a) + @log1p(@exp(-@magnitude(a))); }
"""),
    "hard_tanh": ((), """
static @real @hard_tanh(@real a) { return a < -1 ? -1 : a > 1 ? 1 : a; }
"""),
    "gelu": (("magnitude", "exp"), """
static @real @gelu(@real a)
{
    static const @real c[] = {%(normal_tail)s
    };
    const @real size = @magnitude(a), t = size > %(normal_high)s ? %(normal_high)s : size;
    const @real w = 1 / (t + (@real)%(normal_k)s), s = (@real)(-2 * %(normal_k)s) * w + 1;
    const @real e = @exp((@real)-0.5 * (t * t));
    @real p = c[0], tail;
    unsigned i;
    for (i = 1; i < sizeof(c) / sizeof(c[0]); i++) p = p * s + c[i];
    tail = @flush(e * (p * w));
    return @flush(a * (a < 0 ? tail : 1 - tail));
}
"""),
    "gelu_tanh": (("logistic",), """
static @real @gelu_tanh(@real a)
{
    const @real t = a < -22 ? -22 : a > 22 ? 22 : a;
    const @real cubic = (@real)0.044715 * (t * t) * t + t;
    return @flush(a * @logistic((@real)1.5957691216057307118 * cubic));
}
"""),
    "silu": (("logistic",), """
static @real @silu(@real a) { return @flush(a * @logistic(a)); }
"""),
    "mish": (("exp",), """
static @real @mish(@real a)
{
    const @real e = @exp(a > 30 ? 30 : a), n = e * e + (e + e);
    return @flush(a * (n * (1 / (n + 2))));
}
"""),
    "softmax": (("exp",), """
static void @softmax(int n, @real *a)
{
    @real peak = a[0], total = 0;
    int j;
    for (j = 1; j < n; j++) peak = a[j] < peak ? peak : a[j];
    for (j = 0; j < n; j++) total += a[j] = @exp(a[j] - peak);
    for (j = 0; j < n; j++) a[j] = @flush(a[j] / total);
}
"""),
    "layer_norm": ((), """
/* A sum of 16 sums, of every 16th number. */
static @real @fold(@real s[16])
{
    int half, e;
    for (half = 8; half > 0; half /= 2)
        for (e = 0; e < half; e++) s[e] = @flush(s[e] + s[e + half]);
    return s[0];
}

static void @layer_norm(int n, const @real *gamma, const @real *b, @real epsilon, @real *u)
{
    @real sum[16] = {0}, squares[16] = {0}, mean, inv;
    int j;
    for (j = 0; j < n; j++) sum[j %% 16] = @flush(sum[j %% 16] + u[j]);
    mean = @flush(@fold(sum) / (@real)n);
    for (j = 0; j < n; j++) {
        u[j] = @flush(u[j] - mean);
        squares[j %% 16] = @flush(@flush(u[j] * u[j]) + squares[j %% 16]);
    }
    inv = 1 / %(sqrt)s(@flush(@fold(squares) / (@real)n) + epsilon);
    for (j = 0; j < n; j++) u[j] = @flush(@flush(gamma[j] * @flush(u[j] * inv)) + b[j]);
}
"""),
    "parametric": ((), """
/* a + alpha (g - a) */
static @real @parametric(@real a, @real g, @real alpha)
{
    return @flush(@flush(alpha * @flush(g - a)) + a);
}
"""),
}  # fmt: skip

WITH_PARAMETER = ("leaky_relu", "elu")


def exp_series(terms: int) -> str:
    """The lines of the series of e^r - 1, from 1 / terms! down to 1 / 2."""
    factorials = [1]
    for i in range(1, terms + 1):
        factorials.append(factorials[-1] * i)
    lines = [f"    p = (@real)(1.0 / {factorials[terms]}.0);"]
    lines += [f"    p = p * r + (@real)(1.0 / {factorials[i]}.0);" for i in range(terms - 1, 1, -1)]
    return "\n".join(lines)


def functions(names: set[str], dtype: str, needs_math: bool) -> str:
    """Their text, and that of what they call."""
    needed = set(names)
    for name in reversed(FUNCTIONS):
        if name in needed:
            needed.update(FUNCTIONS[name][0])
    texts = [text for name, (_, text) in FUNCTIONS.items() if name in needed]
    words = REALS[dtype] | {"exp_series": exp_series(int(REALS[dtype]["exp_terms"]))}
    words["math"] = "#include <math.h>\n" if needs_math else ""
    return "".join([HEAD, *texts]) % words
