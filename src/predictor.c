/* fastnn.h: a model file to panels, and h^(K) from them on one thread. What kernels/net.pyx and kernels/predict.pyx do for a
 * network without an input layer, in their order, so with their bits. */
#define _FILE_OFFSET_BITS 64
#include "fastnn.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "kernels.h"
#include "platform.h"

#define CHUNK 128              /* rows that pass through all layers together, so that their activations stay near */
#define FAR_BYTES (2 << 20)    /* weights that do not stay in L2 (kernels/panels.pyx) */
#define PAGE 4096              /* rows that begin at the same place in each push each other out of L1 */
#define HEADER_MAX 25000000    /* bytes (files/safetensors.py) */
#define MOST_COLUMNS 32        /* of a panel */
#define MESSAGE 300

typedef struct {
    ptrdiff_t n_in, n_out, panels;
    int bias, far;
    fnn_activation g;          /* of the product */
    fnn_norm norm;             /* kind: none, or FNN_LAYER_NORM once the layer is loaded */
    int parametric;
    fnn_activation of;         /* parametric: g; g above is the identity then */
    char *W, *b, *alpha;       /* panels (kernels.h) */
    json_text tensors[6];      /* in the file, by PARTS; n: bytes */
} layer;

struct fastnn_predictor {
    const fnn_kernels *k;
    fnn_kernels own;           /* bfloat16: *k */
    ptrdiff_t n_layers, n_in, n_out, n_classes, widest; /* widest: panels of what passes through the network */
    fnn_activation output;
    int bfloat16;              /* products are of numbers rounded to that */
    layer *layers;
};

/* Tensors of layer k: W1, b1, gamma1, ... */
enum { W_, B_, GAMMA, ALPHA, MEAN, VARIANCE, N_PARTS };
static const char *const PARTS[N_PARTS] = {"W", "b", "gamma", "alpha", "running_mean", "running_variance"};

typedef struct {
    char *text;
    size_t size;
    const char *data;          /* of the file: where tensors lie */
    size_t data_size;
    fastnn_predictor *f;
} loading;

/* Says what must hold, in one line whatever of the file it shows, and returns 0. */
static int refuse(loading *l, const char *format, ...) {
    if (l->text && l->size) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(l->text, l->size, format, arguments);
        va_end(arguments);
        for (char *c = l->text; *c; c++)
            if (*c == '\n' || *c == '\r') *c = ' ';
    }
    return 0;
}

static int no_room(loading *l) { return refuse(l, "there is no memory for it"); }

/* As many characters of a text as a message has room for. */
#define SHOWN(value) (int)((value).n < 60 ? (value).n : 60), (value).p

static inline char *at(const fnn_kernels *k, const void *base, ptrdiff_t element) { return (char *)base + element * k->item; }

static inline ptrdiff_t panels(const fnn_kernels *k, ptrdiff_t n) { return (n + k->nr - 1) / k->nr; }

static inline int vectors(const fnn_kernels *k, ptrdiff_t n, ptrdiff_t p) { return n - p * k->nr > k->vl ? 2 : 1; }

