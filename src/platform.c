#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "platform.h"

#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#define X86 1
#include <immintrin.h>
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

/* CPU features ------------------------------------------------------------------------------------------------- */

#ifdef X86
extern const fnn_kernels fnn_kernels_baseline_32, fnn_kernels_baseline_64, fnn_kernels_avx2_32, fnn_kernels_avx2_64,
    fnn_kernels_avx512_32, fnn_kernels_avx512_64;

static void cpuid_of(unsigned leaf, unsigned part, unsigned r[4]) {
#ifdef _MSC_VER
    __cpuidex((int *)r, (int)leaf, (int)part);
#else
    __cpuid_count(leaf, part, r[0], r[1], r[2], r[3]);
#endif
}

static void cpuid(unsigned leaf, unsigned r[4]) { cpuid_of(leaf, 0, r); }

/* What the operating system saves of the vector registers (XCR0). */
static unsigned long long enabled_state(void) {
#ifdef _MSC_VER
    return _xgetbv(0);
#else
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long long)high << 32 | low;
#endif
}

static int any(void) { return 1; }

static int has_avx2(void) { /* AVX2 and FMA, with ymm saved */
    unsigned r[4];
    cpuid(0, r);
    if (r[0] < 7) return 0;
    cpuid(1, r);
    if (!(r[2] & 1u << 27) || !(r[2] & 1u << 12)) return 0; /* OSXSAVE, FMA */
    if ((enabled_state() & 0x6) != 0x6) return 0;
    cpuid(7, r);
    return (r[1] & 1u << 5) != 0;
}

static int has_avx512(void) { /* F, DQ, BW, VL, with zmm and masks saved */
    unsigned r[4];
    if (!has_avx2() || (enabled_state() & 0xe6) != 0xe6) return 0;
    cpuid(7, r);
    return (r[1] & 1u << 16) && (r[1] & 1u << 17) && (r[1] & 1u << 30) && (r[1] & 1u << 31);
}

int fnn_has_vnni(void) { /* AVX512-VNNI */
    unsigned r[4];
    if (!has_avx512()) return 0;
    cpuid(7, r);
    return (r[2] & 1u << 11) != 0;
}

static int has_dots(void) { /* AVX512-BF16 */
    unsigned r[4];
    if (!has_avx512()) return 0;
    cpuid(7, r);
    if (r[0] < 1) return 0;
    cpuid_of(7, 1, r);
    return (r[0] & 1u << 5) != 0;
}

static int has_tiles(void) { /* AMX-BF16, AMX-TILE, with tiles saved, for processes that ask Linux for them */
#ifdef __linux__
    enum { REQUEST = 0x1023, TILES = 18 };
    unsigned r[4];
    if (!has_avx512() || (enabled_state() & 0x60000) != 0x60000) return 0;
    cpuid(7, r);
    return (r[3] & 1u << 22) && (r[3] & 1u << 24) && syscall(SYS_arch_prctl, REQUEST, TILES) == 0;
#else
    return 0;
#endif
}

static int tiles_asked; /* whether any thread ever did */
static _Thread_local int tiles_ours;

