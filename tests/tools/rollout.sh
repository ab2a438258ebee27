#!/bin/sh
# A rollout, a rollback and a drain under load: real server processes behind a proxy (Debian's haproxy), which
# stands for a cluster's Service. No request may be lost: each is answered with 200, by a model that was not
# interrupted (the tiny one talks nonsense until its tokens are spent: "cut_off").
#
#   sh tests/tools/rollout.sh
#
# BUILD=folder of the program (default build/release). Servers are replaced as deploy/k8s tells the cluster to:
# the new one is ready first, then the old one leaves the proxy (endpoints, preStop) and gets SIGTERM. The drain
# at the end comes without warning: the proxy finds out by /ready and by 503. At last a server is killed, which
# must lose requests: else this test would see nothing. Stops only what it started.
set -eu
carepath=${BUILD:-build/release}/carepath
work=$(mktemp -d)
proxy=
clients=
servers=

fail() {
    echo "rollout: $*" >&2
    exit 1
}

finish() {
    touch "$work/stop"
    for pid in $servers $proxy; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    for pid in $clients; do # without a proxy their last request ends at once
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

[ -x "$carepath" ] || fail "$carepath is missing; run make build first"
command -v haproxy >/dev/null || sh tests/tools/deps.sh haproxy
sh tests/tools/deps.sh socat curl jq

# ---- the proxy -----------------------------------------------------------------------------------
start_proxy() {
    for port in 28002 28102 28202 28302; do
        cat >"$work/haproxy.cfg" <<CONFIG
global
    stats socket $work/admin level admin
    maxconn 200
    noreuseport
defaults
    mode http
    timeout connect 10s
    timeout check 10s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 10s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response 503
frontend all
    bind 127.0.0.1:$port
    default_backend chat-api
backend chat-api
    balance roundrobin
    option httpchk GET /ready
    http-check expect status 200
    default-server check inter 200ms fall 1 rise 1
    server a 127.0.0.1:1
    server b 127.0.0.1:1
    server c 127.0.0.1:1
CONFIG
        haproxy -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
        proxy=$!
        for _ in $(seq 300); do # it runs when it answers; a port that is taken ends it
            kill -0 $proxy 2>/dev/null || break
            if admin 'show info' 2>/dev/null && [ -s "$work/admin.out" ]; then break 2; fi
            sleep 0.1
        done
        kill $proxy 2>/dev/null || true
        wait $proxy 2>/dev/null || true
        proxy=
    done
    [ -n "$proxy" ] || { cat "$work/haproxy.log" >&2; fail "the proxy does not start"; }
    url=http://127.0.0.1:$port
}

admin() {
    echo "$1" | socat - "UNIX-CONNECT:$work/admin" >"$work/admin.out"
}

state() { # UP, DOWN, DRAIN, MAINT ... of a slot
    admin 'show stat'
    awk -F, -v slot="$1" '$1 == "chat-api" && $2 == slot {print $18}' "$work/admin.out"
}

await_state() { # SLOT PATTERN
    for _ in $(seq 600); do
        # shellcheck disable=SC2254
        case $(state "$1") in $2) return 0 ;; esac
        sleep 0.05
    done
    fail "the proxy calls $1 $(state "$1"), expected $2"
}

# ---- servers -------------------------------------------------------------------------------------
# start SLOT VERSION: a server in a slot, not returned before it is ready and in the proxy's rotation.
start() {
    : >"$work/$1.out"
    LLM_MODE=$2 MODEL_CACHE_DIR=$work/models PORT=0 THREADS=1 MAX_NEW_TOKENS=150 \
        "$carepath" serve >"$work/$1.out" 2>"$work/$1.err" &
    eval "pid_$1=$!"
    servers="$servers $!"
    at=
    for _ in $(seq 600); do
        at=$(sed -n 's/^listening on http:..127.0.0.1://p' "$work/$1.out")
        [ -z "$at" ] || break
        sleep 0.05
    done
    [ -n "$at" ] || { cat "$work/$1.err" >&2; fail "$2 does not start"; }
    admin "set server chat-api/$1 addr 127.0.0.1 port $at"
    admin "set server chat-api/$1 state ready"
    await_state "$1" 'UP*'
}

# stop SLOT: SIGTERM; what it accepted is finished and it ends with 0.
stop() {
    eval "pid=\$pid_$1"
    kill -TERM "$pid"
    wait "$pid" || fail "$1 ended with status $?: $(tail -3 "$work/$1.err")"
    cat "$work/$1.err" >>"$work/stopped.log"
    servers=$(echo "$servers" | sed "s/ $pid\b//")
    admin "set server chat-api/$1 state maint"
}