/* The architecture --------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int id, hidden;
    double parameter;
} activations[] = {
#define X(name, id, parameter, ...) {"\"" #name "\"", id, 1, parameter},
    FNN_ACTIVATIONS(X)
#undef X
    {"\"exp\"", fnn_exp, 0, 0},
    {"\"softmax\"", FNN_SOFTMAX, 0, 0},
};

/* A name, or {"name": ..., its parameter}; of a hidden layer also {"name": "parametric", "activation": ...}. */
static int read_activation(loading *l, json_text value, int hidden, fnn_activation *g, int *parametric) {
    static const char *const names[] = {"name", "slope", "alpha", "activation"};
    json_text members[4] = {value};
    const int object = json_is_object(value);
    if (object && !json_members(value, 4, names, members, 1)) return refuse(l, "architecture: an activation must have known settings");
    if (object && parametric && json_is(members[0], "\"parametric\"") && members[3].n && !members[1].n && !members[2].n) {
        *parametric = 1;
        return read_activation(l, members[3], 1, g, NULL);
    }
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        const int id = activations[i].id;
        json_text setting = id == fnn_leaky_relu ? members[1] : id == fnn_elu ? members[2] : (json_text){0};
        if (!json_is(members[0], activations[i].name) || (hidden && !activations[i].hidden)) continue;
        g->id = id;
        g->parameter = activations[i].parameter;
        if (!object || (setting.n && !members[3].n && !(members[1].n && members[2].n) && json_real(setting, &g->parameter) && g->parameter >= 0))
            return 1;
    }
    return refuse(l, "architecture: an activation must be one that this version knows, got %.*s", SHOWN(value));
}

/* null, {"name": "batch", "momentum": ..., "epsilon": ...} or {"name": "layer", "epsilon": ...} */
static int read_norm(loading *l, json_text value, fnn_norm *norm) {
    static const char *const names[] = {"name", "epsilon", "momentum"};
    json_text members[3];
    if (json_is(value, "null")) return 1;
    if (json_members(value, 3, names, members, 1) && json_real(members[1], &norm->epsilon) && norm->epsilon > 0) {
        norm->kind = json_is(members[0], "\"batch\"") ? FNN_BATCH_NORM : json_is(members[0], "\"layer\"") ? FNN_LAYER_NORM : 0;
        if (norm->kind) return 1;
    }
    return refuse(l, "architecture: each of norm must be null, or batch or layer with an epsilon, got %.*s", SHOWN(value));
}

