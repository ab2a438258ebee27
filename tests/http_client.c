#include "tests/http_client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SERVERS 16
#define MAX_FDS     1024

static pid_t running[MAX_SERVERS];
static cp_strbuf unread[MAX_FDS]; /* by descriptor: read, but of a later answer */

static void kill_left_over(void) {
    for (int i = 0; i < MAX_SERVERS; i++)
        if (running[i] > 0)
            kill(running[i], SIGKILL);
}

static void remember(pid_t pid) {
    static bool registered;
    if (!registered)
        atexit(kill_left_over);
    registered = true;
    for (int i = 0; i < MAX_SERVERS; i++)
        if (running[i] == 0) {
            running[i] = pid;
            return;
        }
    fail_msg("too many servers");
}

static void forget(pid_t pid) {
    for (int i = 0; i < MAX_SERVERS; i++)
        if (running[i] == pid)
            running[i] = 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void write_text(const char *dir, const char *name, const char *text) {
    test_write_file(test_path(dir, name), text, strlen(text));
}

/* out/name becomes a link to data/name. */
static void link_data(const char *out, const char *name) {
    char *path = realpath(test_path("data", name), NULL);
    assert_non_null(path);
    assert_int_equal(symlink(path, test_path(out, name)), 0);
    free(path);
}

/* A fresh DATA_DIR with the real rules; its folder synthetic/ is empty. The knowledge base is read
 * at every start, so most servers have two documents of it. */
static void begin_data_folder(bool whole_knowledge, char out[TEST_DATA_CAP],
                              char synthetic[TEST_DATA_CAP + 16]) {
    snprintf(out, TEST_DATA_CAP, "%s", test_tmp_dir());
    link_data(out, "triage");
    if (whole_knowledge) {
        link_data(out, "knowledge");
    } else {
        assert_int_equal(mkdir(test_path(out, "knowledge"), 0755), 0);
        link_data(out, "knowledge/chest-pain.md");
        link_data(out, "knowledge/cough.md");
    }
    snprintf(synthetic, TEST_DATA_CAP + 16, "%s/synthetic", out);
    assert_int_equal(mkdir(synthetic, 0755), 0);
}

void test_data_folder(const char *patients, const char *encounters, const char *documents,
                      char out[TEST_DATA_CAP]) {
    char folder[TEST_DATA_CAP + 16];
    begin_data_folder(false, out, folder);
    write_text(folder, "patients.jsonl", patients);
    write_text(folder, "encounters.jsonl", encounters);
    write_text(folder, "documents.jsonl", documents);
    write_text(folder, "claims.jsonl", "");
    write_text(folder, "chat_logs.jsonl", "");
}

void test_data_copy(char out[TEST_DATA_CAP]) {
    static const char *const names[] = {"patients.jsonl", "encounters.jsonl", "claims.jsonl",
                                        "documents.jsonl", "chat_logs.jsonl"};
    char folder[TEST_DATA_CAP + 16];
    begin_data_folder(true, out, folder);
    for (size_t i = 0; i < CP_COUNT_OF(names); i++) {
        cp_strbuf text;
        cp_error err;
        cp_strbuf_init(&text, (size_t)4 << 20);
        assert_cp_ok(
            cp_file_read(test_path("data/synthetic", names[i]), text.max_bytes, &text, &err));
        test_write_file(test_path(folder, names[i]), cp_strbuf_text(&text), text.n);
        cp_strbuf_deinit(&text);
    }
}

/* A DATA_DIR with two patients. */
static const char *data_folder(void) {
    static char dir[TEST_DATA_CAP];
    if (!dir[0])
        test_data_folder(
            "{\"mrn\":\"MRN-001\",\"name\":\"" CANARY_NAME "\",\"phone\":\"" CANARY_PHONE "\","
            "\"date_of_birth\":\"1970-02-03\",\"sex\":\"female\"}\n"
            "{\"mrn\":\"MRN-002\",\"name\":\"Second Patient\",\"date_of_birth\":\"1990-01-01\","
            "\"sex\":\"male\"}\n",
            "",
            "{\"mrn\":\"MRN-001\",\"id\":\"D1\",\"date\":\"2024-01-01\",\"title\":\"Note\","
            "\"text\":\"Known for " CANARY_NOTE ".\"}\n",
            dir);
    return dir;
}

static void become_server(const char *const *env, const char *data, int out, int log) {
    static char data_dir[500];
    static char *const args[] = {(char *)CP_TEST_PROGRAM, (char *)"serve", NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, 1);
    dup2(log, 2);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    snprintf(data_dir, sizeof data_dir, "DATA_DIR=%s", data);
    putenv((char *)"LLM_MODE=mock");
    putenv((char *)"LOG_LEVEL=debug");
    putenv((char *)"PORT=0");
    putenv(data_dir);
    for (; env && *env; env++)
        putenv((char *)(uintptr_t)*env);
    execv(args[0], args);
    _exit(127);
}

/* "listening on http://127.0.0.1:PORT" is its first line. */
static int read_port(int out) {
    char line[2048];
    size_t n = 0;
    uint64_t start = cp_clock_ns();
    while (n < sizeof line - 1 && cp_clock_ms_since(start) < WAIT_S * 1e3) {
        struct pollfd look = {.fd = out, .events = POLLIN};
        if (poll(&look, 1, 100) <= 0)
            continue;
        ssize_t got = read(out, line + n, sizeof line - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        line[n] = '\0';
        int port;
        if (strchr(line, '\n') && sscanf(line, "listening on %*[htps]://127.0.0.1:%d", &port) == 1)
            return port;
    }
    return 0;
}

test_server test_server_start(const char *const *env) {
    test_server server = {0};
    const char *data = data_folder();
    snprintf(server.log_path, sizeof server.log_path, "%s", test_path(test_tmp_dir(), "log"));
    int out[2], log = open(server.log_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert_true(log >= 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0)
        become_server(env, data, out[1], log);
    remember(server.pid);
    close(out[1]);
    close(log);
    server.out = out[0];
    server.port = read_port(server.out);
    if (server.port == 0) {
        cp_strbuf text = test_server_log(&server);
        fail_msg("the server does not listen: %s", cp_strbuf_text(&text));
    }
    return server;
}

int test_server_stop(test_server *server, int signal) {
    int status = 0;
    if (signal)
        kill(server->pid, signal);
    uint64_t start = cp_clock_ns();
    pid_t got;
    while ((got = waitpid(server->pid, &status, WNOHANG)) == 0 &&
           cp_clock_ms_since(start) < WAIT_S * 1e3)
        usleep(2000);
    if (got == 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, &status, 0);
    }
    forget(server->pid);
    close(server->out);
    if (got == 0)
        fail_msg("the server did not end");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

cp_strbuf test_server_log(const test_server *server) {
    cp_error err;
    cp_strbuf text;
    assert_cp_ok(cp_file_read(server->log_path, (size_t)64 << 20, &text, &err));
    return text;
}

void test_server_await_ready(const test_server *server) {
    uint64_t start = cp_clock_ns();
    int status = 0;
    while (status != 200 && cp_clock_ms_since(start) < WAIT_S * 1e3) {
        test_reply reply = test_request(server, "GET", "/ready", NULL, NULL);
        status = reply.status;
        test_reply_free(&reply);
        if (status != 200)
            usleep(10000);
    }
    assert_int_equal(status, 200);
}

double test_server_metric(const test_server *server, const char *name) {
    test_reply reply = test_request(server, "GET", "/metrics", NULL, NULL);
    assert_int_equal(reply.status, 200);
    double value = 0;
    size_t n = strlen(name);
    for (const char *at = cp_strbuf_text(&reply.body); at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, n) == 0 && at[n] == ' ')
            value = strtod(at + n, NULL);
    }
    test_reply_free(&reply);
    return value;
}

void test_server_await_metric(const test_server *server, const char *name, double value) {
    uint64_t start = cp_clock_ns();
    double got = test_server_metric(server, name);
    while (got != value && cp_clock_ms_since(start) < WAIT_S * 1e3) {
        usleep(5000);
        got = test_server_metric(server, name);
    }
    if (got != value)
        fail_msg("%s is %g, expected %g", name, got, value);
}

/* ---- sockets --------------------------------------------------------------------------------- */

int test_connect(const test_server *server) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && fd < MAX_FDS);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cp_strbuf_deinit(&unread[fd]);
    cp_strbuf_init(&unread[fd], (size_t)16 << 20);
    return fd;
}

