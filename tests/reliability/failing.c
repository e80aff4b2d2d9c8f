/* Preloaded: from fail(kinds, k, error) on, the k-th call of these kinds fails with this errno, once.
 * libgomp's allocations are left alone: it ends the process where one fails, and nobody can keep it from that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { ALLOCATE = 1, OPEN = 2, WRITE = 4, SYNC = 8, RENAME = 16 };

static int kinds, with;
static long left, seen;

void fail(int of, long k, int error) {
    kinds = 0;
    left = k;
    seen = 0;
    with = error;
    __atomic_store_n(&kinds, of, __ATOMIC_SEQ_CST);
}

/* Calls of these kinds since then. */
long fail_seen(void) { return __atomic_load_n(&seen, __ATOMIC_SEQ_CST); }

static int fails(int kind, void *caller) {
    if (!(__atomic_load_n(&kinds, __ATOMIC_RELAXED) & kind)) return 0;
    Dl_info from;
    if (kind == ALLOCATE && dladdr(caller, &from) && from.dli_fname && strstr(from.dli_fname, "libgomp")) return 0;
    __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) != 0) return 0;
    errno = with;
    return 1;
}
#define FAILS(kind) fails(kind, __builtin_return_address(0))

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) { return FAILS(ALLOCATE) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return FAILS(ALLOCATE) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return FAILS(ALLOCATE) ? NULL : __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { return FAILS(ALLOCATE) ? NULL : __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { return FAILS(ALLOCATE) ? NULL : __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n) {
    if (FAILS(ALLOCATE)) return ENOMEM;
    *p = __libc_memalign(align, n);
    return *p ? 0 : ENOMEM;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int fd, const void *p, size_t n) { return fd > 2 && FAILS(WRITE) ? -1 : NEXT(write)(fd, p, n); }
int fsync(int fd) { return FAILS(SYNC) ? -1 : NEXT(fsync)(fd); }
int rename(const char *a, const char *b) { return FAILS(RENAME) ? -1 : NEXT(rename)(a, b); }
int renameat(int a, const char *from, int b, const char *to) {
    return FAILS(RENAME) ? -1 : NEXT(renameat)(a, from, b, to);
}
#define OPENS(name)                                             \
    int name(const char *path, int flags, ...) {                \
        va_list rest;                                           \
        va_start(rest, flags);                                  \
        const mode_t mode = va_arg(rest, mode_t);               \
        va_end(rest);                                           \
        if ((flags & O_ACCMODE) != O_RDONLY && FAILS(OPEN)) return -1; \
        return NEXT(name)(path, flags, mode);                   \
    }
OPENS(open)
OPENS(open64)
