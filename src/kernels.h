/* The table of kernels: one for each ISA and type of real, all with the same meaning and (but for the baseline) the same bits.
 *
 * A kernel works on one tile, panel or block with one thread; it allocates nothing, calls nothing back and trusts its caller.
 * Sizes and strides count elements. Buffers of one call must not overlap unless said.
 *
 * Panels, NR columns wide, the last one padded:
 *   activations h, deltas   [panel][row][NR]       stride: elements from one panel to the next
 *   weights Wp              [panel of outputs][input][NR], or turned: [panel of inputs][output][NR]
 *   their transpose Wt      [panel of inputs][output, padded to NR][NR]   (for single rows alone)
 * `vectors` (1 or 2): how many vectors of a panel's NR columns hold anything.
 */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "activations.h"
#include "losses.h"
#include "optimizers.h"

enum {
#define X(name, id, ...) fnn_##name = id,
    FNN_OUTPUTS(X)
#undef X
};
enum {
#define X(name, id) fnn_##name = id,
    FNN_LOSSES(X)
#undef X
};
enum {
#define X(name, id, states, step) fnn_##name = id,
    FNN_OPTIMIZERS(X)
#undef X
};

/* Which activation, and its parameter. */
typedef struct {
    int id;
    double parameter;
} fnn_activation;

/* What training adds to a layer's h and leaves out of it (random.h). */
typedef struct {
    double noise, dropout; /* standard deviation; share */
    uint32_t noise_key[2], dropout_key[2];
} fnn_draw;

/* Normalisation of a layer's u = W h (kind 0: none): a = gamma xhat + beta, xhat = (u - mean) inv, inv = 1 / sqrt(variance + epsilon). */
typedef struct {
    int kind, has_beta;
    double epsilon, momentum;
    fnn_activation g;      /* in prediction: what follows */
    void *gamma, *beta;    /* panels like b; beta is 0 where the layer has none */
    void *mean, *variance; /* FNN_BATCH_NORM: running ones, likewise: (1 - momentum) of the old, momentum of a mini-batch's */
} fnn_norm;

/* Groups of parameters, each with a learning rate of its own. */
#define FNN_GROUP_NAMES(X) X(W) X(b) X(gamma) X(alpha) X(scale) X(embedding) X(table)
enum {
#define X(name) FNN_OF_##name,
    FNN_GROUP_NAMES(X)
#undef X
    FNN_GROUPS
};

/* What an optimizer multiplies with, and what shapes the gradient g that it gets (regular):
 *   g <- clip g, then within -clip_value..clip_value, then + l2 w + l1 sign(w);  w <- keep w before the step.
 * ridge: a penalty of the sum over a mini-batch, not of its mean: l2 of weights grows by ridge / (sum of its samples' weights). */
typedef struct {
    double learning_rate, momentum, dampening, beta1, beta2, psi;          /* psi: nadam's 0.96^momentum_decay */
    double epsilon, epsilon_hat;                                           /* adam's, beside sqrt(t): in epsilon's place where not 0 */
    double shrink, grow, least, most;                                      /* rprop's */
    double l1, l2, ridge, weight_decay, clip_value, clip_norm, max_norm;   /* 0: none */
    double factors[FNN_GROUPS];                                            /* of each group's learning rate */
    int ntk;                                                               /* W steps as V = sqrt(n_in) W would */
    int decay_bias, regular;
    /* What follows from these and the number of the step, n (update.pyx: correct), and, clip, from the gradient. */
    double bias_l2, alpha1, root2, damped, alpha_g, alpha_m, product, keep, clip;
    long long n;                                                           /* product: of nadam's momenta up to step n */
} fnn_rates;

/* The kinds of number that features may be, by NumPy's names. float32 and float64 are last: those that a network computes in. */
#define FNN_KINDS(X)                                                                                          \
    X(uint8, uint8_t) X(int8, int8_t) X(uint16, uint16_t) X(int16, int16_t) X(uint32, uint32_t)               \
    X(int32, int32_t) X(uint64, uint64_t) X(int64, int64_t) X(float16, uint16_t) X(float32, float) X(float64, double)
enum {
#define X(name, type) fnn_kind_##name,
    FNN_KINDS(X)
#undef X
};

/* How features lie in memory: rows of one kind of number with any strides, or a CSR matrix. */
typedef struct {
    const char *data;       /* element (0, 0); CSR: the values, reals */
    int kind;
    ptrdiff_t row, column;  /* bytes from one row to the next, from one column to the next */
    double scale;           /* integers are multiplied by it: (real)x * (real)scale, each rounded once */
    const int64_t *indptr;  /* NULL, or CSR: row r has the entries indptr[r]..indptr[r + 1] - 1 ... */
    const int32_t *indices; /* ... in these columns, ascending */
} fnn_features;

