/* The kernels (contracts: kernels.h), and their table, for one ISA and type of real: the stub in isa/ that includes this file
 * says which ISA, the build which real. One translation unit, so that what is small is inlined across its parts. */
#include "bfloat16.h"
#include "gather.h"
#include "inputs.h"
#include "int8.h"
#include "layout.h"
#include "normalise.h"
#include "output.h"
#include "panels.h"
#include "parametric.h"
#include "perturb.h"
#include "rows.h"
#include "spans.h"
#include "sparse.h"
#include "update.h"

#define TABLE__(isa, bits) fnn_kernels_##isa##_##bits
#define TABLE_(isa, bits) TABLE__(isa, bits)
#define STRING_(x) #x
#define STRING(x) STRING_(x)

const fnn_kernels TABLE_(FNN_ISA_NAME, FNN_REAL_BITS) = {
    .isa = STRING(FNN_ISA_NAME),
    .item = sizeof(real),
    .nr = NR,
    .vl = VL,
    .mr = MR,

    .pack_panel = pack_panel,
    .unpack_panel = unpack_panel,
    .transpose_block = transpose_block,
    .gather = gather,
    .scatter = scatter,

    .gather_features = gather_features,
    .used_columns = used_columns,
    .find_spans = find_spans,

    .product_panel = product_panel,
    .product_turned = product_turned,
    .gradient_block = gradient_block,
    .bias_gradient = bias_gradient,

    .sparse_product = sparse_product,
    .sparse_sort = sparse_sort,
    .sparse_gradient = sparse_gradient,

    .update = update,
    .column_squares = column_squares,
    .row_squares = row_squares,
    .scale_columns = scale_columns,
    .scale_rows = scale_rows,
    .orient = orient,

    .activate_panel = activate_panel,
    .perturb_panel = perturb_panel,
    .parametric_panel = parametric_panel,
    .parametric_delta = parametric_delta,

    .batch_norm = batch_norm,
    .layer_norm = layer_norm,
    .batch_norm_delta = batch_norm_delta,
    .layer_norm_delta = layer_norm_delta,
    .scale_gradient = scale_gradient,

    .features = features,
    .features_gradient = features_gradient,
    .entries = entries,
    .entries_product = entries_product,
    .scale_features = scale_features,

    .softmax = softmax,
    .calibrate = calibrate,
    .output_delta = output_delta,

    .row_product = row_product,
    .row_update = row_update,
    .row_update_product = row_update_product,
    .row_activate = row_activate,
    .row_derivative = row_derivative,
    .row_scale = row_scale,
    .row_add = row_add,
    .nonzeros = nonzeros,

    .all_finite = all_finite,
    .activate_finite = activate_finite,

#if FNN_REAL_BITS == 32
    .round_bfloat16 = round_bfloat16,
    .take_bfloat16 = take_bfloat16,
    .encode = encode,
    .code_range = code_range,
    .int8_product = int8_product,
#if FNN_VECTOR_BYTES == 64
    .int8_product_vnni = int8_product_vnni,
#endif
#endif

    .multiply_adds = multiply_adds,
};