static int read_architecture(loading *l, json_text text, size_t n_tensors) {
    enum { SIZES, ACTIVATIONS, OUTPUT, LOSS, BIAS, DTYPE, NORM, EMBEDDINGS, FEATURE_SCALE, COMPUTE_DTYPE, N_READ, N = N_READ + 4 };
    static const char *const names[N] = {"sizes", "activations", "output", "loss", "bias", "dtype", "norm", "embeddings",
                                         "feature_scale", "compute_dtype", "dropout", "noise", "input_scale", "monotone"};
    static const char *const of_loss[] = {"name"};
    json_text v[N], loss;
    fastnn_predictor *f = l->f;
    const char *isa = getenv("FASTNN_ISA");
    if (!json_whole(text) || !json_members(text, N, names, v, 1))
        return refuse(l, "architecture must be a JSON object of settings that this version knows, each once");
    if (json_length(v[EMBEDDINGS])) return refuse(l, "the network must have no embeddings: these need Python");
    if (json_is(v[FEATURE_SCALE], "true")) return refuse(l, "the network must have no feature_scale: this needs Python");
    const int single = json_is(v[DTYPE], "\"float32\"");
    if (!single && !json_is(v[DTYPE], "\"float64\"")) return refuse(l, "architecture: dtype must be float32 or float64");
    f->bfloat16 = json_is(v[COMPUTE_DTYPE], "\"bfloat16\"");
    if (v[COMPUTE_DTYPE].n && !(f->bfloat16 && single)) return refuse(l, "architecture: compute_dtype must be bfloat16, of float32");
    for (int i = 0; (f->k = fnn_supported_kernels(i, single ? 32 : 64)); i++)
        if (!isa || !*isa || !strcmp(isa, f->k->isa)) break;
    if (!f->k) return refuse(l, "FASTNN_ISA must be an instruction set that this machine can run, got %.60s", isa);
    if (f->bfloat16) {
        fnn_bfloat16_kernels(f->k, FNN_BY_TILES, &f->own);
        f->k = &f->own;
    }
    const size_t K = json_length(v[SIZES]) - 1; /* a list of none: as many as there can be */
    if (!K || K > n_tensors) return refuse(l, "architecture: sizes must have a layer for a tensor at most");
    f->layers = calloc(K, sizeof(layer));
    if (!f->layers) return no_room(l);
    f->n_layers = (ptrdiff_t)K;
    json_reader r = json_inside(v[SIZES]);
    for (size_t i = 0; json_next(&r, ']'); i++) {
        uint64_t n;
        if (!json_count(json_value(&r), &n) || n < 1 || n > l->data_size) /* each has a weight at least */
            return refuse(l, "architecture: sizes must be counts from 1 that the file's tensors have room for");
        if (i) f->layers[i - 1].n_out = (ptrdiff_t)n;
        if (i < K) f->layers[i].n_in = (ptrdiff_t)n;
        if (panels(f->k, (ptrdiff_t)n) > f->widest) f->widest = panels(f->k, (ptrdiff_t)n);
    }
    f->n_in = f->layers[0].n_in;
    f->n_out = f->layers[K - 1].n_out;
    if ((size_t)f->widest > (size_t)-1 / 65536) return no_room(l); /* so that fastnn_scratch_bytes is a size_t */
    const int norms = v[NORM].n && !json_is(v[NORM], "null");
    if (json_length(v[ACTIVATIONS]) != K - 1 || json_length(v[BIAS]) != K || (norms && json_length(v[NORM]) != K - 1))
        return refuse(l, "architecture: activations, bias and norm must be lists of an entry for each layer that has one");
    r = json_inside(v[ACTIVATIONS]);
    for (layer *a = f->layers; json_next(&r, ']'); a++) {
        if (!read_activation(l, json_value(&r), 1, &a->g, &a->parametric)) return 0;
        if (a->parametric) a->of = a->g, a->g = (fnn_activation){fnn_identity, 0};
    }
    r = json_inside(v[BIAS]);
    for (layer *a = f->layers; json_next(&r, ']'); a++) {
        const json_text bias = json_value(&r);
        a->bias = json_is(bias, "true");
        if (!a->bias && !json_is(bias, "false")) return refuse(l, "architecture: each of bias must be true or false");
    }
    if (norms) {
        r = json_inside(v[NORM]);
        for (layer *a = f->layers; json_next(&r, ']'); a++)
            if (!read_norm(l, json_value(&r), &a->norm)) return 0;
    }
    if (!read_activation(l, v[OUTPUT], 0, &f->output, NULL)) return 0;
    loss = v[LOSS];
    if (json_is_object(loss) && !json_members(loss, 1, of_loss, &loss, 0)) loss.n = 0;
    if (!json_is_string(loss)) return refuse(l, "architecture: loss must be a name, or an object that has one");
    if (f->output.id == FNN_SOFTMAX || json_is(loss, "\"hinge\"")) f->n_classes = f->n_out;
    else if (f->output.id == fnn_sigmoid && f->n_out == 1) f->n_classes = 2;
    if (f->output.id != FNN_SOFTMAX) f->layers[K - 1].g = f->output;
    return 1;
}

/* The file ----------------------------------------------------------------------------------------------------- */

