/* The different requests of a load: bodies made once, sent again and again.
 *
 * Questions come from a JSON Lines file ("query" of each line), else from a short list built in;
 * for /triage the patients' numbers from a list or from the "mrn" of each line of a file. Request k
 * has question k and patient k, each list begun again at its end, until both were used whole. */
#ifndef CP_BENCH_LOAD_REQUESTS_H
#define CP_BENCH_LOAD_REQUESTS_H

#include "base/error.h"
#include "bench/lists.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cp_load_target {
    CP_LOAD_TRIAGE,      /* POST /triage */
    CP_LOAD_CHAT,        /* POST /v1/chat/completions */
    CP_LOAD_COMPLETIONS, /* POST /v1/completions */
    CP_LOAD_HEALTH,      /* GET /health */
    CP_LOAD_METRICS,     /* GET /metrics */
    CP_LOAD_N_TARGETS,
} cp_load_target;
const char *cp_load_target_name(cp_load_target target); /* "triage", "chat", ... */
const char *cp_load_target_path(cp_load_target target); /* "/triage", ... */
/* Fetched, not asked: no body, no stream, nothing to compare. */
bool cp_load_target_is_probe(cp_load_target target);
bool cp_load_target_parse(const char *name, cp_load_target *out);

#define CP_LOAD_MAX_REQUESTS 4096

typedef struct cp_load_recipe {
    cp_load_target target;
    bool stream;
    int64_t max_tokens; /* 0: the field is left out */
    double temperature;
    uint64_t seed;
    const char *model;        /* OpenAI's forms only */
    const char *prompts;      /* a file, or NULL */
    const cp_word_list *mrns; /* triage only; n 0: from the file below */
    const char *patients;     /* JSON Lines with "mrn" */
} cp_load_recipe;

typedef struct cp_load_requests {
    char **bodies; /* [n], JSON; "" for GET */
    size_t n;
} cp_load_requests;

/* Errors name file and line. *out is released with cp_load_requests_deinit, also after failure. */
cp_status cp_load_requests_make(const cp_load_recipe *recipe, cp_load_requests *out,
                                cp_error *err) CP_MUST_CHECK;
void cp_load_requests_deinit(cp_load_requests *requests);

#endif
