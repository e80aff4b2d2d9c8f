/* SSE2, without FMA: any x86-64. */
#define FNN_ISA_NAME baseline
#define FNN_VECTOR_BYTES 16
#define FNN_MR 4         /* rows of the largest tile: FNN_MR x 2 sums, 2 vectors of weights, a broadcast */
#define FNN_ROW_PANELS 4  /* panels of a one-row pass: sums and steps of each in registers */
#include "../table.c"
