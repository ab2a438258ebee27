#include "hub/hub_pull.h"

#include "base/clock.h"
#include "base/mem.h"
#include "hub/hub_crew.h"
#include "hub/hub_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define USUAL_PARALLEL 4
#define SPARE_BYTES    ((uint64_t)64 << 20) /* left free on the disk */

typedef struct pull {
    const cp_hub_settings *settings;
    const cp_pull_options *options;
    const char *revision;
    cp_pull_report *report;
    cp_hub_cache cache;
    cp_hub_client client;
    atomic_bool stop;   /* never: stopping is the crew's */
    cp_hub_file *files; /* [n]: of the round that is being fetched */
    size_t n, cap;
    uint64_t before, total; /* bytes of earlier rounds; of all, 0 while unknown */
} pull;

/* ---- the report ------------------------------------------------------------------------------ */

static cp_status add_report(pull *p, const char *name, const char *hash, uint64_t size, bool there,
                            cp_error *err) {
    cp_pull_report *r = p->report;
    void *files = r->files;
    if (!cp_grow(&files, &r->cap, r->n_files + 1, sizeof *r->files))
        return cp_error_no_memory(err, "list of files");
    r->files = files;
    cp_pull_file *file = &r->files[r->n_files++];
    *file = (cp_pull_file){.size = size, .was_there = there};
    snprintf(file->name, sizeof file->name, "%s", name);
    snprintf(file->hash, sizeof file->hash, "%s", hash);
    r->bytes += size;
    return CP_OK;
}

/* Adds a file that the snapshot has; *there is false when it has not. */
static cp_status report_present(pull *p, const char *name, bool *there, cp_error *err) {
    char hash[CP_HUB_HASH_CAP];
    uint64_t size;
    *there = cp_hub_cache_has(&p->cache, p->report->commit, name, &size, hash);
    return *there ? add_report(p, name, hash, size, true, err) : CP_OK;
}

/* A copy that is whole. */
static cp_status report_copy(pull *p, cp_error *err) {
    size_t n_parts;
    const cp_hub_part *parts = cp_hub_parts(&n_parts);
    cp_hub_shards shards;
    bool there;
    cp_status status = CP_OK;
    for (size_t i = 0; i < n_parts && status == CP_OK; i++)
        status = report_present(p, parts[i].name, &there, err);
    if (status == CP_OK)
        status = cp_hub_weights(&p->cache, p->report->commit, &shards, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < shards.n && status == CP_OK; i++)
        status = report_present(p, shards.names[i], &there, err);
    cp_hub_shards_deinit(&shards);
    return status;
}

/* ---- one round of files ---------------------------------------------------------------------- */

static cp_status plan_file(pull *p, const char *name, const cp_hub_fields *fields, cp_error *err) {
    void *files = p->files;
    if (!fields->hash[0] || !fields->has_size)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "the hub does not say the %s of %s in %s: what comes could not be "
                            "checked; is HF_ENDPOINT (%s) a hub?",
                            fields->hash[0] ? "size" : "hash", name, p->options->repo,
                            p->settings->endpoint);
    if (fields->commit[0] && strcmp(fields->commit, p->report->commit) != 0)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s changed on the hub while it was asked for %s; pull again",
                            p->options->repo, name);
    if (!cp_grow(&files, &p->cap, p->n + 1, sizeof *p->files))
        return cp_error_no_memory(err, "list of files");
    p->files = files;
    cp_hub_file *file = &p->files[p->n++];
    *file = (cp_hub_file){.size = fields->size};
    snprintf(file->name, sizeof file->name, "%s", name);
    memcpy(file->hash, fields->hash, sizeof file->hash);
    atomic_init(&file->done, cp_hub_file_present(&p->cache, file));
    return CP_OK;
}

static bool goes_on(pull *p, uint64_t done) {
    const cp_pull_options *o = p->options;
    return !o->on_progress || o->on_progress(o->user, p->before + done, p->total);
}

static bool on_progress(void *user, uint64_t done) {
    return goes_on(user, done);
}

