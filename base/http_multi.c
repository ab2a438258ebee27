/* libcurl's multi interface driven by sockets: libcurl says which descriptors to watch and when it
 * wants to be called, epoll and a timerfd do the waiting. */
#include "base/http_multi.h"

#include "base/clock.h"
#include "base/http_transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NEVER      UINT64_MAX
#define MAX_EVENTS 64

struct cp_http_flight {
    cp_http_transfer transfer; /* its handle is kept for the next request */
    cp_http_answer answer;
    cp_http_on_done on_done;
    void *user;
    cp_http_flight *next_free;
    bool under_way;
};

struct cp_http_multi {
    CURLM *curl;
    int epoll, timer;
    uint64_t curl_wants_ns;  /* when libcurl wants to be called; NEVER */
    cp_http_flight *flights; /* [max_flights] */
    cp_http_flight *free_list;
    size_t max_flights, n_flights;
    bool watch_failed;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *watched) {
    (void)easy;
    cp_http_multi *m = user;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(m->epoll, EPOLL_CTL_DEL, fd, NULL); /* may be closed already */
        curl_multi_assign(m->curl, fd, NULL);
        return 0;
    }
    struct epoll_event event = {.data.fd = fd};
    event.events = (what & CURL_POLL_IN ? (unsigned)EPOLLIN : 0) |
                   (what & CURL_POLL_OUT ? (unsigned)EPOLLOUT : 0);
    if (epoll_ctl(m->epoll, watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
        m->watch_failed = true;
    curl_multi_assign(m->curl, fd, m); /* anything that is not NULL: it is watched */
    return 0;
}

static int on_timer(CURLM *curl, long ms, void *user) {
    (void)curl;
    cp_http_multi *m = user;
    m->curl_wants_ns = ms < 0 ? NEVER : cp_clock_ns() + (uint64_t)ms * 1000000u;
    return 0;
}

static bool open_waiting(cp_http_multi *m) {
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = m->timer};
    return m->epoll >= 0 && m->timer >= 0 &&
           epoll_ctl(m->epoll, EPOLL_CTL_ADD, m->timer, &event) == 0;
}

static cp_status prepare(cp_http_multi *m, cp_error *err) {
    if (!open_waiting(m))
        return cp_error_set(err, CP_ERR_IO, "cannot wait for sockets: %s", strerror(errno));
    m->flights = calloc(m->max_flights, sizeof *m->flights);
    if (!m->flights)
        return cp_error_no_memory(err, "HTTP requests");
    for (size_t i = m->max_flights; i-- > 0; m->free_list = &m->flights[i])
        m->flights[i].next_free = m->free_list;
    /* The first handle also initialises libcurl. */
    cp_status status = cp_http_transfer_create(&m->flights[0].transfer, err);
    if (status != CP_OK)
        return status;
    m->curl = curl_multi_init();
    if (!m->curl || curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m) != CURLM_OK ||
        curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
        curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m) != CURLM_OK ||
        curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)m->max_flights) != CURLM_OK)
        return cp_error_no_memory(err, "HTTP requests");
    return CP_OK;
}

cp_status cp_http_multi_create(size_t max_flights, cp_http_multi **out, cp_error *err) {
    *out = NULL;
    cp_http_multi *m = calloc(1, sizeof *m);
    if (!m)
        return cp_error_no_memory(err, "HTTP requests");
    m->epoll = m->timer = -1;
    m->curl_wants_ns = NEVER;
    m->max_flights = max_flights > 0 ? max_flights : 1;
    cp_status status = prepare(m, err);
    if (status == CP_OK)
        *out = m;
    else
        cp_http_multi_free(m);
    return status;
}

/* Back to the free ones. */
static void release(cp_http_multi *m, cp_http_flight *flight) {
    cp_http_answer_deinit(&flight->answer);
    flight->under_way = false;
    flight->next_free = m->free_list;
    m->free_list = flight;
    m->n_flights--;
}

void cp_http_multi_free(cp_http_multi *m) {
    if (!m)
        return;
    for (size_t i = 0; m->flights && i < m->max_flights; i++) {
        if (m->flights[i].under_way)
            cp_http_multi_cancel(m, &m->flights[i]);
        cp_http_transfer_destroy(&m->flights[i].transfer);
    }
    if (m->curl)
        curl_multi_cleanup(m->curl);
    if (m->epoll >= 0)
        close(m->epoll);
    if (m->timer >= 0)
        close(m->timer);
    free(m->flights);
    free(m);
}

