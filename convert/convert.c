#include "convert/convert.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/progress.h"
#include "convert/output_folder.h"
#include "convert/quantize.h"
#include "convert/safetensors_writer.h"
#include "engine/sysinfo.h"
#include "engine/threads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FORMAT      "1"
#define UNIT_ROWS   CP_TILE_ROWS /* what a thread takes at a time */
#define CHUNK_BYTES ((size_t)8 << 20)
/* Config and tokenizer files beside the weights, generously. */
#define SMALL_FILES_BYTES ((uint64_t)64 << 20)

/* What a thread finds out about its unit. */
typedef struct unit_result {
    XXH128_canonical_t hash;
    double error, energy;
} unit_result;

/* A thread's scratch and its first failure. */
typedef struct worker {
    float *rows; /* [UNIT_ROWS, widest cols] */
    size_t failed_unit;
    cp_error err; /* status CP_OK: none */
} worker;

typedef struct conversion {
    const cp_source *source;
    const cp_convert_options *options;
    cp_storage *storages; /* [n_tensors] */
    cp_threads *threads;
    worker *workers; /* [n_threads] */
    cp_safetensors_writer file;
    cp_progress progress;
    XXH3_state_t *hash;
    cp_convert_report *report;

    /* The chunk in work: units first_unit.. of tensors[tensor]. */
    size_t tensor, first_unit, n_units;
    atomic_size_t next_unit; /* in the chunk */
    size_t out_cap, units_cap;
    unsigned char *out;   /* [out_cap] */
    unit_result *results; /* [units_cap] */
} conversion;

/* ---- one unit: 16 rows -------------------------------------------------------------------------
 */

static size_t units_of(const cp_source_tensor *t) {
    return (t->rows + UNIT_ROWS - 1) / UNIT_ROWS;
}

static size_t unit_bytes(const conversion *c, size_t tensor) {
    return (size_t)cp_storage_bytes(c->storages[tensor], UNIT_ROWS,
                                    c->source->tensors[tensor].cols);
}

static void store_bf16(const float *rows, size_t n, unsigned char *out, unit_result *result) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half = cp_bfloat_of_float(rows[i]);
        memcpy(out + i * sizeof half, &half, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        float stored;
        memcpy(&stored, &bits, sizeof stored);
        double error = (double)rows[i] - (double)stored;
        result->error += error * error;
        result->energy += (double)rows[i] * (double)rows[i];
    }
}

