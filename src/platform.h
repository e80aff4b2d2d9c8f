/* What the machine is and how to ask it for things: CPU features, memory, a barrier, the floating-point mode, fork. */
#ifndef FNN_PLATFORM_H
#define FNN_PLATFORM_H

#include <stddef.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "fastnn.h"
#include "kernels.h"

/* The tables of this build, best first, that this CPU can run; bits: 32 or 64. i past the last: NULL. */
FASTNN_API const fnn_kernels *fnn_supported_kernels(int i, int bits);

/* room <- k, a table of float, with products of bfloat16: by the best way, FNN_BY_FMA or another, up to `most`. Returns it. */
FASTNN_API int fnn_bfloat16_kernels(const fnn_kernels *k, int most, fnn_kernels *room);

/* AMX's tiles are the calling thread's from here to fnn_fp_leave: each of 16 rows of 64 bytes. */
void fnn_use_tiles(void);

/* Whether the CPU has vpdpbusd on the vectors of avx512's tables. */
FASTNN_API int fnn_has_vnni(void);

/* Zeroed memory that starts on a page (a huge page where the block is large enough), or NULL. */
FASTNN_API void *fnn_alloc(size_t bytes);
FASTNN_API void fnn_free(void *p);

/* All `threads` threads of a team wait for the last. It spins for a short while, then gives the core away: a thread whose
 * partner is not running must not keep it from running. Starts as zeros. Its words lie in two lines of the cache wherever it begins:
 * objects of Python's, which hold one, begin at multiples of 16 bytes. */
typedef struct {
    unsigned waiting;
    char apart[60];
    unsigned round;
    char behind[60];
} fnn_barrier;
FASTNN_API void fnn_barrier_wait(fnn_barrier *b, int threads);

/* One more, safe among threads. */
static inline void fnn_count(int *n) { __atomic_add_fetch(n, 1, __ATOMIC_ACQ_REL); }

/* *place becomes p; returns what it was. Safe among threads. */
static inline void *fnn_exchange(void **place, void *p) { return __atomic_exchange_n(place, p, __ATOMIC_ACQ_REL); }

/* Start fetching memory that will be read soon. */
static inline void fnn_bring_near(const void *p, ptrdiff_t bytes) {
#ifdef __GNUC__
    for (ptrdiff_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i, 0, 2);
#endif
}

/* Threads in the parallel region around the caller: the runtime may give fewer than were asked for. */
static inline int fnn_team_size(void) {
#ifdef _OPENMP
    return omp_get_num_threads();
#else
    return 1;
#endif
}

/* The most threads that the runtime gives the calling thread: as OMP_NUM_THREADS was, or as threadpoolctl has set it since. */
static inline int fnn_team_limit(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* How many of `threads` threads a parallel region of the calling thread can have: all, or as many as the system lets start beside
 * those that its last region had. The OpenMP runtime would end the process instead. */
FASTNN_API int fnn_startable(int threads);

/* Round to nearest, subnormals taken and made as zero: a decaying delta or velocity must not slow training.
 * enter returns the thread's mode, leave puts it back. */
FASTNN_API unsigned long long fnn_fp_enter(void);
FASTNN_API void fnn_fp_leave(unsigned long long mode);

/* A clock that only goes forward, and one that only goes while the calling thread has a core (Windows' is too coarse to be of use:
 * there it is the same clock). */
FASTNN_API double fnn_seconds(void);
FASTNN_API double fnn_thread_seconds(void);

/* How many of `wanted` cores beside those in use are free, as far as is known: *scouts, NULL at first, are out to see. A scout is
 * a thread that runs where nobody else wants to, and tells when it has had a core to itself for 5 ms. Those who wait for an
 * answer ask again and again, or scouts go home. wanted 0: no more scouts. */
typedef struct fnn_scouts fnn_scouts;
FASTNN_API int fnn_free_cores(fnn_scouts **scouts, int wanted);

/* A second core for single rows whose weights are large, one helping thread for the whole process. It comes where rows follow each
 * other closely, waits for the next one awake, and goes home where none comes for 50 us. It holds nobody up: whoever finds it with
 * another row, or not answering, computes alone.
 *
 *     if (fnn_helper_wanted()) fnn_helper_start(may the caller use two threads?);
 *     how = fnn_row_begin();
 *     ... fnn_row_product where how is FNN_HELPED ...
 *     fnn_row_end(how);
 */
enum { FNN_CROWDED, FNN_ALONE, FNN_HELPED };
FASTNN_API int fnn_helper_wanted(void);
FASTNN_API void fnn_helper_start(int allowed);
FASTNN_API int fnn_row_begin(void);
FASTNN_API void fnn_row_end(int how);

/* z += W^T x, as k->row_product of all n inputs and from z = 0, half of the panels by the helper. owner: whose weights these are. */
FASTNN_API void fnn_row_product(const fnn_kernels *k, const void *owner, ptrdiff_t n, const void *x, const void *W,
                                ptrdiff_t stride, ptrdiff_t panels, void *z);

/* Waits until the helper does not read this owner's weights, as it may where nobody has waited for its share. */
FASTNN_API void fnn_helper_leave(const void *owner);

/* For tests: shares that it has given so far, and that rows wait for it, and it for rows, also where the cores are busy. */
FASTNN_API long fnn_helper_given(void);
FASTNN_API void fnn_helper_always(int on);

/* From here on the calling thread looks at *flag where the main thread looks for signals; NULL: at none. */
FASTNN_API void fnn_watch(const int *flag);

/* Whether another thread has set the caller's flag, which is then watched no more: it is said once, like a signal. */
FASTNN_API int fnn_take_cancel(void);

/* 1 in a child forked from a process that had this library loaded: there the OpenMP runtime's threads are gone. */
FASTNN_API int fnn_is_forked_child(void);

#endif