/* Columns column .. column + n of layer 1's inputs, of one panel. The `n` spans of a mini-batch, in order, hold all columns that are
 * not 0 in each of its rows; those of panel q end before ends[q]. */
typedef struct { int32_t column, n; } fnn_span;
typedef struct {
    ptrdiff_t n;
    fnn_span *list;
    int32_t *ends;
} fnn_spans;

/* What becomes of a column of X before layer 1 (inputs.h): features first .. first + width of phi(x). */
typedef struct {
    int kind;
    ptrdiff_t column, first, width; /* FNN_PLAIN: the first of `width` columns, which are the features themselves */
    ptrdiff_t n;                    /* frequencies, bins, codes */
    ptrdiff_t start, size;          /* of its parameters in the vector of all; size 0: none */
    const void *edges;              /* FNN_PIECEWISE: (4, n) reals: where bins begin, 1 / their widths, least and most of features */
} fnn_column;

/* An entry of a mini-batch's CSR rows, within a block of NR inputs. */
typedef struct {
    int32_t input, sample; /* input: from the block's first */
} fnn_entry;

/* Rows of X that the next mini-batch will gather: brought near, a few cache lines between two tiles. */
typedef struct {
    const char *X;          /* NULL: nothing to bring */
    const ptrdiff_t *order; /* rows X[order[0]], X[order[1]], ..., `row` bytes apart */
    ptrdiff_t row, row_bytes, next, last, lines_a_tile; /* next, last: cache lines, counted over all rows */
} fnn_prefetch;

/* A loss and its settings. */
typedef struct {
    int id;
    double smoothing; /* cross-entropies: y <- (1 - smoothing) y + smoothing / (classes of one question) */
    double delta;     /* huber: where the square ends */
    double gamma;     /* focal */
    const void *q;    /* quantile: (n_out,) reals */
} fnn_loss;

/* What a loss compares with: rows[order[r]] of labels or values (order NULL: row r). */
typedef struct {
    const int32_t *labels; /* (n,) or NULL */
    const void *values;    /* (n, n_out) reals, or NULL */
    const double *weights; /* (n,) of the samples, or NULL: 1 */
    const ptrdiff_t *order;
} fnn_targets;

/* Activations in 8 bits (int8.h): h = scale (u - zero), and inverse = 1 / scale. */
typedef struct {
    float scale, inverse;
    int32_t zero;
} fnn_codes;

/* A panel of a layer in 8 bits. */
typedef struct {
    const int8_t *W;        /* [four inputs][NR][4]: as many inputs as are multiples of 4 FNN_SUMMED, those beyond n_in 0 */
    const int32_t *sums;    /* (NR,) sum_j w_ij */
    const float *scale, *b; /* (NR,) of the weights; bias */
} fnn_int8;

typedef void (*fnn_int8_product)(ptrdiff_t rows, ptrdiff_t n, const uint8_t *U, ptrdiff_t ld, const fnn_int8 *layer,
                                 const fnn_codes *codes, ptrdiff_t each, fnn_activation g, void *C);

enum { FNN_BLOCK = 32 }; /* numbers of a sum of bfloat16 that are added up apart (bfloat16.h) */
enum { FNN_BY_FMA, FNN_BY_DOTS, FNN_BY_TILES };
enum { FNN_SUMMED = 2, FNN_WEIGHT_SUM = 128 };
enum { FNN_FORWARD, FNN_BACKWARD, FNN_PARTIAL };
enum { FNN_BATCH_NORM = 1, FNN_LAYER_NORM };
enum { FNN_PLAIN, FNN_PERIODIC, FNN_PIECEWISE, FNN_CATEGORIES };

#define FNN_NEAR (1 + FNN_MAX_STATES)

