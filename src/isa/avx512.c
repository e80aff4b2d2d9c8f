/* AVX-512 F, VL, DQ, BW: 32 registers. */
#define FNN_ISA_NAME avx512
#define FNN_VECTOR_BYTES 64
#define FNN_MR 14         /* rows of the largest tile: FNN_MR x 2 sums, 2 vectors of weights, a broadcast */
#define FNN_ROW_PANELS 4  /* panels of a one-row pass: sums and steps of each in registers */
#include "../table.c"