# leave SLOT: as a pod is deleted, first from the endpoints.
leave() {
    admin "set server chat-api/$1 state drain"
    stop "$1"
}

# ---- the load ------------------------------------------------------------------------------------
# One question after the other until told to stop: a line each, "STATUS MODEL DEGRADED_REASON".
ask_for_ever() {
    while [ ! -e "$work/stop" ]; do
        code=$(curl -s -m 60 -o "$work/answer.$1" -w '%{http_code}' "$url/triage" -H 'Content-Type: application/json' \
            -d '{"patient_mrn": "MRN-001", "query": "I have a cough", "max_new_tokens": 150, "temperature": 0.7}') || code=lost
        what=$(jq -r '"\(.llm_mode) \(.degraded_reason)"' "$work/answer.$1" 2>/dev/null) || what="none none"
        echo "$code $what" >>"$work/answers.$1"
        rm -f "$work/answer.$1"
    done
}
# The same as an event stream: whole when its event "done" has come, which has the whole answer.
stream_for_ever() {
    while [ ! -e "$work/stop" ]; do
        curl -sN -m 60 "$url/triage" -H 'Content-Type: application/json' -d '{"patient_mrn": "MRN-002",
            "query": "I have a headache", "max_new_tokens": 150, "stream": true}' >"$work/stream" 2>/dev/null || echo "curl: $?" >>"$work/stream"
        what=$(sed -n '/^event: done/{n; s/^data: //p; }' "$work/stream" | jq -r '"200 \(.llm_mode) \(.degraded_reason)"') || what=
        [ -n "$what" ] || cp "$work/stream" "$work/cut"
        echo "${what:-cut none none}" >>"$work/answers.stream"
    done
}

# answered N: waits until there are N answers more.
answered() {
    want=$(($(cat "$work"/answers.* 2>/dev/null | wc -l) + $1))
    for _ in $(seq 1200); do
        [ "$(cat "$work"/answers.* 2>/dev/null | wc -l)" -lt $want ] || return 0
        sleep 0.05
    done
    fail "no answers come"
}

whole='^200 (v1|v2) (null|cut_off)$'
count() {
    cat "$work"/answers.* | grep -c "$1" || true
}

nothing_lost() {
    lost=$(cat "$work"/answers.* | grep -vE "$whole" | sort | uniq -c)
    [ -z "$lost" ] || { tail -n 3 "$work"/*.err >&2; tail -c 500 "$work/cut" >&2 || true; fail "$1: $lost"; }
    echo "rollout: $1: $(count '') requests so far, none lost"
}

mkdir "$work/models"
ln -s "$PWD/tests/golden/models/tied-gqa2" "$work/models/v1"
"$carepath" convert tests/golden/models/tied-gqa2 "$work/models/v2" --quant int8 >/dev/null
: >"$work/stopped.log"

start_proxy
start a v1
start b v1
for n in 1 2 3; do
    ask_for_ever $n &
    clients="$clients $!"
done
stream_for_ever &
clients="$clients $!"
answered 8

# maxSurge 1, maxUnavailable 0.
start c v2
leave a
start a v2
leave b
nothing_lost "rollout to v2"
n=$(count ' v1 ')
answered 8
[ "$(count ' v1 ')" -le $((n + 4)) ] || fail "v1 answers after its end"
[ "$(count ' v2 ')" -ge 4 ] || fail "v2 answers too little"

# kubectl rollout undo.
start b v1
leave c
start c v1
leave a
answered 8
nothing_lost "rollback to v1"

# A node's drain: SIGTERM and nothing else; then the other one, once its successor is there.
stop b
answered 4
start a v1
stop c
answered 4
nothing_lost "drain without a word to the proxy"
grep -o '"\?unfinished"\?[=:]\([0-9]*\)' "$work/stopped.log" | grep -qE '[1-9][0-9]*$' ||
    fail "every server was idle when it was stopped; nothing was shown"
echo "rollout: unfinished at SIGTERM: $(grep -oE 'draining.*unfinished"?[=:][0-9]+' "$work/stopped.log" | grep -oE '[0-9]+$' | tr '\n' ' ')"

# This test can see a loss.
kill -KILL "$pid_a"
wait "$pid_a" 2>/dev/null || true
answered 4
cat "$work"/answers.* | grep -qvE "$whole" || fail "a killed server cost no request: the test sees nothing"
echo "rollout: ok"
