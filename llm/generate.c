/* One generation by itself, and what every result has. */
#include "llm/llm.h"

#include "base/mem.h"
#include "llm/generation.h"

#define MAX_ANSWER_BYTES ((size_t)16 << 20)

void cp_llm_result_init(cp_llm_result *result) {
    *result = (cp_llm_result){0};
    cp_strbuf_init(&result->answer, MAX_ANSWER_BYTES);
    cp_strbuf_init(&result->thinking, MAX_ANSWER_BYTES);
}

void cp_llm_result_deinit(cp_llm_result *result) {
    cp_strbuf_deinit(&result->answer);
    cp_strbuf_deinit(&result->thinking);
    cp_ids_deinit(&result->ids);
}

/* The caller's result may hold texts already: they are let go. */
static void move_result(cp_llm_result *from, cp_llm_result *to) {
    cp_llm_result_deinit(to);
    *to = *from;
    cp_llm_result_init(from);
}

cp_status cp_llm_generate(cp_llm *llm, const cp_llm_request *request, cp_llm_result *out,
                          cp_error *err) {
    cp_generation *g;
    cp_status status = CP_OK;
    if (!llm->scheduler)
        status = cp_scheduler_create(llm, &(cp_scheduler_options){0}, &llm->scheduler, err);
    if (status == CP_OK)
        status = cp_generation_create(llm, request, &g, err);
    if (status != CP_OK)
        return status;
    cp_scheduler_add(llm->scheduler, g);
    while (!cp_scheduler_take_done(llm->scheduler))
        (void)cp_scheduler_step(llm->scheduler);
    status = cp_generation_status(g, err);
    if (status == CP_OK)
        move_result(cp_generation_result(g), out);
    cp_generation_free(g);
    return status;
}
