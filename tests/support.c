/* Files, programs and numbers for the tests. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FILE ((size_t)64 << 20)
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define RUN_LIMIT_S 400.0 /* slow, and CI runs both side by side */
#else
#define RUN_LIMIT_S 120.0
#endif

static cp_strbuf read_file(const char *path) {
    cp_error err;
    cp_strbuf text;
    assert_cp_ok(cp_file_read(path, MAX_FILE, &text, &err));
    return text;
}

cJSON *test_read_json(const char *path) {
    cp_strbuf text = read_file(path);
    cJSON *tree = cJSON_ParseWithLength(cp_strbuf_text(&text), text.n);
    if (!tree)
        fail_msg("%s: not JSON", path);
    cp_strbuf_deinit(&text);
    return tree;
}

cJSON *test_read_jsonl(const char *path) {
    cp_strbuf text = read_file(path);
    cJSON *lines = cJSON_CreateArray();
    for (char *line = text.data, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        size_t n = end ? (size_t)(end - line) : strlen(line);
        if (n > 0) {
            cJSON *value = cJSON_ParseWithLength(line, n);
            if (!value)
                fail_msg("%s: a line is not JSON", path);
            cJSON_AddItemToArray(lines, value);
        }
        if (!end)
            break;
    }
    cp_strbuf_deinit(&text);
    return lines;
}

unsigned char *test_base64(const char *text, size_t *n) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *out = malloc(strlen(text) + 1);
    uint32_t bits = 0;
    unsigned n_bits = 0;
    *n = 0;
    assert_non_null(out);
    for (; *text && *text != '='; text++) {
        const char *at = strchr(letters, *text);
        assert_non_null(at);
        bits = bits << 6 | (uint32_t)(at - letters);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[(*n)++] = (unsigned char)(bits >> n_bits);
        }
    }
    return out;
}

static char tmp_root[256];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void remove_tmp(void) {
    nftw(tmp_root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_tmp_dir(void) {
    static char folders[8][300];
    static unsigned counter;
    if (!tmp_root[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(tmp_root, sizeof tmp_root, "%s/carepath-tests-XXXXXX", base ? base : "/tmp");
        assert_non_null(mkdtemp(tmp_root));
        atexit(remove_tmp);
    }
    char *folder = folders[counter % 8];
    snprintf(folder, sizeof folders[0], "%s/%u", tmp_root, counter++);
    assert_int_equal(mkdir(folder, 0755), 0);
    return folder;
}

const char *test_path(const char *dir, const char *name) {
    static char paths[8][CP_PATH_CAP];
    static unsigned counter;
    char *path = paths[counter++ % 8];
    snprintf(path, CP_PATH_CAP, "%s/%s", dir, name);
    return path;
}

void test_write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

const char *test_thinking_folder(void) {
    static char dir[400];
    cp_error err;
    cp_strbuf text;
    if (dir[0])
        return dir;
    char *real = realpath(TEST_HYBRID "/tokenizer.json", NULL);
    assert_non_null(real);
    snprintf(dir, sizeof dir, "%s", test_tmp_dir());
    assert_int_equal(symlink(real, test_path(dir, "tokenizer.json")), 0);
    free(real);
    assert_cp_ok(
        cp_file_read(TEST_HYBRID "/chat_template_thinking_2507.jinja", 65536, &text, &err));
    test_write_file(test_path(dir, "chat_template.jinja"), text.data, text.n);
    cp_strbuf_deinit(&text);
    return dir;
}

/* In the child: the pipes become the standard streams and the program starts. */
static void become(const char *const *argv, const char *const *env, int in, int out, int error) {
    dup2(in, 0);
    dup2(out, 1);
    dup2(error, 2);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    for (; env && *env; env++)
        putenv((char *)*env);
    const char *program = argv[0] ? argv[0] : CP_TEST_PROGRAM;
    const char *args[64] = {program};
    for (int i = 1; i < 63 && argv[i]; i++)
        args[i] = argv[i];
    execvp(program, (char *const *)args);
    _exit(127);
}

/* Feeds `input` and collects both outputs until the child has closed them. */
static void pump(test_run *run, int in, int out, int error, const char *input, pid_t pid) {
    size_t left = input ? strlen(input) : 0;
    uint64_t start = cp_clock_ns();
    struct pollfd fds[3] = {{in, POLLOUT, 0}, {out, POLLIN, 0}, {error, POLLIN, 0}};
    if (left == 0) {
        close(in);
        fds[0].fd = -1;
    }
    while (fds[1].fd >= 0 || fds[2].fd >= 0) {
        if (poll(fds, 3, 1000) < 0 && errno != EINTR)
            break;
        if (cp_clock_ms_since(start) > RUN_LIMIT_S * 1e3)
            kill(pid, SIGKILL);
        if (fds[0].fd >= 0 && fds[0].revents) {
            ssize_t put = write(in, input, left);
            if (put > 0) {
                input += put;
                left -= (size_t)put;
            }
            if (put < 0 || left == 0) {
                close(in);
                fds[0].fd = -1;
            }
        }
        for (int i = 1; i < 3; i++) {
            char chunk[16384];
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            ssize_t got = read(fds[i].fd, chunk, sizeof chunk);
            if (got > 0)
                cp_strbuf_append(i == 1 ? &run->out : &run->err, chunk, (size_t)got);
            else
                fds[i].fd = -1;
        }
    }
    if (fds[0].fd >= 0)
        close(in);
}

test_run test_run_program(const char *const *argv, const char *const *env, const char *input) {
    test_run run = {0};
    cp_strbuf_init(&run.out, MAX_FILE);
    cp_strbuf_init(&run.err, MAX_FILE);
    int in[2], out[2], error[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(error), 0);
    uint64_t start = cp_clock_ns();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        become(argv, env, in[0], out[1], error[1]);
    close(in[0]);
    close(out[1]);
    close(error[1]);
    pump(&run, in[1], out[0], error[0], input, pid);
    close(out[0]);
    close(error[0]);
    int status = 0;
    struct rusage usage;
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    run.max_rss_kib = usage.ru_maxrss;
    run.seconds = cp_clock_ms_since(start) / 1e3;
    return run;
}

static long status_kib(const char *key) {
    char line[256];
    long kib = 0;
    FILE *in = fopen("/proc/self/status", "r");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    if (in)
        fclose(in);
    return kib;
}

static long peak_from_kib; /* 0: cannot be told */

void test_peak_begin(void) {
    FILE *out = fopen("/proc/self/clear_refs", "w"); /* 5: the peak is what is held now */
    bool done = out && fputs("5", out) >= 0;
    if (out)
        done &= fclose(out) == 0;
    peak_from_kib = done ? status_kib("VmRSS:") : 0;
}

void test_peak_within(long mib) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)mib;
#else
    long more = status_kib("VmHWM:") - peak_from_kib;
    if (peak_from_kib && more > mib * 1024)
        fail_msg("%ld KiB more memory, at most %ld MiB", more, mib);
#endif
}

void test_run_free(test_run *run) {
    cp_strbuf_deinit(&run->out);
    cp_strbuf_deinit(&run->err);
}

uint64_t test_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

cJSON *test_run_json(const test_run *run) {
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run->out));
    if (run->exit_code != 0 || !tree)
        fail_msg("exit %d, stdout %.200s, stderr %.400s", run->exit_code, cp_strbuf_text(&run->out),
                 cp_strbuf_text(&run->err));
    return tree;
}