void test_disconnect(int fd) {
    cp_strbuf_deinit(&unread[fd]);
    close(fd);
}

bool test_send(int fd, const void *bytes, size_t n) {
    const char *at = bytes;
    while (n > 0) {
        ssize_t put = send(fd, at, n, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        n -= (size_t)put;
    }
    return true;
}

bool test_send_text(int fd, const char *text) {
    return test_send(fd, text, strlen(text));
}

/* Reads more into unread[fd]; false at the end, or when nothing came in time. */
static bool read_more(int fd, double seconds) {
    char chunk[16384];
    struct pollfd look = {.fd = fd, .events = POLLIN};
    if (poll(&look, 1, (int)(seconds * 1e3)) <= 0)
        return false;
    ssize_t got = recv(fd, chunk, sizeof chunk, 0);
    if (got <= 0)
        return false;
    cp_strbuf_append(&unread[fd], chunk, (size_t)got);
    return true;
}

bool test_closed_within(int fd, double seconds) {
    char chunk[16384];
    uint64_t start = cp_clock_ns();
    while (cp_clock_ms_since(start) < seconds * 1e3) {
        struct pollfd look = {.fd = fd, .events = POLLIN};
        if (poll(&look, 1, 20) > 0 && recv(fd, chunk, sizeof chunk, 0) <= 0)
            return true;
    }
    return false;
}

bool test_ends_cleanly(int fd) {
    char byte;
    struct pollfd look = {.fd = fd, .events = POLLIN};
    return poll(&look, 1, (int)(WAIT_S * 1e3)) > 0 && recv(fd, &byte, 1, 0) == 0;
}

static const char *find_header(const char *head, const char *name) {
    static char values[8][1024];
    static unsigned counter;
    size_t n = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at, "\r\n")) {
        at += 2;
        if (strncasecmp(at, name, n) != 0 || at[n] != ':')
            continue;
        at += n + 1;
        at += strspn(at, " ");
        char *value = values[counter++ % 8];
        snprintf(value, sizeof values[0], "%.*s", (int)strcspn(at, "\r"), at);
        return value;
    }
    return NULL;
}