/* Asks what a file is, unless the snapshot has it; an optional one may be missing. */
static cp_status look_for(pull *p, const char *name, bool optional, cp_error *err) {
    bool there;
    cp_hub_answer answer;
    const cp_hub_place place = {p->options->repo, p->report->commit, name};
    cp_status status = report_present(p, name, &there, err);
    if (status != CP_OK || there)
        return status;
    if (!goes_on(p, 0))
        return cp_error_set(err, CP_ERR_CANCELLED, "the pull was stopped");
    status = cp_hub_head(&p->client, &place, &answer, err);
    bool lacks = optional && status == CP_ERR_NOT_FOUND;
    if (status == CP_OK)
        status = plan_file(p, name, &answer.fields, err);
    cp_hub_answer_deinit(&answer);
    return lacks ? CP_OK : status;
}

static uint64_t bytes_missing(const pull *p) {
    uint64_t missing = 0;
    for (size_t i = 0; i < p->n; i++)
        missing += p->files[i].size - atomic_load(&p->files[i].done);
    return missing;
}

static cp_status check_disk(const pull *p, cp_error *err) {
    struct statvfs disk;
    uint64_t need = bytes_missing(p);
    if (need == 0 || statvfs(p->cache.dir, &disk) != 0)
        return CP_OK;
    double unit = disk.f_frsize ? (double)disk.f_frsize : 1, have = (double)disk.f_bavail * unit;
    if ((double)need + (double)SPARE_BYTES <= have)
        return CP_OK;
    return cp_error_set(err, CP_ERR_LIMIT,
                        "%s: %s needs %.2f GB of disk, %.2f GB are free; make room, or set HF_HOME "
                        "to a folder on another disk",
                        p->cache.dir, p->options->repo, (double)need / 1e9, have / 1e9);
}