void test_append_times(cp_strbuf *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        cp_strbuf_puts(out, text);
}

/* ---- models ---------------------------------------------------------------------------------- */

const char *test_quantized(const char *source, const char *level) {
    static struct {
        char key[64], dir[300];
    } made[16];
    char key[64], from[256];
    size_t i = 0;
    snprintf(key, sizeof key, "%s %s", source, level);
    while (made[i].key[0] && strcmp(made[i].key, key) != 0)
        assert_true(++i < sizeof made / sizeof made[0]);
    if (made[i].key[0])
        return made[i].dir;
    snprintf(from, sizeof from, GOLDEN "/models/%s", source);
    snprintf(made[i].dir, sizeof made[i].dir, "%s/%s", test_tmp_dir(), level);
    test_run run = test_run_program(
        (const char *[]){NULL, "convert", from, made[i].dir, "--quant", level, NULL}, NULL, NULL);
    if (run.exit_code != 0)
        fail_msg("convert %s to %s: %s", from, made[i].dir, cp_strbuf_text(&run.err));
    test_run_free(&run);
    strcpy(made[i].key, key);
    return made[i].dir;
}

static void link_file(const char *from, const char *to, const char *name) {
    char source[600], here[400];
    assert_non_null(from[0] == '/' ? strcpy(here, "") : getcwd(here, sizeof here));
    snprintf(source, sizeof source, "%s%s%s/%s", here, *here ? "/" : "", from, name);
    assert_int_equal(symlink(source, test_path(to, name)), 0);
}

/* The golden tokenizers are too small to have tokens for yes and no: theirs with two merges more.
 */
const char *test_reranker_folder(const char *from) {
    static int n_made;
    char name[32];
    snprintf(name, sizeof name, "reranker-%d", n_made++);
    static char dirs[4][300];
    char *dir = dirs[n_made % 4];
    snprintf(dir, sizeof dirs[0], "%s/%s", test_tmp_dir(), name);
    assert_int_equal(mkdir(dir, 0700), 0);
    link_file(from, dir, "config.json");
    link_file(from, dir, "model.safetensors");
    cJSON *tokenizer = test_read_json(test_path(from, "tokenizer.json"));
    cJSON *model = cJSON_GetObjectItem(tokenizer, "model");
    static const char *const merges[2][2] = {{"y", "es"}, {"n", "o"}};
    for (size_t i = 0; i < 2; i++)
        cJSON_AddItemToArray(cJSON_GetObjectItem(model, "merges"),
                             cJSON_CreateStringArray(merges[i], 2));
    cJSON_AddNumberToObject(cJSON_GetObjectItem(model, "vocab"), "yes", 1016);
    cJSON_AddNumberToObject(cJSON_GetObjectItem(model, "vocab"), "no", 1017);
    char *text = cJSON_PrintUnformatted(tokenizer);
    test_write_file(test_path(dir, "tokenizer.json"), text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(tokenizer);
    return dir;
}