typedef struct fnn_kernels {
    const char *isa;
    int item, nr, vl, mr; /* bytes of a real; panel width; vector width; rows of the largest tile */
    int paired;           /* of bfloat16: 1 where products read panels of W in pairs of rows, as round_weights leaves them */

    /* Between the user's layout (row-major) and panels. cols: outputs of this panel (1..NR). */
    void (*pack_panel)(ptrdiff_t n_in, ptrdiff_t cols, const void *W, void *Wp);     /* W: its rows of (n_out, n_in) */
    void (*unpack_panel)(ptrdiff_t n_in, ptrdiff_t cols, const void *Wp, void *W);
    void (*transpose_block)(ptrdiff_t rows, int vectors, const void *Wp, void *Wt);  /* (rows <= NR, NR) -> (NR, NR) */
    void (*gather)(ptrdiff_t rows, ptrdiff_t n, const void *X, const ptrdiff_t *order, void *h, ptrdiff_t stride);
    void (*scatter)(ptrdiff_t rows, ptrdiff_t n, const void *h, ptrdiff_t stride, void *X);

    /* Features, rows order[first].. (order NULL: row first ..), to panels; with stride = NR a row becomes contiguous. Not CSR. */
    void (*gather_features)(ptrdiff_t rows, ptrdiff_t n, const fnn_features *X, const ptrdiff_t *order, ptrdiff_t first, void *h,
                            ptrdiff_t stride);

    /* used, a row of panels of bits <- 0 where a column of h is 0 in all rows. From what `parts` sets of rows use: the spans, of n
     * columns; returns how many columns they hold, or 0 if to leave out the others does not pay. */
    void (*used_columns)(ptrdiff_t rows, ptrdiff_t n, const void *h, ptrdiff_t stride, void *used);
    ptrdiff_t (*find_spans)(ptrdiff_t n, ptrdiff_t parts, const void *used, fnn_spans *spans);

    /* One panel of C = finish(A B): A panels of n columns (row = NR, stride), or the user's rows as they lie (row from one to the
     * next, stride = NR); B n rows of a panel. finish: FNN_FORWARD, g(. + b) with X = b, or FNN_BACKWARD, . * g'(a) with X the
     * panel of h = g(a), or of g'(a) where g keeps it, or FNN_PARTIAL, A B alone. spans: of A's panels; NULL: all columns. far: weights that do not stay in L2 are brought near in time. */
    void (*product_panel)(ptrdiff_t rows, ptrdiff_t n, const void *A, ptrdiff_t row, ptrdiff_t stride, const void *B,
                          const fnn_spans *spans, int far, int vectors, int finish, const void *X, fnn_activation g, void *C);
    /* The same where B is stored by its columns: `columns` (1..NR) rows of a panel, one panel for every NR rows of B, `panel`
     * elements apart; each is transposed as it is used. */
    void (*product_turned)(ptrdiff_t rows, ptrdiff_t n, const void *A, ptrdiff_t stride, const void *W, ptrdiff_t panel,
                           int far, ptrdiff_t columns, int finish, const void *X, fnn_activation g, void *C);
    /* G = A^T B (+ G unless `first`), one block of m_rows <= NR columns of A x a panel of B: samples summed in order. With W, the
     * SGD step W -= learning_rate * (that sum) straight from registers; G then only holds what a long sum has reached.
     * near: blocks (NULL: none) that will be written soon and do not stay in L2, brought near meanwhile, and with them the
     * panel of A after this one. */
    void (*gradient_block)(ptrdiff_t batch, ptrdiff_t m_rows, const void *A, const void *B, int vectors, void *G,
                           int first, void *W, const fnn_rates *rates, void *const near[FNN_NEAR], fnn_prefetch *rows);
    void (*bias_gradient)(ptrdiff_t batch, const void *delta, void *g, int first);   /* g (NR,) = sum over rows */
    /* The same two from CSR rows, where zeros cost nothing. a = X W^T + b, for `panels` panels of W that lie `panel` elements apart. */
    void (*sparse_product)(ptrdiff_t rows, const fnn_features *X, const ptrdiff_t *order, ptrdiff_t first, const void *W,
                           ptrdiff_t panel, ptrdiff_t panels, const void *b, void *a, ptrdiff_t stride);
    /* Entries of the inputs of blocks q0..q1, by block and within it by sample; ends[q - q0]: where those of block q end. */
    void (*sparse_sort)(ptrdiff_t rows, const fnn_features *X, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t q0, ptrdiff_t q1,
                        ptrdiff_t *ends, fnn_entry *entries, void *values);
    /* gradient_block from the n entries of a block. With W, rows of it that no entry meets are not touched. */
    void (*sparse_gradient)(ptrdiff_t n, const fnn_entry *entries, const void *values, ptrdiff_t m_rows, const void *B, int vectors,
                            void *G, int first, void *W, const fnn_rates *rates);
    /* One optimizer step on a block: rows of `cols` elements, ld elements apart. state[s] laid out like w. */
    void (*update)(int optimizer, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t ld, const void *g, void *w,
                   void *const *state, const fnn_rates *rates);

    /* sums[j] = sum_i W[i][j]^2 over n rows of a panel, NR columns, in double and in order of i. */
    void (*column_squares)(ptrdiff_t n, const void *W, double *sums);
    /* sums[i] += sum_j W[i][j]^2 over the first `columns` of a panel, in double and in order of j. */
    void (*row_squares)(ptrdiff_t n, ptrdiff_t columns, const void *W, double *sums);
    /* W[i][j] *= factors[j] of a panel; W[i][j] *= factors[i]. */
    void (*scale_columns)(ptrdiff_t n, const double *factors, void *W);
    void (*scale_rows)(ptrdiff_t n, const double *factors, void *W);
    /* W[i][j] <- 0 of a panel, but where it has the sign of rows[i] columns[j], or its input, a row or turned a column, is 0. */
    void (*orient)(ptrdiff_t n, const void *rows, const void *columns, int turned, void *W);
    /* From a panel of a, in its place: h = g(a), and d = g'(a). */
    void (*activate_panel)(ptrdiff_t rows, int vectors, void *h, fnn_activation g, void *d);

    /* Rows first_row... of a mini-batch, columns column... of a panel: h = (h + noise z) m / (1 - dropout) with z normal and m 0 or 1,
     * d and e *= m / (1 - dropout) (unless NULL). */
    void (*perturb_panel)(ptrdiff_t rows, int vectors, void *h, void *d, void *e, const fnn_draw *draw, int64_t step,
                          ptrdiff_t first_row, ptrdiff_t column);

    /* From a panel of a, in its place: h = a + alpha (g(a) - a), alpha (NR,); and unless NULL d = dh/da, e = dh/dalpha. */
    void (*parametric_panel)(ptrdiff_t rows, int vectors, void *h, fnn_activation g, const void *alpha, void *d, void *e);
    void (*parametric_delta)(ptrdiff_t rows, int vectors, const void *dh, const void *d, void *delta); /* delta = dh d */

    /* u <- a in place. Batch: over the rows of one panel, whose first column is `column`; a row alone by the running statistics.
     * learn: these move. Layer: over the n columns of each row. xhat lies like u; inv: (NR,), or (rows,). Layer: NULL, unless wanted. */
    void (*batch_norm)(ptrdiff_t rows, const fnn_norm *norm, ptrdiff_t column, int learn, void *u, void *xhat, void *inv);
    void (*layer_norm)(ptrdiff_t rows, ptrdiff_t n, const fnn_norm *norm, void *u, ptrdiff_t stride, void *xhat, void *inv);
    /* du = dL/du from delta = dL/da. gamma: of the panel, or of all. */
    void (*batch_norm_delta)(ptrdiff_t rows, const void *gamma, const void *delta, const void *xhat, const void *inv, void *du);
    void (*layer_norm_delta)(ptrdiff_t rows, ptrdiff_t n, const void *gamma, const void *delta, const void *xhat,
                             ptrdiff_t stride, const void *inv, void *du);
    void (*scale_gradient)(ptrdiff_t batch, const void *delta, const void *xhat, void *g, int first); /* g (NR,) = sum of delta xhat */

    /* phi(x) of one column, from x, panels of X, into its features of h. E: the parameters of all columns. */
    void (*features)(ptrdiff_t rows, const fnn_column *c, const void *E, const void *x, ptrdiff_t x_stride, void *h, ptrdiff_t stride);
    /* g (+)= the gradient of its parameters, from delta = dL/dh; s: what phi was multiplied by, or NULL. */
    void (*features_gradient)(ptrdiff_t rows, const fnn_column *c, const void *E, const void *x, ptrdiff_t x_stride,
                              const void *delta, const void *s, ptrdiff_t stride, void *g, int first);
    /* Of a column that is looked up in layer 1 (`fold_inputs`): the rows of its weights that a sample takes, with what they are
     * multiplied by, behind the sample's counts[r] others; there is room for so many. s: of each row of the weights, or NULL. */
    void (*entries)(ptrdiff_t rows, const fnn_column *c, const void *s, const void *x, ptrdiff_t x_stride, ptrdiff_t room,
                    int32_t *counts, int32_t *inputs, void *values);
    /* a = a + sum over a sample's entries, in order, + b, in panels. W: `panels` panels that lie `panel` elements apart. */
    void (*entries_product)(ptrdiff_t rows, ptrdiff_t room, const int32_t *counts, const int32_t *inputs, const void *values,
                            const void *W, ptrdiff_t panel, ptrdiff_t panels, const void *b, void *a, ptrdiff_t stride);
    void (*scale_features)(ptrdiff_t rows, int vectors, const void *s, const void *phi, void *h); /* h = s phi, of a panel */

    /* Output layer, rows of panels. scratch: 3 n_out vectors. h may be a. */
    void (*softmax)(ptrdiff_t rows, ptrdiff_t n_out, void *a, ptrdiff_t stride, void *scratch);
    /* p <- softmax(ln(q) / temperature), q = (p - smoothing / n) / (1 - smoothing), `least` at least; rows of n, side by side. */
    void (*calibrate)(ptrdiff_t rows, ptrdiff_t n, double smoothing, double temperature, double least, void *p, void *scratch);
    /* From a: h = f(a) (unless NULL), delta = scale * w dL/da (unless NULL), losses[r] = w L, w being the sample's weight.
     * Returns 0 if a loss was not finite. */
    int (*output_delta)(ptrdiff_t rows, ptrdiff_t n_out, const void *a, ptrdiff_t stride, void *h, void *delta,
                        const fnn_targets *y, ptrdiff_t first_row, fnn_activation output, const fnn_loss *loss, double scale,
                        double *losses, void *scratch);

    /* One row. x (n,), z and d (panels * NR,); W: `panels` panels, `stride` apart. order: the n rows of W to visit
     * (NULL: 0..n-1); x is indexed by the same numbers. */
    void (*row_product)(ptrdiff_t n, const int32_t *order, const void *x, const void *W, ptrdiff_t stride,
                        ptrdiff_t panels, void *z);                                  /* z += W^T x */
    void (*row_update)(ptrdiff_t n, const int32_t *order, const void *x, const void *d, void *W, ptrdiff_t stride,
                       ptrdiff_t panels);                                            /* W += x d^T */
    void (*row_update_product)(ptrdiff_t n, const int32_t *order, const void *x, const void *d, const void *x_next,
                               void *W, ptrdiff_t stride, ptrdiff_t panels, void *z); /* both, in one pass over W */
    void (*row_activate)(ptrdiff_t n, void *z, const void *b, fnn_activation g, void *d); /* z = g(z + b), padding 0; d as below */
    void (*row_derivative)(ptrdiff_t n, void *delta, const void *h, fnn_activation g); /* delta *= g'(a), from h or d */
    void (*row_scale)(ptrdiff_t n, double scale, const void *x, void *y);            /* y = scale x */
    void (*row_add)(ptrdiff_t n, const void *x, void *y);                            /* y += x */
    /* The numbers i, in order, for which x[i] or y[i] (unless NULL) is not 0; returns how many. list: n + 16 of room. */
    ptrdiff_t (*nonzeros)(ptrdiff_t n, const void *x, const void *y, int32_t *list);
    int (*all_finite)(ptrdiff_t n, const void *x);                                   /* no NaN, no infinity */
    int (*activate_finite)(ptrdiff_t rows, int vectors, void *C, fnn_activation g);  /* C = g(C); 0 if C was not finite */

    /* Of float alone (double's table has NULL): y <- x, n reals, a multiple of VL, each the nearest bfloat16, of two equally near
     * ones the even one. y may be x. */
    void (*round_bfloat16)(ptrdiff_t n, const void *x, void *y);
    /* k, a copy of this table, <- products of bfloat16, which take rounded numbers in panels alone, of W as by round_weights, by the
     * best of `ways` (bits 1 << FNN_BY_FMA and so on) that has fma's bits. Returns it. */
    int (*take_bfloat16)(struct fnn_kernels *k, int ways);
    /* B <- n rows of a panel, W, from a multiple of FNN_BLOCK on, as products of bfloat16 read them, in half as many rows where
     * paired. B may be W. */
    void (*round_weights)(ptrdiff_t n, const void *W, void *B);

    /* In 8 bits, of float alone (double's table has NULL). each: 1 where each row has codes of its own, 0 where all have the same.
     * U <- codes of x, n columns as of product_panel; ld: bytes from one row of U to the next, a multiple of NR. 0 if x is not
     * finite. codes <- those that hold all numbers of a row, and 0. C <- g(a), one panel of rows of NR. */
    int (*encode)(ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t row, ptrdiff_t stride, const fnn_codes *codes,
                  ptrdiff_t each, uint8_t *U, ptrdiff_t ld);
    void (*code_range)(ptrdiff_t rows, ptrdiff_t n, const void *x, ptrdiff_t row, ptrdiff_t stride, fnn_codes *codes);
    fnn_int8_product int8_product, int8_product_vnni; /* the latter NULL where the ISA has none */

    /* Rounds of fused multiply-adds in registers alone: the most arithmetic that this CPU can do. x: a vector, in and out.
     * Returns the floating-point operations done. */
    double (*multiply_adds)(ptrdiff_t rounds, void *x);
} fnn_kernels;

#endif
