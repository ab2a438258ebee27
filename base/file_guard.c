#include "base/file_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_GUARDS 1024 /* several models of 256 shards */

/* Read by the handler, in whatever thread and moment: `begin` is written last, and is 0 first. */
typedef struct guard {
    atomic_uintptr_t begin;
    atomic_size_t n_bytes;
    atomic_bool cut;
} guard;

static guard guards[MAX_GUARDS];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* of who adds */
static struct sigaction before;
static uintptr_t page_bytes;

/* Puts zeros from the page at `at` to the end of the range: what a cut file lost is lost to its
 * end.
 */
static bool heal(guard *g, uintptr_t at) {
    uintptr_t begin = atomic_load(&g->begin), from = at & ~(page_bytes - 1);
    size_t n = atomic_load(&g->n_bytes);
    if (begin == 0 || at < begin || at - begin >= n || atomic_load(&g->begin) != begin)
        return false; /* at last: another range is being put here, and n is its */
    atomic_store(&g->cut, true);
    return mmap((void *)from, begin + n - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                -1, 0) != MAP_FAILED;
}

static void on_bus(int signal, siginfo_t *info, void *context) {
    int kept = errno;
    (void)context;
    for (size_t i = 0; i < MAX_GUARDS && info->si_code > 0; i++)
        if (heal(&guards[i], (uintptr_t)info->si_addr)) {
            errno = kept;
            return;
        }
    sigaction(signal, &before, NULL); /* the access is tried again, and fails there */
    if (info->si_code <= 0)
        raise(signal); /* sent by somebody */
    errno = kept;
}

/* Looked at each time: a library may have put its own handler in place of ours. */
static bool install(void) {
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    if (sigaction(SIGBUS, NULL, &now) != 0)
        return false;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus)
        return true;
    before = now;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, NULL) == 0;
}

unsigned cp_file_guard_add(const void *begin, size_t n_bytes) {
    unsigned added = 0;
    pthread_mutex_lock(&turn);
    bool installed = install();
    for (unsigned i = 0; i < MAX_GUARDS && installed && !added; i++)
        if (atomic_load(&guards[i].begin) == 0) {
            atomic_store(&guards[i].cut, false);
            atomic_store(&guards[i].n_bytes, n_bytes);
            atomic_store(&guards[i].begin, (uintptr_t)begin);
            added = i + 1;
        }
    pthread_mutex_unlock(&turn);
    return added;
}

void cp_file_guard_remove(unsigned number) {
    if (number > 0)
        atomic_store(&guards[number - 1].begin, 0);
}

bool cp_file_guard_is_cut(unsigned number) {
    return number > 0 && atomic_load(&guards[number - 1].cut);
}