/* A tensor's entry of the header: of its layer, where it is a weight of the network. */
static int read_entry(loading *l, json_text name, json_text entry) {
    static const char *const names[] = {"dtype", "shape", "data_offsets"};
    const fastnn_predictor *f = l->f;
    json_text v[3];
    uint64_t offsets[2] = {1, 0}, number = 0, sides[2] = {1, 1};
    int part = 0, digits = 0, n = 0;
    if (!json_members(entry, 3, names, v, 1) || !v[0].n || !json_is_list(v[1]) || !json_is_list(v[2]))
        return refuse(l, "tensor \"%.*s\" must have dtype, shape and data_offsets alone", SHOWN(name));
    for (json_reader r = json_inside(v[2]); json_next(&r, ']'); n++)
        if (!json_count(json_value(&r), &offsets[n == 1]) || n > 1) return refuse(l, "tensor \"%.*s\" must have two data_offsets", SHOWN(name));
    if (n != 2 || offsets[0] > offsets[1] || offsets[1] > l->data_size)
        return refuse(l, "tensor \"%.*s\" must lie within the %zu bytes of the data: the file is truncated or damaged", SHOWN(name), l->data_size);
    while (digits < 9 && (size_t)digits < name.n && name.p[name.n - 1 - digits] >= '0' && name.p[name.n - 1 - digits] <= '9') digits++;
    json_count((json_text){name.p + name.n - digits, (size_t)digits}, &number);
    name.n -= (size_t)digits;
    while (part < N_PARTS && !json_is(name, PARTS[part])) part++;
    if (part == N_PARTS || number < 1 || number > (uint64_t)f->n_layers) return 1; /* the optimizer's, or of a checkpoint */
    layer *a = &f->layers[number - 1];
    const uint64_t rows = (uint64_t)a->n_out, columns = part == W_ ? (uint64_t)a->n_in : 1, bytes = offsets[1] - offsets[0];
    n = 0;
    for (json_reader r = json_inside(v[1]); json_next(&r, ']'); n++)
        if (n > 1 || !json_count(json_value(&r), &sides[n])) return refuse(l, "tensor \"%s%d\" must have another shape", PARTS[part], (int)number);
    if (a->tensors[part].n || !json_is(v[0], f->k->item == 4 ? "\"F32\"" : "\"F64\"") || n != (part == W_ ? 2 : 1) || sides[0] != rows ||
        sides[1] != columns || bytes / rows / columns != (uint64_t)f->k->item || bytes % (rows * columns))
        return refuse(l, "tensor \"%s%d\" must be there once, of the network's dtype, in the shape that its sizes ask for", PARTS[part],
                      (int)number);
    a->tensors[part] = (json_text){l->data + offsets[0], (size_t)bytes};
    return 1;
}

/* A tensor of the file as numbers that are aligned, checked; to be freed. */
static void *numbers(loading *l, const layer *a, int part) {
    const fnn_kernels *k = l->f->k;
    const int number = (int)(a - l->f->layers) + 1;
    const json_text tensor = a->tensors[part];
    void *v;
    if (!tensor.n) {
        refuse(l, "must hold the tensor \"%s%d\"", PARTS[part], number);
        return NULL;
    }
    v = fnn_alloc(tensor.n);
    if (!v) {
        no_room(l);
        return NULL;
    }
    memcpy(v, tensor.p, tensor.n);
    if (part < MEAN && !k->all_finite((ptrdiff_t)tensor.n / k->item, v)) {
        refuse(l, "the numbers of \"%s%d\" must be finite", PARTS[part], number);
        fnn_free(v);
        return NULL;
    }
    return v;
}

/* Room for panels of a row, and in it a vector (n_out,) of the file; `wanted` 0: zeros. NULL on failure. */
static char *vector_of(loading *l, const layer *a, int part, int wanted) {
    const fnn_kernels *k = l->f->k;
    char *to = fnn_alloc((size_t)(a->panels * k->nr * k->item));
    void *v = to && wanted ? numbers(l, a, part) : NULL;
    if (!to) no_room(l);
    if (v) memcpy(to, v, a->tensors[part].n);
    fnn_free(v);
    if (v || !wanted) return to;
    fnn_free(to);
    return NULL;
}

static inline double real_at(const fnn_kernels *k, const void *v, ptrdiff_t i) {
    return k->item == 4 ? ((const float *)v)[i] : ((const double *)v)[i];
}

