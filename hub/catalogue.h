/* Models that are known by a short name, and where they are published. */
#ifndef CP_HUB_CATALOGUE_H
#define CP_HUB_CATALOGUE_H

#include <stddef.h>

/* The repository of "Qwen3-4B-Thinking-2507" or of "qwen", which is short for it; NULL for a name
 * that is not known. */
const char *cp_catalogue_repo(const char *name);
/* The name that "qwen" is short for; other names stand for themselves. */
const char *cp_catalogue_name(const char *name);
/* Length of the model's name in "NAME-LEVEL" (as `carepath pull --quant LEVEL` calls its folders)
 * when the catalogue knows NAME; 0 else. */
size_t cp_catalogue_quantized(const char *name);

#endif