void fnn_use_tiles(void) {
    static const struct {
        unsigned char palette, start, none[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } eight = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    if (tiles_ours) return;
    __asm__ volatile("ldtilecfg %0" : : "m"(eight));
    tiles_ours = 1;
    __atomic_store_n(&tiles_asked, 1, __ATOMIC_RELAXED);
}

static void leave_tiles(void) {
    if (!__atomic_load_n(&tiles_asked, __ATOMIC_RELAXED) || !tiles_ours) return;
    __asm__ volatile("tilerelease");
    tiles_ours = 0;
}
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const fnn_kernels fnn_kernels_neon_32, fnn_kernels_neon_64;
static int any(void) { return 1; }
int fnn_has_vnni(void) { return 0; }
#else
extern const fnn_kernels fnn_kernels_baseline_32, fnn_kernels_baseline_64;
static int any(void) { return 1; }
int fnn_has_vnni(void) { return 0; }
#endif

static const struct {
    int (*supported)(void);
    const fnn_kernels *kernels_32, *kernels_64;
} isas[] = { /* best first */
#ifdef X86
    {has_avx512, &fnn_kernels_avx512_32, &fnn_kernels_avx512_64},
    {has_avx2, &fnn_kernels_avx2_32, &fnn_kernels_avx2_64},
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
    {any, &fnn_kernels_neon_32, &fnn_kernels_neon_64},
#else
    {any, &fnn_kernels_baseline_32, &fnn_kernels_baseline_64},
#endif
};

const fnn_kernels *fnn_supported_kernels(int i, int bits) {
    for (size_t k = 0; k < sizeof isas / sizeof *isas; k++)
        if (isas[k].supported() && i-- == 0) return bits == 32 ? isas[k].kernels_32 : isas[k].kernels_64;
    return NULL;
}

int fnn_bfloat16_kernels(const fnn_kernels *k, int most, fnn_kernels *room) {
    static int known = -1; /* the CPU's ways, asked for once */
    const unsigned long long mode = fnn_fp_enter();
    int ways = __atomic_load_n(&known, __ATOMIC_RELAXED), way;
    if (ways < 0) {
        ways = 1 << FNN_BY_FMA;
#ifdef X86
        ways |= has_dots() << FNN_BY_DOTS | has_tiles() << FNN_BY_TILES;
#endif
        __atomic_store_n(&known, ways, __ATOMIC_RELAXED);
    }
    *room = *k;
    way = k->take_bfloat16(room, ways & ((2 << most) - 1));
    fnn_fp_leave(mode);
    return way;
}

/* Memory ------------------------------------------------------------------------------------------------------- */

#define PAGE 4096
#define HUGE_PAGE 2097152

void *fnn_alloc(size_t bytes) {
    const size_t align = bytes >= HUGE_PAGE / 2 ? HUGE_PAGE : bytes >= PAGE ? PAGE : 64;
    void *p = NULL;
    if (bytes == 0) bytes = 1;
    if (bytes > (size_t)-1 - align) return NULL;
    bytes = (bytes + align - 1) / align * align;
#ifdef _WIN32
    p = _aligned_malloc(bytes, align);
    if (!p) return NULL;
#else
    if (posix_memalign(&p, align, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    if (align == HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
#endif
#endif
    return memset(p, 0, bytes);
}

void fnn_free(void *p) {
#ifdef _WIN32
    _aligned_free(p);
#else
    free(p);
#endif
}

/* Barrier ------------------------------------------------------------------------------------------------------ */

static void give_core_away(void) {
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}

static void rest_a_little(void) {
#ifdef X86
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define SPINS 400 /* about 10 us: most waits of a step end sooner; beside a busy process longer spinning only takes its core */

void fnn_barrier_wait(fnn_barrier *b, int threads) {
    if (threads == 1) return;
    const unsigned round = __atomic_load_n(&b->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == (unsigned)threads) {
        __atomic_store_n(&b->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&b->round, __ATOMIC_ACQUIRE) == round; spins++)
        spins < SPINS ? rest_a_little() : give_core_away();
}

/* Clock -------------------------------------------------------------------------------------------------------- */

double fnn_seconds(void) {
#ifdef _WIN32
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    return (double)now.QuadPart / (double)rate.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}

#ifdef _WIN32
double fnn_thread_seconds(void) { return fnn_seconds(); }
#else
double fnn_thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

/* Scouts ------------------------------------------------------------------------------------------------------- */

#ifdef _WIN32
static void stand_back(void) { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_IDLE); }

static int start_thread(LPTHREAD_START_ROUTINE run, void *with) { /* 0: refused */
    HANDLE thread = CreateThread(NULL, 0, run, with, 0, NULL);
    return thread && CloseHandle(thread);
}
#elif !defined(__EMSCRIPTEN__) /* no threads there, and nobody asks */
static void stand_back(void) { /* from here on the calling thread runs where nobody else wants to */
#ifdef SCHED_IDLE
    const struct sched_param any = {0};
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &any); /* refused: giving the core away must do */
#endif
}

static int start_thread(void *(*run)(void *), void *with) {
    pthread_t thread;
    return !pthread_create(&thread, NULL, run, with) && !pthread_detach(thread);
}
#endif

#define ALONE 0.005 /* seconds without a gap that show a core of its own: longer than time slices, so that others would be seen */
#define GAP 0.0003  /* others take more, interrupts less */
#define OWN 0.9     /* of the time, at least */
#define UNASKED 0.2  /* scouts whom nobody has asked for so long go home */

struct fnn_scouts {
    int users;       /* threads that hold this: whoever asks, and scouts */
    int found;       /* scouts that have had a core to themselves */
    long long until; /* microseconds of the clock */
};

static void leave(fnn_scouts *s) {
    if (__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL) == 0) free(s);
}

/* Whoever has found a core holds it until called back, so that no other scout counts it again. */
static void scout(fnn_scouts *s) {
    double now = fnn_seconds(), since = now, ran = fnn_thread_seconds(), last;
    int found = 0;
    while (1e6 * now < (double)__atomic_load_n(&s->until, __ATOMIC_RELAXED)) {
        give_core_away();
        last = now;
        now = fnn_seconds();
        if (found || (now - last < GAP && now - since < ALONE)) continue;
        if (now - last < GAP && fnn_thread_seconds() - ran > OWN * (now - since)) /* scouts that take turns leave no gaps */
            found = __atomic_add_fetch(&s->found, 1, __ATOMIC_ACQ_REL);
        since = now;
        ran = fnn_thread_seconds();
    }
    leave(s);
}

#ifndef __EMSCRIPTEN__
#ifdef _WIN32
static DWORD WINAPI scout_thread(void *s) {
#else
static void *scout_thread(void *s) {
#endif
    stand_back();
    scout(s);
    return 0;
}
#endif

#ifdef __EMSCRIPTEN__
int fnn_free_cores(fnn_scouts **scouts, int wanted) {
    (void)scouts;
    return wanted;
}
#else
int fnn_free_cores(fnn_scouts **scouts, int wanted) {
    fnn_scouts *s = *scouts;
    const int found = s ? __atomic_load_n(&s->found, __ATOMIC_ACQUIRE) : 0;
    const long long until = wanted ? (long long)(1e6 * (fnn_seconds() + UNASKED)) : 0;
    if (s) __atomic_store_n(&s->until, until, __ATOMIC_RELAXED);
    if (s && (!wanted || (!found && __atomic_load_n(&s->users, __ATOMIC_ACQUIRE) == 1))) { /* not wanted, or all gone home */
        leave(s);
        *scouts = s = NULL;
    }
    if (s || !wanted) return found;
    s = malloc(sizeof *s);
    if (!s) return wanted;
    *s = (fnn_scouts){1, 0, until};
    for (int i = 0; i < wanted; i++) {
        __atomic_add_fetch(&s->users, 1, __ATOMIC_ACQ_REL);
        if (!start_thread(scout_thread, s)) {
            leave(s);
            __atomic_add_fetch(&s->found, 1, __ATOMIC_ACQ_REL); /* a trial will tell */
        }
    }
    *scouts = s;
    return 0;
}
#endif

/* Cancelling --------------------------------------------------------------------------------------------------- */

static _Thread_local const int *watched;

void fnn_watch(const int *flag) { watched = flag; }

int fnn_take_cancel(void) {
    if (!watched || !__atomic_load_n(watched, __ATOMIC_RELAXED)) return 0;
    watched = NULL;
    return 1;
}

/* Floating-point mode -------------------------------------------------------------------------------------------- */

unsigned long long fnn_fp_enter(void) {
#ifdef X86
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* FTZ, DAZ, all exceptions masked, nearest */
    return mode;
#elif defined(__aarch64__)
    unsigned long long mode, ours = 1ull << 24; /* FZ, nearest */
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(ours));
    return mode;
#else
    return 0;
#endif
}

void fnn_fp_leave(unsigned long long mode) {
#ifdef X86
    _mm_setcsr((unsigned)mode);
    leave_tiles();
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* Threads ------------------------------------------------------------------------------------------------------ */

#if defined(_WIN32) || defined(__EMSCRIPTEN__)
int fnn_startable(int threads) { return threads; }
#else
static void *pass(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

int fnn_startable(int threads) {
    static _Thread_local int team = 1; /* of the last region: the runtime keeps these */
    if (threads > team) {              /* try as many more, all at once */
        pthread_t *more = malloc((size_t)(threads - team) * sizeof *more);
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        int n = 0;
        pthread_mutex_lock(&gate);
        while (more && n < threads - team && !pthread_create(&more[n], NULL, pass, &gate)) n++;
        pthread_mutex_unlock(&gate);
        for (int i = 0; i < n; i++) pthread_join(more[i], NULL);
        free(more);
        threads = team + n;
    }
    if (threads > 1) team = threads;
    return threads;
}
#endif

/* Fork --------------------------------------------------------------------------------------------------------- */

static int forked_child;
int fnn_is_forked_child(void) { return forked_child; }

#if !defined(_WIN32) && !defined(__EMSCRIPTEN__)
static void in_child(void) { forked_child = 1; }
__attribute__((constructor)) static void watch_for_fork(void) { pthread_atfork(NULL, NULL, in_child); }
#endif

/* Helper ------------------------------------------------------------------------------------------------------- */

#define STAYS (waits() ? 0.1 : 50e-6) /* seconds that the helper waits for a row; rows no further apart follow closely */
#define LATE (waits() ? 10 : 10e-6)   /* seconds that a row waits for the helper's share, beyond the time that its own took */
#define PATIENCE 16        /* rows that must have followed closely before it comes, which costs about as much as one: ... */
#define MOST_PATIENCE 4096 /* ... twice as many each time, until it has given GOOD shares */
#define GOOD 256
#define SHARED 131072      /* bytes of weights, some 2 us, from which on a product is shared */
#define ROOM 65536         /* bytes of x, and of the helper's z */

enum { AT_HOME, COMING, READY, ASKED };

static int always; /* for tests: who has a helper waits for it, on cores that are busy, too */
static int waits(void) { return __atomic_load_n(&always, __ATOMIC_RELAXED); }
void fnn_helper_always(int on) { __atomic_store_n(&always, on, __ATOMIC_RELAXED); }

static struct {
    _Alignas(64) int taken, crowded, wanted; /* by a row; there were others; helper */
    _Alignas(64) int state;                  /* a row: READY -> ASKED; the helper: ASKED -> READY, and then z is there */
    _Alignas(64) long rows, patience, good;  /* these and what follows only the row that has taken it touches */
    double last;                             /* the end of the row before */
    const fnn_kernels *k;                    /* the share: z = W^T x */
    const void *owner, *W;
    ptrdiff_t n, stride, panels;
    long given;
} helper = {.patience = PATIENCE};

/* Copies: a row that has not waited must not see its own written, nor read when it is gone. */
static _Alignas(64) char helper_x[ROOM], helper_z[ROOM];

static int state_of_helper(void) { return __atomic_load_n(&helper.state, __ATOMIC_ACQUIRE); }

static int turn_helper(int from, int to) {
    return __atomic_compare_exchange_n(&helper.state, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

#ifndef __EMSCRIPTEN__
static void help(void) {
    double until = fnn_seconds() + STAYS;
    turn_helper(COMING, READY);
    for (;;) {
        if (state_of_helper() == ASKED) {
            const unsigned long long mode = fnn_fp_enter();
            memset(helper_z, 0, (size_t)(helper.panels * helper.k->nr * helper.k->item));
            helper.k->row_product(helper.n, NULL, helper_x, helper.W, helper.stride, helper.panels, helper_z);
            fnn_fp_leave(mode);
            until = fnn_seconds() + STAYS;
            turn_helper(ASKED, READY);
        } else if (fnn_seconds() < until) {
            rest_a_little();
        } else if (turn_helper(READY, AT_HOME)) {
            return;
        }
    }
}

#ifdef _WIN32
static DWORD WINAPI helping_thread(void *nothing) {
#else
static void *helping_thread(void *nothing) {
#endif
    (void)nothing;
    if (!waits()) stand_back();
    help();
    return 0;
}
#endif

int fnn_helper_wanted(void) { return __atomic_load_n(&helper.wanted, __ATOMIC_RELAXED); }

void fnn_helper_start(int allowed) {
    if (!__atomic_exchange_n(&helper.wanted, 0, __ATOMIC_ACQ_REL) || !allowed) return;
#ifndef __EMSCRIPTEN__
    if (turn_helper(AT_HOME, COMING) && !start_thread(helping_thread, NULL)) turn_helper(COMING, AT_HOME);
#endif
}

int fnn_row_begin(void) {
    if (forked_child) return FNN_CROWDED; /* its helper is gone, maybe with a row of the parent's */
    if (__atomic_exchange_n(&helper.taken, 1, __ATOMIC_ACQ_REL)) {
        __atomic_store_n(&helper.crowded, 1, __ATOMIC_RELAXED);
        return FNN_CROWDED;
    }
    if (fnn_seconds() - helper.last > STAYS) helper.rows = 0;
    return helper.rows && state_of_helper() == READY ? FNN_HELPED : FNN_ALONE;
}

void fnn_row_end(int how) {
    if (how == FNN_CROWDED) return;
    helper.rows = __atomic_exchange_n(&helper.crowded, 0, __ATOMIC_RELAXED) ? 0 : helper.rows + 1; /* others have use for the core */
    if (helper.rows >= helper.patience && state_of_helper() == AT_HOME) {
        helper.rows = helper.good = 0;
        if (helper.patience < MOST_PATIENCE && !waits()) helper.patience *= 2;
        __atomic_store_n(&helper.wanted, 1, __ATOMIC_RELEASE);
    }
    helper.last = fnn_seconds();
    __atomic_store_n(&helper.taken, 0, __ATOMIC_RELEASE);
}

void fnn_row_product(const fnn_kernels *k, const void *owner, ptrdiff_t n, const void *x, const void *W, ptrdiff_t stride,
                     ptrdiff_t panels, void *z) {
    const ptrdiff_t theirs = panels / 2, own = panels - theirs, panel = k->nr * k->item;
    const void *their_W = (const char *)W + own * stride * k->item;
    char *their_z = (char *)z + own * panel;
    const double begin = fnn_seconds();
    double end;
    int asked;
    if (panels * stride * k->item < SHARED || n * k->item > ROOM || theirs * panel > ROOM || state_of_helper() != READY) {
        k->row_product(n, NULL, x, W, stride, panels, z);
        return;
    }
    helper.k = k;
    helper.n = n;
    helper.W = their_W;
    helper.stride = stride;
    helper.panels = theirs;
    memcpy(helper_x, x, (size_t)(n * k->item));
    __atomic_store_n(&helper.owner, owner, __ATOMIC_RELAXED);
    asked = turn_helper(READY, ASKED); /* 0: it has just gone home */
    k->row_product(n, NULL, x, W, stride, own, z);
    end = fnn_seconds();
    while (asked && state_of_helper() == ASKED && fnn_seconds() < 2 * end - begin + LATE) rest_a_little();
    if (!asked || state_of_helper() == ASKED) {
        k->row_product(n, NULL, x, their_W, stride, theirs, their_z);
        return;
    }
    memcpy(their_z, helper_z, (size_t)(theirs * panel));
    __atomic_add_fetch(&helper.given, 1, __ATOMIC_RELAXED);
    if (++helper.good == GOOD) helper.patience = PATIENCE;
}

static void nap(void) { /* long enough for a thread that stands back to be let in */
#ifdef _WIN32
    Sleep(1);
#else
    nanosleep(&(struct timespec){0, 100000}, NULL);
#endif
}

void fnn_helper_leave(const void *owner) {
    while (!forked_child && state_of_helper() == ASKED && __atomic_load_n(&helper.owner, __ATOMIC_RELAXED) == owner)
        nap();
}

long fnn_helper_given(void) { return __atomic_load_n(&helper.given, __ATOMIC_RELAXED); }