test_reply test_receive_head(int fd) {
    test_reply reply = {0};
    cp_strbuf *in = &unread[fd];
    const char *end;
    cp_strbuf_init(&reply.head, (size_t)16 << 20);
    cp_strbuf_init(&reply.body, (size_t)16 << 20);
    while (!(end = strstr(cp_strbuf_text(in), "\r\n\r\n")))
        if (!read_more(fd, WAIT_S))
            return reply;
    cp_strbuf_append(&reply.head, in->data, (size_t)(end - in->data) + 2);
    cp_strbuf_consume(in, reply.head.n + 2);
    if (sscanf(reply.head.data, "HTTP/1.%*d %d", &reply.status) != 1)
        reply.status = -1;
    if (reply.status == 100) {
        test_reply_free(&reply);
        return test_receive_head(fd);
    }
    return reply;
}

/* Moves n bytes to `out`; false when the connection ends before, with what there is. */
static bool take(int fd, size_t n, cp_strbuf *out) {
    cp_strbuf *in = &unread[fd];
    while (in->n < n)
        if (!read_more(fd, WAIT_S))
            break;
    bool all = in->n >= n;
    if (!all)
        n = in->n;
    cp_strbuf_append(out, cp_strbuf_text(in), n);
    cp_strbuf_consume(in, n);
    return all;
}

