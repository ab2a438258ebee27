/* SECRET_KEY: read once at start, from the environment or a file, checked, wiped at the end.
 *
 * It is a text of 32 to 4096 printable characters; a file's line end behind it does not count. What
 * is to be sealed or hashed uses keys derived from it, each for one purpose, never the text itself.
 * No error shows a part of it. */
#ifndef CP_SERVER_SECRET_H
#define CP_SERVER_SECRET_H

#include "server/settings.h"

#define CP_SECRET_MIN_BYTES 32
#define CP_SECRET_MAX_BYTES 4096

typedef struct cp_secret {
    char text[CP_SECRET_MAX_BYTES + 1]; /* "" when neither setting is given */
} cp_secret;

/* From SECRET_KEY or SECRET_KEY_FILE; both is an error, and so is a file that others than its owner
 * and group may read. cp_secret_wipe when done, also after failure. */
cp_status cp_secret_load(const cp_settings *settings, cp_secret *out, cp_error *err) CP_MUST_CHECK;
void cp_secret_wipe(cp_secret *secret);

#endif