/* Fetches what was planned and adds it to the report. */
static cp_status fetch_round(pull *p, cp_error *err) {
    const cp_hub_crew crew = {
        .settings = p->settings,
        .limits = p->client.limits,
        .cache = &p->cache,
        .repo = p->options->repo,
        .commit = p->report->commit,
        .n_threads = p->options->n_parallel ? p->options->n_parallel : USUAL_PARALLEL,
        .on_progress = on_progress,
        .user = p,
    };
    cp_status status = check_disk(p, err);
    uint64_t missing = bytes_missing(p);
    if (status == CP_OK)
        status = cp_hub_crew_fetch(&crew, p->files, p->n, err);
    for (size_t i = 0; i < p->n && status == CP_OK; i++) {
        const cp_hub_file *file = &p->files[i];
        p->before += file->size;
        status = add_report(p, file->name, file->hash, file->size, file->was_there, err);
    }
    if (status == CP_OK)
        p->report->fetched_bytes += missing;
    p->n = 0;
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static cp_status fetch_small(pull *p, cp_error *err) {
    size_t n_parts;
    const cp_hub_part *parts = cp_hub_parts(&n_parts);
    cp_status status = CP_OK;
    for (size_t i = 0; i < n_parts && status == CP_OK; i++)
        status = look_for(p, parts[i].name, parts[i].optional, err);
    return status == CP_OK ? fetch_round(p, err) : status;
}

static cp_status fetch_weights(pull *p, cp_error *err) {
    cp_hub_shards shards;
    cp_status status = cp_hub_weights(&p->cache, p->report->commit, &shards, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < shards.n && status == CP_OK; i++)
        status = look_for(p, shards.names[i], false, err);
    cp_hub_shards_deinit(&shards);
    for (size_t i = 0; i < p->n && status == CP_OK; i++)
        p->total += p->files[i].size;
    p->total += p->before;
    return status == CP_OK ? fetch_round(p, err) : status;
}

/* The commit that the revision means at the hub. *gone: there is no hub to ask. */
static cp_status ask_commit(pull *p, bool *gone, cp_error *err) {
    cp_hub_answer answer;
    const cp_hub_place place = {p->options->repo, p->revision, "config.json"};
    cp_status status = cp_hub_head(&p->client, &place, &answer, err);
    int code = answer.http.status;
    *gone = status != CP_OK &&
            (answer.http.end == CP_HTTP_NO_CONNECTION || answer.http.end == CP_HTTP_TIMED_OUT);
    p->report->needs_token = (code == 401 || code == 403) && !*p->settings->token;
    if (status == CP_OK && !answer.fields.commit[0])
        status = cp_error_set(err, CP_ERR_FORMAT,
                              "%s does not answer as a hub does (no X-Repo-Commit for %s); check "
                              "HF_ENDPOINT",
                              p->settings->endpoint, p->options->repo);
    if (status == CP_OK)
        memcpy(p->report->commit, answer.fields.commit, sizeof p->report->commit);
    cp_hub_answer_deinit(&answer);
    return status;
}

/* A whole copy of what the revision meant when somebody last looked. */
static bool have_copy(pull *p) {
    return cp_hub_cache_commit(&p->cache, p->revision, p->report->commit) &&
           cp_hub_snapshot_is_whole(&p->cache, p->report->commit);
}

static cp_status pull_online(pull *p, cp_error *err) {
    bool gone = false;
    cp_status status = ask_commit(p, &gone, err);
    if (gone && have_copy(p)) {
        p->report->unreachable = true;
        return report_copy(p, err);
    }
    if (status == CP_OK)
        status = cp_hub_cache_make(&p->cache, err);
    if (status == CP_OK)
        status = fetch_small(p, err);
    if (status == CP_OK)
        status = fetch_weights(p, err);
    if (status == CP_OK && strcmp(p->revision, p->report->commit) != 0)
        status = cp_hub_cache_set_commit(&p->cache, p->revision, p->report->commit, err);
    if (status == CP_OK)
        cp_hub_cache_sweep(&p->cache);
    return status;
}

static cp_status pull_model(pull *p, cp_error *err) {
    bool is_commit = cp_hub_is_commit((cp_str){p->revision, strlen(p->revision)});
    cp_status status;
    if ((p->settings->offline || is_commit) && have_copy(p)) {
        p->report->asked_nobody = true;
        status = report_copy(p, err);
    } else if (p->settings->offline) {
        status =
            cp_error_set(err, CP_ERR_NOT_FOUND,
                         "HF_HUB_OFFLINE is set and %s at %s is not (or not whole) in %s; pull "
                         "it without HF_HUB_OFFLINE, or set HF_HOME to where it is",
                         p->options->repo, p->revision, p->settings->cache);
    } else {
        status = pull_online(p, err);
    }
    return status == CP_OK
               ? cp_hub_cache_snapshot(&p->cache, p->report->commit, p->report->dir, err)
               : status;
}

cp_status cp_pull(const cp_hub_settings *settings, const cp_pull_options *options,
                  cp_pull_report *report, cp_error *err) {
    uint64_t start = cp_clock_ns();
    pull p = {.settings = settings,
              .options = options,
              .revision = options->revision ? options->revision : "main",
              .report = report};
    *report = (cp_pull_report){.n_files = 0};
    cp_status status = cp_hub_check_repo(options->repo, err);
    if (status == CP_OK)
        status = cp_hub_check_revision(p.revision, err);
    if (status == CP_OK)
        status = cp_hub_cache_open(settings->cache, options->repo, &p.cache, err);
    if (status == CP_OK)
        status =
            cp_hub_client_init(settings, options->limits ? options->limits : &cp_hub_usual_limits,
                               &p.stop, &p.client, err);
    if (status == CP_OK)
        status = pull_model(&p, err);
    cp_hub_client_deinit(&p.client);
    free(p.files);
    report->seconds = cp_clock_ms_since(start) / 1e3;
    return status;
}

void cp_pull_report_deinit(cp_pull_report *report) {
    free(report->files);
    report->files = NULL;
    report->n_files = report->cap = 0;
}

bool cp_pull_find(const cp_hub_settings *settings, const char *repo, const char *revision,
                  char dir[CP_PATH_CAP]) {
    cp_hub_cache cache;
    char commit[CP_HUB_COMMIT_CAP];
    revision = revision ? revision : "main";
    return cp_hub_check_repo(repo, NULL) == CP_OK &&
           cp_hub_check_revision(revision, NULL) == CP_OK &&
           cp_hub_cache_open(settings->cache, repo, &cache, NULL) == CP_OK &&
           cp_hub_cache_commit(&cache, revision, commit) &&
           cp_hub_snapshot_is_whole(&cache, commit) &&
           cp_hub_cache_snapshot(&cache, commit, dir, NULL) == CP_OK;
}
