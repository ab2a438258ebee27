/* What a session's outputs are scored by: likelihood of given tokens, and embeddings. */
#include "engine/engine.h"

#include "engine/mathfn.h"

#include <math.h>

typedef struct nll_state {
    const int32_t *ids;
    size_t n, vocab_size;
    double sum;
} nll_state;

double cp_log_sum_exp(const float *logits, size_t n) {
    double largest = logits[0], total = 0;
    for (size_t i = 1; i < n; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (size_t i = 0; i < n; i++)
        total += cp_exp(logits[i] - largest);
    return cp_log(total) + largest;
}

static void add_position(void *user, size_t position, const float *logits) {
    nll_state *s = user;
    if (position + 1 < s->n)
        s->sum += cp_log_sum_exp(logits, s->vocab_size) - logits[s->ids[position + 1]];
}

cp_status cp_session_nll(cp_session *session, const int32_t *ids, size_t n, double *nll,
                         cp_error *err) {
    if (n < 2)
        return cp_error_set(err, CP_ERR_USAGE, "perplexity needs at least 2 token ids, got %zu", n);
    nll_state state = {ids, n, cp_engine_config(cp_session_engine(session))->vocab_size, 0};
    cp_session_rewind(session, 0);
    cp_status status = cp_session_eval(
        session, ids, n, &(cp_eval_hooks){.on_logits = add_position, .user = &state}, err);
    *nll = state.sum;
    return status;
}

void cp_embedding_of_hidden(const float *hidden, size_t n, float *out) {
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)hidden[i] * hidden[i];
    float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = hidden[i] * scale;
}

void cp_session_embedding(const cp_session *session, float *out) {
    cp_embedding_of_hidden(cp_session_hidden(session),
                           cp_engine_config(cp_session_engine(session))->hidden_size, out);
}