bool test_receive_chunk(int fd, cp_strbuf *out, bool *whole) {
    cp_strbuf *in = &unread[fd];
    char *end;
    cp_strbuf mark;
    *whole = false;
    while (!strstr(cp_strbuf_text(in), "\r\n"))
        if (!read_more(fd, WAIT_S))
            return false;
    size_t n = strtoul(in->data, &end, 16);
    assert_memory_equal(end, "\r\n", 2);
    cp_strbuf_consume(in, (size_t)(end - in->data) + 2);
    cp_strbuf_init(&mark, 2);
    bool got = take(fd, n, out) && take(fd, 2, &mark);
    if (got)
        assert_string_equal(cp_strbuf_text(&mark), "\r\n");
    cp_strbuf_deinit(&mark);
    *whole = got && n == 0;
    return got && n > 0;
}

bool test_receive_some(int fd, cp_strbuf *out) {
    cp_strbuf *in = &unread[fd];
    if (in->n == 0 && !read_more(fd, WAIT_S))
        return false;
    cp_strbuf_append(out, in->data, in->n);
    cp_strbuf_clear(in);
    return true;
}

test_reply test_receive(int fd, bool is_head) {
    test_reply reply = test_receive_head(fd);
    if (reply.status == 0 || is_head)
        return reply;
    const char *length = find_header(reply.head.data, "Content-Length");
    if (length) {
        reply.cut = !take(fd, strtoul(length, NULL, 10), &reply.body);
    } else if (find_header(reply.head.data, "Transfer-Encoding")) {
        bool whole;
        while (test_receive_chunk(fd, &reply.body, &whole))
            continue;
        reply.cut = !whole;
    } else {
        while (test_receive_some(fd, &reply.body))
            continue;
    }
    reply.json = cJSON_ParseWithLength(cp_strbuf_text(&reply.body), reply.body.n);
    return reply;
}

void test_reply_free(test_reply *reply) {
    cp_strbuf_deinit(&reply->head);
    cp_strbuf_deinit(&reply->body);
    cJSON_Delete(reply->json);
    *reply = (test_reply){0};
}

const char *test_reply_header(const test_reply *reply, const char *name) {
    return find_header(cp_strbuf_text(&reply->head), name);
}

const char *test_reply_text(const test_reply *reply, const char *path) {
    char key[64];
    const cJSON *at = reply->json;
    while (*path) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        at = cJSON_GetObjectItemCaseSensitive(at, key);
        path += n + (path[n] == '.');
    }
    return cJSON_IsString(at) ? at->valuestring : "";
}

void assert_reply(const test_reply *reply, int status, const char *code) {
    if (reply->status != status || strcmp(test_reply_text(reply, "error.code"), code) != 0)
        fail_msg("expected %d %s, got %d: %s", status, code, reply->status,
                 cp_strbuf_text(&reply->body));
}

/* ---- whole requests -------------------------------------------------------------------------- */

test_reply test_request(const test_server *server, const char *method, const char *path,
                        const char *headers, const char *body) {
    cp_strbuf text;
    cp_strbuf_init(&text, (size_t)16 << 20);
    cp_strbuf_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, path,
                     headers ? headers : "");
    if (body)
        cp_strbuf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    cp_strbuf_printf(&text, "\r\n%s", body ? body : "");
    int fd = test_connect(server);
    (void)test_send(fd, text.data, text.n); /* it may answer before it has read all */
    test_reply reply = test_receive(fd, strcmp(method, "HEAD") == 0);
    test_disconnect(fd);
    cp_strbuf_deinit(&text);
    return reply;
}

test_reply test_triage(const test_server *server, const char *body) {
    return test_request(server, "POST", "/triage", "Content-Type: application/json\r\n", body);
}

const char *test_triage_bytes(const char *body) {
    static char text[8192];
    snprintf(text, sizeof text,
             "POST /triage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    return text;
}
