#include "hub/catalogue.h"

#include "base/mem.h"

#include <string.h>

#define MAIN_MODEL "Qwen3-4B-Thinking-2507"

/* A model's name is its repository's last part. */
static const char *const repos[] = {
    "Qwen/" MAIN_MODEL,
    "Qwen/Qwen3-4B",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-Embedding-0.6B",
    "Qwen/Qwen3-Reranker-0.6B",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
};

static const char *name_in(const char *repo) {
    return strchr(repo, '/') + 1;
}

const char *cp_catalogue_name(const char *name) {
    return strcmp(name, "qwen") == 0 ? MAIN_MODEL : name;
}

const char *cp_catalogue_repo(const char *name) {
    name = cp_catalogue_name(name);
    for (size_t i = 0; i < CP_COUNT_OF(repos); i++)
        if (strcmp(name_in(repos[i]), name) == 0)
            return repos[i];
    return NULL;
}

size_t cp_catalogue_quantized(const char *name) {
    static const char *const levels[] = {"-f32", "-bf16", "-int8", "-int4", "-int4-mixed"};
    for (size_t i = 0; i < CP_COUNT_OF(repos); i++) {
        size_t n = strlen(name_in(repos[i]));
        for (size_t l = 0; l < CP_COUNT_OF(levels); l++)
            if (strncmp(name_in(repos[i]), name, n) == 0 && strcmp(name + n, levels[l]) == 0)
                return n;
    }
    return 0;
}