/* Batch normalisation goes into weights and bias: W <- s W, b = beta - s mean, s = gamma / sqrt(variance + epsilon). */
static void fold(const fnn_kernels *k, layer *a) {
    for (ptrdiff_t p = 0; p < a->panels; p++) {
        double by[MOST_COLUMNS];
        for (int i = 0; i < k->nr; i++) {
            const ptrdiff_t j = p * k->nr + i;
            by[i] = real_at(k, a->norm.gamma, j) / sqrt(real_at(k, a->norm.variance, j) + a->norm.epsilon);
            const double b = real_at(k, a->norm.beta, j) - by[i] * real_at(k, a->norm.mean, j);
            if (k->item == 4) ((float *)a->b)[j] = (float)b;
            else ((double *)a->b)[j] = b;
        }
        k->scale_columns(a->n_in, by, at(k, a->W, p * a->n_in * k->nr));
    }
    a->norm.kind = 0;
}

static int load_layer(loading *l, layer *a) {
    const fnn_kernels *k = l->f->k;
    const int kind = a->norm.kind, batch = kind == FNN_BATCH_NORM;
    void *W;
    a->panels = panels(k, a->n_out);
    a->far = a->n_in * a->n_out * k->item > FAR_BYTES;
    if (!(W = numbers(l, a, W_))) return 0;
    a->W = fnn_alloc((size_t)(a->panels * a->n_in * k->nr * k->item));
    for (ptrdiff_t p = 0; a->W && p < a->panels; p++) {
        const ptrdiff_t left = a->n_out - p * k->nr;
        k->pack_panel(a->n_in, left < k->nr ? left : k->nr, at(k, W, p * k->nr * a->n_in), at(k, a->W, p * a->n_in * k->nr));
    }
    fnn_free(W);
    if (!a->W) return no_room(l);
    if (!(a->b = vector_of(l, a, B_, a->bias && !kind))) return 0;
    if (a->parametric && !(a->alpha = vector_of(l, a, ALPHA, 1))) return 0;
    if (!kind) return 1;
    if (!(a->norm.gamma = vector_of(l, a, GAMMA, 1)) || !(a->norm.beta = vector_of(l, a, B_, a->bias))) return 0;
    if (!batch) {
        a->norm.g = a->g;
        a->g = (fnn_activation){fnn_identity, 0};
        return 1;
    }
    if (!(a->norm.mean = vector_of(l, a, MEAN, 1)) || !(a->norm.variance = vector_of(l, a, VARIANCE, 1))) return 0;
    fold(k, a);
    return 1;
}

/* What a string of the file's metadata says; p NULL: no memory. To be freed. */
static json_text said(json_text string) {
    json_text text = {malloc(string.n + 1), 0};
    if (text.p && json_is_string(string)) text.n = json_said(string, (char *)text.p);
    return text;
}

static int read_metadata(loading *l, json_text metadata, size_t n_tensors) {
    static const char *const names[] = {"format", "version", "architecture", "metadata"}, *const data[] = {"data"};
    static const char *const of_columns[] = {"version", "inputs", "target"};
    json_text v[4], columns, parts[3], text;
    int whole;
    if (!json_members(metadata, 4, names, v, 0) || !json_is_string(v[0]))
        return refuse(l, "must be a model saved by fastnn; this is another safetensors file");
    if (json_is(v[0], "\"fastnn-ensemble\"")) return refuse(l, "must be of one network; this is an ensemble, which needs Python");
    if (!json_is(v[0], "\"fastnn\"")) return refuse(l, "must be a model saved by fastnn; this is another safetensors file");
    if (!json_is(v[1], "\"1\"")) return refuse(l, "version must be 1, got %.*s: another fastnn wrote it", SHOWN(v[1]));
    text = said(v[3]);
    if (!text.p) return no_room(l);
    whole = json_whole(text) && json_members(text, 1, data, &columns, 0);
    if (whole && json_members(columns, 3, of_columns, parts, 0) && parts[0].n && parts[1].n && parts[2].n &&
        !(json_is_list(parts[2]) && !json_length(parts[2]))) /* no target: names alone, rows are as they are */
        whole = refuse(l, "the model must have no columns: these need Python, or the C file that fastnn export --c writes");
    else if (!whole)
        refuse(l, "metadata must be a JSON object");
    free((char *)text.p);
    if (!whole) return 0;
    text = said(v[2]);
    if (!text.p) return no_room(l);
    whole = read_architecture(l, text, n_tensors);
    free((char *)text.p);
    return whole;
}

