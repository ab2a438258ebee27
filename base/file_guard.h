/* What keeps a mapped file from ending the process when somebody cuts it: used by base/file alone.
 *
 * A page that a cut file no longer has raises SIGBUS when it is read. Within a guarded range it
 * reads as zeros instead, and the range is marked; who reads the range asks for the mark before it
 * believes what it read. Other SIGBUS go where they went before. Any thread. */
#ifndef CP_BASE_FILE_GUARD_H
#define CP_BASE_FILE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* A number for the range, or 0 when there are too many. The range begins at a page. */
unsigned cp_file_guard_add(const void *begin, size_t n_bytes);
/* 0 is allowed in both. The range is not marked any more once it is removed. */
void cp_file_guard_remove(unsigned guard);
bool cp_file_guard_is_cut(unsigned guard);

#endif
