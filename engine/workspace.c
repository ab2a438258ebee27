#include "engine/workspace.h"

#include "base/mem.h"
#include "engine/quant.h"

typedef struct buffer {
    void **at;
    size_t n, width, bytes; /* n rows of `width` elements */
} buffer;

/* The widest input of any product, in whole superblocks. */
static size_t widest(const cp_model_config *c) {
    size_t width = c->hidden_size > c->ffn_size ? c->hidden_size : c->ffn_size;
    width = width > cp_config_q_dim(c) ? width : cp_config_q_dim(c);
    return cp_quant_supers(width) * CP_SUPER;
}

cp_status cp_workspace_create(const cp_model_config *c, cp_workspace *w, cp_error *err) {
    *w = (cp_workspace){0};
    size_t t = CP_STEP_MAX_TOKENS, q_dim = cp_config_q_dim(c), kv_dim = cp_config_kv_dim(c);
    const buffer buffers[] = {
        {(void **)&w->rows, t, 1, sizeof *w->rows},
        {(void **)&w->x, t, c->hidden_size, sizeof(float)},
        {(void **)&w->normed, t, c->hidden_size, sizeof(float)},
        {(void **)&w->q, t, q_dim, sizeof(float)},
        {(void **)&w->k, t, kv_dim, sizeof(float)},
        {(void **)&w->v, t, kv_dim, sizeof(float)},
        {(void **)&w->heads, t, q_dim, sizeof(float)},
        {(void **)&w->projected, t, c->hidden_size, sizeof(float)},
        {(void **)&w->gate, t, c->ffn_size, sizeof(float)},
        {(void **)&w->up, t, c->ffn_size, sizeof(float)},
        {(void **)&w->cosine, t, c->head_dim / 2, sizeof(float)},
        {(void **)&w->sine, t, c->head_dim / 2, sizeof(float)},
        {(void **)&w->final, CP_LOGITS_BLOCK, c->hidden_size, sizeof(float)},
        {(void **)&w->logits, CP_LOGITS_BLOCK, c->vocab_size, sizeof(float)},
        {(void **)&w->values, t, widest(c), 1},
        {(void **)&w->scales, t, widest(c) / CP_GROUP, sizeof(float)},
        {(void **)&w->sums, t, widest(c) / CP_GROUP, sizeof(int32_t)},
    };
    /* At most 2^8 rows of 2^18 floats, and 2^4 of 2^22: far from overflow (cp_config_read's
     * bounds). */
    size_t offsets[CP_COUNT_OF(buffers)], total = 0;
    for (size_t i = 0; i < CP_COUNT_OF(buffers); i++) {
        offsets[i] = total;
        total += (buffers[i].n * buffers[i].width * buffers[i].bytes + CP_CACHE_LINE - 1) /
                 CP_CACHE_LINE * CP_CACHE_LINE;
    }
    w->memory = cp_pages_alloc(total);
    if (!w->memory)
        return cp_error_no_memory(err, "workspace");
    w->memory_bytes = total;
    for (size_t i = 0; i < CP_COUNT_OF(buffers); i++)
        *buffers[i].at = (char *)w->memory + offsets[i];
    return CP_OK;
}

void cp_workspace_free(cp_workspace *w) {
    cp_pages_free(w->memory, w->memory_bytes);
    *w = (cp_workspace){0};
}
