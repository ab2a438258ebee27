#define CP_MONGOC_LIBRARY_ITSELF
#include "server/mongoc_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#if MONGOC_CHECK_VERSION(2, 0, 0)
#define LIBRARY "libmongoc2.so.2"
#else
#define LIBRARY "libmongoc-1.0.so.0"
#endif

cp_mongoc_functions cp_mongoc;
static const char *missing = LIBRARY; /* what could not be found; NULL: all is there */

/* ISO C has no cast from an object's address to a function's; POSIX promises this one. */
static bool find(void *library, const char *name, void *function) {
    *(void **)function = dlsym(library, name);
    if (!*(void **)function)
        missing = name;
    return *(void **)function != NULL;
}

static void load(void) {
    setenv("MONGOC_DISABLE_SHM", "1", 1); /* no counters in a file that a crash would leave */
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
#define CP_MONGOC_FIND(name)                                                                       \
    if (!find(library, #name, &cp_mongoc.name))                                                    \
        return;
    CP_MONGOC_FUNCTIONS(CP_MONGOC_FIND)
#undef CP_MONGOC_FIND
    missing = NULL;
    cp_mongoc.mongoc_init();
    cp_mongoc.mongoc_log_set_handler(NULL, NULL); /* it writes to stderr, and who knows what */
    atexit(cp_mongoc.mongoc_cleanup);
}

cp_status cp_mongoc_need(cp_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!missing)
        return CP_OK;
    return cp_error_set(err, CP_ERR_NOT_FOUND,
                        "the MongoDB driver cannot be loaded (%s is missing): install %s, or set "
                        "PATIENT_STORE to another store",
                        missing, LIBRARY);
}