static int read_file(loading *l, const char *bytes, size_t size) {
    json_text header, metadata = {0};
    size_t n_tensors = 0;
    uint64_t n = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return refuse(l, "reading it needs a little-endian machine");
#endif
    for (int i = 7; size >= 8 && i >= 0; i--) n = n << 8 | (unsigned char)bytes[i];
    if (size < 8 || n < 2 || n > size - 8 || n > HEADER_MAX || bytes[8] != '{')
        return refuse(l, "must be a whole safetensors file: a header of %llu bytes cannot be in its %zu", (unsigned long long)n, size);
    header = (json_text){bytes + 8, (size_t)n};
    l->data = bytes + 8 + n;
    l->data_size = size - 8 - (size_t)n;
    if (!json_whole(header)) return refuse(l, "its header must be JSON");
    for (json_reader r = json_inside(header); json_next(&r, '}');) {
        const json_text name = json_name(&r), value = json_value(&r);
        if (!json_is(name, "__metadata__")) n_tensors++;
        else if (metadata.n) return refuse(l, "its header must have __metadata__ once");
        else metadata = value;
    }
    if (!read_metadata(l, metadata, n_tensors)) return 0;
    for (json_reader r = json_inside(header); json_next(&r, '}');) {
        const json_text name = json_name(&r), value = json_value(&r);
        if (!json_is(name, "__metadata__") && !read_entry(l, name, value)) return 0;
    }
    for (ptrdiff_t i = 0; i < l->f->n_layers; i++) {
        layer *a = &l->f->layers[i];
        if (!load_layer(l, a)) return 0;
        for (ptrdiff_t p = 0; l->f->bfloat16 && p < a->panels; p++) {
            void *W = at(l->f->k, a->W, p * a->n_in * l->f->k->nr);
            l->f->k->round_weights(a->n_in, W, W);
        }
    }
    return 1;
}

fastnn_predictor *fastnn_read(const void *bytes, size_t size, char *error, size_t error_size) {
    loading l = {error, error_size, NULL, 0, calloc(1, sizeof(fastnn_predictor))};
    if (l.f ? read_file(&l, bytes, size) : no_room(&l)) return l.f;
    fastnn_free(l.f);
    return NULL;
}

#ifdef _WIN32
#define fseeko _fseeki64
#define ftello _ftelli64
#endif

fastnn_predictor *fastnn_load(const char *path, char *error, size_t error_size) {
    loading l = {error, error_size, NULL, 0, NULL};
    char reason[MESSAGE] = "";
    fastnn_predictor *f = NULL;
    FILE *file = fopen(path, "rb");
    void *bytes = NULL;
    size_t n = 0;
    if (file && !fseeko(file, 0, SEEK_END)) {
        const long long size = ftello(file);
        if (size >= 0 && (unsigned long long)size < (size_t)-1 / 2 && (bytes = malloc((size_t)size + 1)) && !fseeko(file, 0, SEEK_SET))
            n = fread(bytes, 1, (size_t)size, file);
    }
    if (!file) refuse(&l, "%s: cannot be opened", path);
    else if (!bytes) refuse(&l, "%s: cannot be read", path);
    else if (!(f = fastnn_read(bytes, n, reason, sizeof reason))) refuse(&l, "%s: %s", path, reason);
    free(bytes);
    if (file) fclose(file);
    return f;
}