static void store_f32(const float *rows, size_t n, unsigned char *out, unit_result *result) {
    memcpy(out, rows, n * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        result->energy += (double)rows[i] * (double)rows[i];
}

static cp_status store(const conversion *c, const float *rows, size_t first, size_t n_rows,
                       unsigned char *out, unit_result *result, cp_error *err) {
    const cp_source_tensor *t = &c->source->tensors[c->tensor];
    cp_storage storage = c->storages[c->tensor];
    if (storage == CP_STORE_BF16) {
        store_bf16(rows, n_rows * t->cols, out, result);
    } else if (storage == CP_STORE_F32) {
        store_f32(rows, n_rows * t->cols, out, result);
    } else {
        cp_quantized_tile tile =
            cp_quantize_tile(cp_storage_quant(storage), rows, n_rows, t->cols, out);
        result->error = tile.error;
        result->energy = tile.energy;
        if (tile.bad_row < n_rows)
            return cp_error_set(err, CP_ERR_UNSUPPORTED,
                                "%s: tensor %s: row %zu has a weight that is not finite or too "
                                "large for %s",
                                c->source->label, t->name, first + tile.bad_row,
                                cp_storage_name(storage));
    }
    return CP_OK;
}

static cp_status convert_unit(conversion *c, worker *w, size_t unit, cp_error *err) {
    const cp_source *source = c->source;
    const cp_source_tensor *t = &source->tensors[c->tensor];
    size_t first = (c->first_unit + unit) * UNIT_ROWS,
           n_rows = t->rows - first < UNIT_ROWS ? t->rows - first : UNIT_ROWS;
    unit_result *result = &c->results[unit];
    cp_status status = source->ops->read_rows(source, c->tensor, first, n_rows, w->rows, err);
    if (status != CP_OK)
        return status;
    *result = (unit_result){.error = 0};
    XXH128_canonicalFromHash(&result->hash,
                             XXH3_128bits(w->rows, n_rows * t->cols * sizeof *w->rows));
    return store(c, w->rows, first, n_rows, c->out + unit * unit_bytes(c, c->tensor), result, err);
}

/* Threads take units as they come; a slow one holds up no other. */
static void convert_units(void *arg, size_t thread, size_t n_threads) {
    conversion *c = arg;
    worker *w = &c->workers[thread];
    (void)n_threads;
    size_t unit;
    while (w->err.status == CP_OK && (unit = atomic_fetch_add(&c->next_unit, 1)) < c->n_units)
        if (convert_unit(c, w, unit, &w->err) != CP_OK)
            w->failed_unit = unit;
}

/* ---- one chunk, one tensor ----------------------------------------------------------------------
 */

/* The failure of the earliest unit, so that the sentence does not depend on the threads. */
static cp_status first_failure(const conversion *c, cp_error *err) {
    const worker *first = NULL;
    for (size_t i = 0; i < cp_threads_count(c->threads); i++) {
        const worker *w = &c->workers[i];
        if (w->err.status != CP_OK && (!first || w->failed_unit < first->failed_unit))
            first = w;
    }
    if (!first)
        return CP_OK;
    if (err)
        *err = first->err;
    return first->err.status;
}

static void measure(conversion *c, cp_convert_kind *kind) {
    for (size_t i = 0; i < c->n_units; i++) {
        kind->error += c->results[i].error;
        kind->energy += c->results[i].energy;
        XXH3_128bits_update(c->hash, &c->results[i].hash, sizeof c->results[i].hash);
    }
}

static void release_chunk(const conversion *c) {
    size_t rows = c->source->tensors[c->tensor].rows, first = c->first_unit * UNIT_ROWS,
           n = c->n_units * UNIT_ROWS;
    if (c->source->ops->release)
        c->source->ops->release(c->source, c->tensor, first, rows - first < n ? rows - first : n);
}

static cp_status convert_tensor(conversion *c, size_t tensor, cp_error *err) {
    const cp_source_tensor *t = &c->source->tensors[tensor];
    cp_storage storage = c->storages[tensor];
    cp_convert_kind *kind = &c->report->kinds[t->kind];
    uint64_t left = cp_storage_bytes(storage, t->rows, t->cols);
    size_t n_units = units_of(t), a_unit = unit_bytes(c, tensor), step = c->out_cap / a_unit;
    kind->n_stored[storage]++;
    kind->weights += (uint64_t)t->rows * t->cols;
    kind->bytes += left;
    c->tensor = tensor;
    for (size_t at = 0; at < n_units; at += c->n_units) {
        c->first_unit = at;
        c->n_units = n_units - at < step ? n_units - at : step;
        atomic_store(&c->next_unit, 0);
        cp_threads_run(c->threads, convert_units, c);
        cp_status status = first_failure(c, err);
        if (status != CP_OK)
            return status;
        measure(c, kind);
        /* The last unit may have fewer rows, and then fewer bytes. */
        uint64_t bytes = (uint64_t)c->n_units * a_unit;
        bytes = bytes < left ? bytes : left;
        status = cp_safetensors_writer_write(&c->file, c->out, (size_t)bytes, err);
        if (status != CP_OK)
            return status;
        left -= bytes;
        release_chunk(c);
        cp_progress_update(&c->progress, c->file.written_bytes);
    }
    return CP_OK;
}

/* ---- the file
 * ------------------------------------------------------------------------------------ */

static void announce(conversion *c, size_t tensor) {
    const cp_source_tensor *t = &c->source->tensors[tensor];
    cp_storage storage = c->storages[tensor];
    size_t shape[3] = {t->rows, t->cols};
    if (cp_storage_is_quantized(storage)) {
        shape[0] = cp_quant_tiles(t->rows);
        shape[1] = cp_quant_supers(t->cols);
        shape[2] = cp_quant_super_bytes(cp_storage_quant(storage));
        cp_safetensors_writer_announce(&c->file, t->name, CP_U8, shape, 3);
    } else if (cp_kind_is_matrix(t->kind)) {
        cp_safetensors_writer_announce(&c->file, t->name,
                                       storage == CP_STORE_F32 ? CP_F32 : CP_BF16, shape, 2);
    } else {
        cp_safetensors_writer_announce(&c->file, t->name, CP_F32, &t->cols, 1);
    }
}

static cp_status convert_or_announce(conversion *c, bool vectors, bool announcing, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < c->source->n_tensors && status == CP_OK; i++) {
        if (cp_kind_is_matrix(c->source->tensors[i].kind) == vectors)
            continue;
        if (announcing)
            announce(c, i);
        else
            status = convert_tensor(c, i, err);
    }
    return status;
}

