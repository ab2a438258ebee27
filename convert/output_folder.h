/* A folder that appears whole or not at all.
 *
 * Everything is written into a sibling, DST.partial, which is renamed to DST at the end; a folder
 * that --force replaces is exchanged in the same step and removed afterwards. DST.partial is locked
 * while it is written (the kernel drops the lock of a killed process); what an earlier run left in
 * it is removed first. Used by one thread. */
#ifndef CP_CONVERT_OUTPUT_FOLDER_H
#define CP_CONVERT_OUTPUT_FOLDER_H

#include "base/error.h"
#include "base/file.h"

#include <stdint.h>

typedef struct cp_output_folder {
    char final[CP_PATH_CAP];
    char partial[CP_PATH_CAP]; /* write here */
    int fd;                    /* of `partial`, locked; -1 when closed */
    bool replaces;             /* a model folder stands at `final` */
} cp_output_folder;

/* `dst` may be absent or an empty folder; with `force` also a model folder (config.json, files
 * only), which stays as it is until commit. */
cp_status cp_output_folder_open(const char *dst, bool force, cp_output_folder *out,
                                cp_error *err) CP_MUST_CHECK;
/* Refuses when the disk has not `bytes` free. */
cp_status cp_output_folder_need(const cp_output_folder *folder, uint64_t bytes,
                                cp_error *err) CP_MUST_CHECK;
cp_status cp_output_folder_commit(cp_output_folder *folder, cp_error *err) CP_MUST_CHECK;
/* Removes DST.partial unless committed. */
void cp_output_folder_close(cp_output_folder *folder);

#endif
