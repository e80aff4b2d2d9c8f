/* AVX2 and FMA: 16 registers. */
#define FNN_ISA_NAME avx2
#define FNN_VECTOR_BYTES 32
#define FNN_MR 6         /* rows of the largest tile: FNN_MR x 2 sums, 2 vectors of weights, a broadcast */
#define FNN_ROW_PANELS 3  /* panels of a one-row pass: sums and steps of each in registers */
#include "../table.c"