/* Matrices first: their sizes keep each of them on a cache line, whatever a vector's length is. */
static cp_status for_all_tensors(conversion *c, bool announcing, cp_error *err) {
    cp_status status = convert_or_announce(c, false, announcing, err);
    return status == CP_OK ? convert_or_announce(c, true, announcing, err) : status;
}

static void finish_hash(conversion *c) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(c->hash));
    for (size_t i = 0; i < sizeof digest.digest; i++)
        snprintf(c->report->source_hash + 2 * i, 3, "%02x", digest.digest[i]);
}

static void write_metadata(conversion *c) {
    cp_safetensors_writer_metadata(&c->file, "carepath_format", FORMAT);
    cp_safetensors_writer_metadata(&c->file, "carepath_version", CP_VERSION);
    cp_safetensors_writer_metadata(&c->file, "carepath_quant",
                                   cp_quant_level_name(c->options->level));
    if (c->source->origin[0])
        cp_safetensors_writer_metadata(&c->file, "carepath_source", c->source->origin);
    cp_safetensors_writer_blank(&c->file, "carepath_source_hash", CP_SOURCE_HASH_CHARS);
}

static cp_status write_weights(conversion *c, const cp_output_folder *folder, cp_error *err) {
    char path[CP_PATH_CAP];
    write_metadata(c);
    cp_status status = for_all_tensors(c, true, err);
    if (status == CP_OK)
        status = cp_output_folder_need(folder, c->file.announced_bytes + SMALL_FILES_BYTES, err);
    if (status == CP_OK)
        status = cp_path_join(folder->partial, "model.safetensors", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_safetensors_writer_begin(&c->file, path, err);
    if (status != CP_OK)
        return status;
    cp_progress_start(&c->progress, cp_quant_level_name(c->options->level),
                      c->file.announced_bytes);
    status = for_all_tensors(c, false, err);
    if (status != CP_OK)
        return status;
    finish_hash(c);
    c->report->file_bytes = 8 + c->file.header.n + c->file.written_bytes;
    status = cp_safetensors_writer_fill(&c->file, c->report->source_hash, err);
    if (status == CP_OK)
        status = cp_safetensors_writer_finish(&c->file, err);
    if (status == CP_OK)
        cp_progress_finish(&c->progress, c->file.written_bytes);
    return status;
}

/* What write_files has written must be what the engine will read: the same dimensions. */
static cp_status check_config(const conversion *c, const char *dir, cp_error *err) {
    cp_model_config written;
    cp_sampling sampling = {0};
    const cp_model_config *want = &c->source->config;
    cp_status status = cp_config_read(dir, &written, err);
    if (status == CP_OK)
        status = cp_config_read_generation(dir, &written, &sampling, err);
    if (status != CP_OK)
        return status;
    if (written.n_layers != want->n_layers || written.hidden_size != want->hidden_size ||
        written.ffn_size != want->ffn_size || written.vocab_size != want->vocab_size ||
        written.tied != want->tied || written.qk_norm != want->qk_norm ||
        cp_config_q_dim(&written) != cp_config_q_dim(want) ||
        cp_config_kv_dim(&written) != cp_config_kv_dim(want))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: the config.json written for it has other dimensions than its "
                            "tensors",
                            c->source->label);
    return CP_OK;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------ */

static cp_status allocate(conversion *c, cp_error *err) {
    size_t n_threads = c->options->n_threads ? c->options->n_threads : cp_sysinfo_cpus();
    size_t widest = 0, narrowest_unit = SIZE_MAX;
    c->storages = calloc(c->source->n_tensors, sizeof *c->storages);
    if (!c->storages)
        return cp_error_no_memory(err, "convert");
    cp_policy_choose(c->source, c->options->level, c->storages);
    c->out_cap = CHUNK_BYTES;
    for (size_t i = 0; i < c->source->n_tensors; i++) {
        size_t cols = c->source->tensors[i].cols, bytes = unit_bytes(c, i);
        widest = cols > widest ? cols : widest;
        c->out_cap = bytes > c->out_cap ? bytes : c->out_cap;
        narrowest_unit = bytes < narrowest_unit ? bytes : narrowest_unit;
    }
    c->units_cap = c->out_cap / narrowest_unit;
    c->out = cp_alloc_aligned(c->out_cap, 1);
    c->results = calloc(c->units_cap, sizeof *c->results);
    c->hash = XXH3_createState();
    cp_status status = cp_threads_create(n_threads, &c->threads, err);
    if (status != CP_OK)
        return status;
    c->workers = calloc(cp_threads_count(c->threads), sizeof *c->workers);
    if (!c->out || !c->results || !c->hash || !c->workers)
        return cp_error_no_memory(err, "convert");
    for (size_t i = 0; i < cp_threads_count(c->threads); i++) {
        c->workers[i].rows = cp_alloc_aligned(widest * UNIT_ROWS, sizeof(float));
        if (!c->workers[i].rows)
            return cp_error_no_memory(err, "convert");
    }
    return XXH3_128bits_reset(c->hash) == XXH_OK ? CP_OK : cp_error_no_memory(err, "convert");
}

static void release(conversion *c) {
    for (size_t i = 0; c->workers && i < cp_threads_count(c->threads); i++)
        free(c->workers[i].rows);
    free(c->workers);
    if (c->threads)
        cp_threads_free(c->threads);
    XXH3_freeState(c->hash);
    free(c->results);
    free(c->out);
    free(c->storages);
}

static void add_up(cp_convert_report *r) {
    for (size_t k = 0; k < CP_N_KINDS; k++) {
        for (size_t s = 0; s < CP_N_STORAGES; s++)
            r->total.n_stored[s] += r->kinds[k].n_stored[s];
        r->total.weights += r->kinds[k].weights;
        r->total.bytes += r->kinds[k].bytes;
        if (cp_kind_is_matrix((cp_tensor_kind)k)) {
            r->total.error += r->kinds[k].error;
            r->total.energy += r->kinds[k].energy;
        }
    }
}

cp_status cp_convert(const cp_source *source, const char *dst, const cp_convert_options *options,
                     cp_convert_report *report, cp_error *err) {
    uint64_t start = cp_clock_ns();
    conversion c = {.source = source, .options = options, .report = report};
    cp_output_folder folder;
    *report = (cp_convert_report){0};
    cp_safetensors_writer_init(&c.file);
    cp_status status = cp_output_folder_open(dst, options->force, &folder, err);
    if (status == CP_OK)
        status = allocate(&c, err);
    if (status == CP_OK)
        status = source->ops->write_files(source, folder.partial, err);
    if (status == CP_OK)
        status = check_config(&c, folder.partial, err);
    if (status == CP_OK)
        status = write_weights(&c, &folder, err);
    if (status == CP_OK)
        status = cp_output_folder_commit(&folder, err);
    cp_safetensors_writer_deinit(&c.file); /* before its folder goes */
    cp_output_folder_close(&folder);
    release(&c);
    add_up(report);
    report->seconds = cp_clock_ms_since(start) / 1e3;
    return status;
}