static cp_status curl_failed(cp_error *err, CURLMcode code) {
    return cp_error_set(err, code == CURLM_OUT_OF_MEMORY ? CP_ERR_NO_MEMORY : CP_ERR_IO,
                        "HTTP requests: %s", curl_multi_strerror(code));
}

cp_status cp_http_multi_start(cp_http_multi *m, const cp_http_call *call, cp_http_on_done on_done,
                              void *user, cp_http_flight **out, cp_error *err) {
    cp_http_flight *flight = m->free_list;
    cp_status status = CP_OK;
    *out = NULL;
    if (!flight)
        return cp_error_set(err, CP_ERR_BUSY, "%zu HTTP requests are under way", m->max_flights);
    if (!flight->transfer.easy)
        status = cp_http_transfer_create(&flight->transfer, err);
    if (status != CP_OK)
        return status;
    m->free_list = flight->next_free;
    m->n_flights++;
    flight->on_done = on_done;
    flight->user = user;
    status = cp_http_transfer_begin(&flight->transfer, call, &flight->answer, err);
    CURLMcode code =
        status == CP_OK ? curl_multi_add_handle(m->curl, flight->transfer.easy) : CURLM_OK;
    if (code != CURLM_OK)
        status = curl_failed(err, code);
    if (status != CP_OK) {
        release(m, flight);
        return status;
    }
    flight->under_way = true;
    *out = flight;
    return CP_OK;
}

void cp_http_multi_cancel(cp_http_multi *m, cp_http_flight *flight) {
    curl_multi_remove_handle(m->curl, flight->transfer.easy);
    release(m, flight);
}

size_t cp_http_multi_n_flights(const cp_http_multi *m) {
    return m->n_flights;
}

static void finish(cp_http_multi *m, CURL *easy, CURLcode code) {
    void *owner = NULL;
    cp_error err;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &owner);
    cp_http_flight *flight = owner; /* the transfer is its first member */
    curl_multi_remove_handle(m->curl, easy);
    cp_http_transfer_end(&flight->transfer, code, &err); /* answer.end says it */
    flight->under_way = false;                           /* on_done cannot cancel it any more */
    flight->on_done(flight->user, &flight->answer);
    release(m, flight);
}

static cp_status act(cp_http_multi *m, curl_socket_t fd, int what, cp_error *err) {
    int running;
    CURLMcode code = curl_multi_socket_action(m->curl, fd, what, &running);
    return code == CURLM_OK ? CP_OK : curl_failed(err, code);
}

/* Wakes epoll at that moment. */
static void set_timer(cp_http_multi *m, uint64_t ns) {
    struct itimerspec when = {.it_value = {0, 0}};
    if (ns != NEVER) {
        when.it_value.tv_sec = (time_t)(ns / 1000000000u);
        when.it_value.tv_nsec = (long)(ns % 1000000000u);
        if (ns == 0)
            when.it_value.tv_nsec = 1; /* all zero would turn it off */
    }
    (void)timerfd_settime(m->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static cp_status handle_events(cp_http_multi *m, const struct epoll_event *events, int n,
                               cp_error *err) {
    cp_status status = CP_OK;
    for (int i = 0; i < n && status == CP_OK; i++) {
        unsigned got = events[i].events;
        int what = (got & EPOLLIN ? CURL_CSELECT_IN : 0) | (got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (got & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        if (events[i].data.fd != m->timer)
            status = act(m, events[i].data.fd, what, err);
    }
    if (status == CP_OK && cp_clock_ns() >= m->curl_wants_ns) {
        m->curl_wants_ns = NEVER; /* libcurl sets it again when it wants more */
        status = act(m, CURL_SOCKET_TIMEOUT, 0, err);
    }
    return status;
}

cp_status cp_http_multi_wait(cp_http_multi *m, uint64_t until_ns, cp_error *err) {
    struct epoll_event events[MAX_EVENTS];
    set_timer(m, until_ns < m->curl_wants_ns ? until_ns : m->curl_wants_ns);
    int n = epoll_wait(m->epoll, events, MAX_EVENTS, -1);
    if (n < 0 && errno != EINTR)
        return cp_error_set(err, CP_ERR_IO, "cannot wait for sockets: %s", strerror(errno));
    cp_status status = handle_events(m, events, n > 0 ? n : 0, err);
    if (status == CP_OK && m->watch_failed)
        status = cp_error_set(err, CP_ERR_IO, "cannot watch a socket: %s", strerror(errno));
    CURLMsg *message;
    for (int left; (message = curl_multi_info_read(m->curl, &left));)
        if (message->msg == CURLMSG_DONE)
            finish(m, message->easy_handle, message->data.result);
    return status;
}