void fastnn_free(fastnn_predictor *f) {
    if (!f) return;
    for (ptrdiff_t i = 0; f->layers && i < f->n_layers; i++) {
        layer *a = &f->layers[i];
        void *const blocks[] = {a->W, a->b, a->alpha, a->norm.gamma, a->norm.beta, a->norm.mean, a->norm.variance};
        for (size_t j = 0; j < sizeof blocks / sizeof *blocks; j++) fnn_free(blocks[j]);
    }
    free(f->layers);
    free(f);
}

size_t fastnn_n_in(const fastnn_predictor *f) { return (size_t)f->n_in; }
size_t fastnn_n_out(const fastnn_predictor *f) { return (size_t)f->n_out; }
size_t fastnn_n_classes(const fastnn_predictor *f) { return (size_t)f->n_classes; }
int fastnn_is_double(const fastnn_predictor *f) { return f->k->item == 8; }

/* Prediction --------------------------------------------------------------------------------------------------- */

static inline size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Of the activations of so many rows: an odd number of them, since panels that begin at the same place in a page are in each
 * other's way. */
static inline size_t pass_bytes(const fastnn_predictor *f, ptrdiff_t rows) {
    return lines((size_t)(f->widest * (rows | 1) * f->k->nr * f->k->item));
}

static inline size_t softmax_bytes(const fastnn_predictor *f) { return lines((size_t)(3 * f->n_out * f->k->vl * f->k->item)) + 64; }

size_t fastnn_scratch_bytes(const fastnn_predictor *f, size_t rows) {
    const ptrdiff_t chunk = rows < CHUNK ? (ptrdiff_t)rows : CHUNK;
    return 64 + 2 * pass_bytes(f, chunk) + softmax_bytes(f) + lines((size_t)(chunk * f->n_out * f->k->item));
}

/* Panels of a layer's inputs, n columns, to bfloat16, if products are of that. */
static void round_inputs(const fastnn_predictor *f, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t stride, void *h) {
    const fnn_kernels *k = f->k;
    for (ptrdiff_t p = 0; f->bfloat16 && p < panels(k, n); p++)
        k->round_bfloat16(rows * k->nr, at(k, h, p * stride), at(k, h, p * stride));
}

/* y <- h^(K) of rows x; 0 if x is not finite. room: two buffers of pass_bytes, and the softmax's. */
static int forward(const fastnn_predictor *f, const void *x, ptrdiff_t rows, void *y, char *room) {
    const fnn_kernels *k = f->k;
    const ptrdiff_t stride = (rows | 1) * k->nr;
    char *h = room, *other = room + pass_bytes(f, rows), *scratch = other + pass_bytes(f, rows);
    const void *h_prev = x;
    ptrdiff_t row = f->n_in, panel = k->nr; /* the tile reads x as it lies */
    if (!k->all_finite(rows * f->n_in, x)) return 0;
    if (f->bfloat16 || (rows > 1 && f->n_in * k->item % PAGE == 0)) {
        k->gather(rows, f->n_in, x, NULL, other, stride);
        round_inputs(f, rows, f->n_in, stride, other);
        h_prev = other;
        row = k->nr;
        panel = stride;
    }
    const int alone = rows == 1 && !f->bfloat16; /* a row by itself, whose sums run on from panel to panel */
    for (ptrdiff_t i = 0; i < f->n_layers; i++) {
        const layer *a = &f->layers[i];
        if (alone) {
            memset(h, 0, (size_t)(a->panels * k->nr * k->item));
            k->row_product(a->n_in, NULL, h_prev, a->W, a->n_in * k->nr, a->panels, h);
            k->row_activate(a->n_out, h, a->b, a->g, NULL);
        }
        for (ptrdiff_t p = 0; !alone && p < a->panels; p++)
            k->product_panel(rows, a->n_in, h_prev, row, panel, at(k, a->W, p * a->n_in * k->nr), NULL, a->far,
                             vectors(k, a->n_out, p), FNN_FORWARD, at(k, a->b, p * k->nr), a->g, at(k, h, p * stride));
        if (a->norm.kind) {
            k->layer_norm(rows, a->n_out, &a->norm, h, stride, NULL, NULL);
            for (ptrdiff_t p = 0; a->norm.g.id != fnn_identity && p < a->panels; p++)
                k->activate_panel(rows, vectors(k, a->n_out, p), at(k, h, p * stride), a->norm.g, NULL);
        }
        for (ptrdiff_t p = 0; a->parametric && p < a->panels; p++)
            k->parametric_panel(rows, vectors(k, a->n_out, p), at(k, h, p * stride), a->of, at(k, a->alpha, p * k->nr), NULL, NULL);
        if (i + 1 < f->n_layers) round_inputs(f, rows, a->n_out, stride, h);
        h_prev = h;
        h = other;
        other = (char *)h_prev;
        row = k->nr;
        panel = stride;
    }
    if (f->output.id == FNN_SOFTMAX) k->softmax(rows, f->n_out, other, stride, scratch);
    k->scatter(rows, f->n_out, other, stride, y);
    return 1;
}

