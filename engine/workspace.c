#include "engine/workspace.h"

#include "base/mem.h"
#include "engine/quant.h"

typedef struct buffer {
    void **at;
    size_t n, width, bytes; /* n rows of `width` elements */
} buffer;

/* Places buffers one after the other from `offset` of `memory` on, which is NULL to count only;
 * returns where they end. */
static size_t place(const buffer *list, size_t n, char *memory, size_t offset) {
    for (size_t i = 0; i < n; i++) {
        if (memory)
            *list[i].at = memory + offset;
        offset += (list[i].n * list[i].width * list[i].bytes + CP_CACHE_LINE - 1) / CP_CACHE_LINE *
                  CP_CACHE_LINE;
    }
    return offset;
}

/* The widest input of any product, in whole superblocks. */
static size_t widest(const cp_model_config *c) {
    size_t width = c->hidden_size > c->ffn_size ? c->hidden_size : c->ffn_size;
    width = width > cp_config_q_dim(c) ? width : cp_config_q_dim(c);
    return cp_quant_supers(width) * CP_SUPER;
}

/* Returns the bytes that all buffers take. At most 2^8 rows of 2^18 floats, and 2^4 of 2^22: far
 * from overflow (cp_config_read's bounds). */
static size_t lay_out(const cp_model_config *c, cp_workspace *w, char *memory) {
    size_t t = CP_STEP_MAX_TOKENS, q_dim = cp_config_q_dim(c), kv_dim = cp_config_kv_dim(c);
    const buffer lasting[] = {
        {(void **)&w->rows, t, 1, sizeof *w->rows},
        {(void **)&w->x, t, c->hidden_size, sizeof(float)},
        {(void **)&w->normed, t, c->hidden_size, sizeof(float)},
        {(void **)&w->cosine, t, c->head_dim / 2, sizeof(float)},
        {(void **)&w->sine, t, c->head_dim / 2, sizeof(float)},
        {(void **)&w->final, CP_LOGITS_BLOCK, c->hidden_size, sizeof(float)},
        {(void **)&w->logits, CP_LOGITS_BLOCK, c->vocab_size, sizeof(float)},
        {(void **)&w->values, t, widest(c), 1},
        {(void **)&w->scales, t, widest(c) / CP_GROUP, sizeof(float)},
        {(void **)&w->sums, t, widest(c) / CP_GROUP, sizeof(int32_t)},
    };
    const buffer attention[] = {
        {(void **)&w->q, t, q_dim, sizeof(float)},
        {(void **)&w->k, t, kv_dim, sizeof(float)},
        {(void **)&w->v, t, kv_dim, sizeof(float)},
        {(void **)&w->heads, t, q_dim, sizeof(float)},
    };
    const buffer mlp[] = {
        {(void **)&w->gate, t, c->ffn_size, sizeof(float)},
        {(void **)&w->up, t, c->ffn_size, sizeof(float)},
    };
    size_t blocks = place(lasting, CP_COUNT_OF(lasting), memory, 0);
    size_t attention_end = place(attention, CP_COUNT_OF(attention), memory, blocks);
    size_t mlp_end = place(mlp, CP_COUNT_OF(mlp), memory, blocks);
    w->projected = w->normed;
    return attention_end > mlp_end ? attention_end : mlp_end;
}

cp_status cp_workspace_create(const cp_model_config *config, cp_workspace *out, cp_error *err) {
    *out = (cp_workspace){0};
    size_t bytes = lay_out(config, out, NULL);
    void *memory = cp_pages_alloc(bytes);
    if (!memory)
        return cp_error_no_memory(err, "workspace");
    lay_out(config, out, memory);
    out->memory = memory;
    out->memory_bytes = bytes;
    return CP_OK;
}

void cp_workspace_free(cp_workspace *w) {
    cp_pages_free(w->memory, w->memory_bytes);
    *w = (cp_workspace){0};
}
