/* Status codes and the one error sentence.
 *
 * Every function that can fail returns a cp_status and takes a `cp_error *err` last. The sentence
 * is written once, where the fault is seen, and names the thing, its value and what was expected;
 * callers forward it and may put context in front with cp_error_prefix. A sentence is always one
 * line: control characters from hostile names are replaced, and it is cut (on a UTF-8 border) at
 * its capacity. `err` may be NULL when the caller needs the status only. No thread shares a
 * cp_error. */
#ifndef CP_BASE_ERROR_H
#define CP_BASE_ERROR_H

#define CP_MUST_CHECK         __attribute__((warn_unused_result))
#define CP_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef enum cp_status {
    CP_OK = 0,
    CP_ERR_USAGE = -1,       /* the caller's argument is wrong */
    CP_ERR_IO = -2,          /* the operating system refused */
    CP_ERR_FORMAT = -3,      /* a file or message breaks its format */
    CP_ERR_UNSUPPORTED = -4, /* well-formed, but nothing we do */
    CP_ERR_LIMIT = -5,       /* larger than a stated maximum */
    CP_ERR_NO_MEMORY = -6,
    CP_ERR_NOT_FOUND = -7,
    CP_ERR_CANCELLED = -8, /* the one who asked has gone, or a deadline passed */
    CP_ERR_BUSY = -9,      /* a bounded queue is full, or the server is draining */
} cp_status;

typedef struct cp_error {
    cp_status status;
    char message[480];
} cp_error;

/* Writes the sentence and returns `status`, so that a fault is reported in one line:
 *     return cp_error_set(err, CP_ERR_FORMAT, "%s: empty file", path); */
cp_status cp_error_set(cp_error *err, cp_status status, const char *fmt, ...) CP_PRINTF(3, 4);

/* Puts "prefix: " before an existing sentence; returns its status. */
cp_status cp_error_prefix(cp_error *err, const char *fmt, ...) CP_PRINTF(2, 3);

/* The usual sentence for a failed allocation of `what`. */
cp_status cp_error_no_memory(cp_error *err, const char *what);

#endif