/* The first of the largest; -1 where one is no number. */
static int32_t class_of(const fastnn_predictor *f, const void *y) {
    ptrdiff_t most = 0;
    for (ptrdiff_t j = 0; j < f->n_out; j++) {
        const double one = real_at(f->k, y, j);
        if (one != one) return -1;
        if (one > real_at(f->k, y, most)) most = j;
    }
    return f->n_out == 1 ? real_at(f->k, y, 0) > 0.5 : (int32_t)most;
}

/* y, or classes in its place, <- what x gives. */
static int predict(const fastnn_predictor *f, const void *x, size_t rows, void *y, int32_t *classes, void *scratch) {
    char *room = (char *)scratch + (64 - (uintptr_t)scratch % 64), *own;
    const ptrdiff_t widest = rows < CHUNK ? (ptrdiff_t)rows : CHUNK, n = (ptrdiff_t)rows;
    unsigned long long mode;
    int finite = 1;
    if (classes && !f->n_classes) return FASTNN_NO_CLASS;
    own = room + 2 * pass_bytes(f, widest) + softmax_bytes(f);
    mode = fnn_fp_enter();
    for (ptrdiff_t first = 0; finite && first < n; first += CHUNK) {
        const ptrdiff_t m = n - first < CHUNK ? n - first : CHUNK;
        void *to = classes ? own : at(f->k, y, first * f->n_out);
        finite = forward(f, at(f->k, x, first * f->n_in), m, to, room);
        for (ptrdiff_t r = 0; finite && classes && r < m; r++) {
            classes[first + r] = class_of(f, at(f->k, own, r * f->n_out));
            finite = classes[first + r] >= 0;
        }
    }
    fnn_fp_leave(mode);
    return finite ? FASTNN_OK : FASTNN_NOT_FINITE;
}

int fastnn_predict(const fastnn_predictor *f, const float *x, size_t rows, float *y, void *scratch) {
    return fastnn_is_double(f) ? FASTNN_OTHER_TYPE : predict(f, x, rows, y, NULL, scratch);
}

int fastnn_predict_double(const fastnn_predictor *f, const double *x, size_t rows, double *y, void *scratch) {
    return fastnn_is_double(f) ? predict(f, x, rows, y, NULL, scratch) : FASTNN_OTHER_TYPE;
}

int fastnn_classify(const fastnn_predictor *f, const float *x, size_t rows, int32_t *classes, void *scratch) {
    return fastnn_is_double(f) ? FASTNN_OTHER_TYPE : predict(f, x, rows, NULL, classes, scratch);
}

int fastnn_classify_double(const fastnn_predictor *f, const double *x, size_t rows, int32_t *classes, void *scratch) {
    return fastnn_is_double(f) ? predict(f, x, rows, NULL, classes, scratch) : FASTNN_OTHER_TYPE;
}
