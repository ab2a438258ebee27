#!/bin/sh
# The alerts, recording rules and dashboards of deploy/ against a real Prometheus that scrapes a real server.
#
#   sh tests/tools/observability.sh
#
# BUILD=folder of the program (default build/release). Prometheus is the one that is installed, or Debian's package,
# unpacked into build/cache/ without being installed. Where there is neither this ends with a message: a success, but in CI
# a failure.
set -eu
program=${BUILD:-build/release}/carepath
cache=build/cache/prometheus
rules=deploy/prometheus
work=$(mktemp -d)
server=
prometheus=
trap 'stop; rm -rf "$work"' EXIT

stop() {
    for pid in $prometheus $server; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    prometheus= server=
}

fail() {
    echo "observability: $*" >&2
    exit 1
}

skip() {
    [ -z "${CI:-}" ] || fail "$*"
    echo "observability: skipped, $*"
    exit 0
}

find_prometheus() {
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
        bin=$(dirname "$(command -v promtool)")
        return
    fi
    bin=$cache/usr/bin
    [ ! -x "$bin/promtool" ] || return 0
    command -v apt-get >/dev/null || skip "there is no Prometheus, and no apt-get to get it"
    mkdir -p "$work/deb" "$cache"
    chmod 755 "$work" "$work/deb"
    (cd "$work/deb" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }) \
        >/dev/null 2>&1 || skip "the package prometheus cannot be had"
    dpkg-deb -x "$work"/deb/prometheus_*.deb "$cache"
}

# Waits until a command succeeds.
await() { # await WHAT COMMAND...
    what=$1
    shift
    for _ in $(seq 300); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    cat "$work/prometheus.log" "$work/server.log" >&2
    fail "$what"
}

check_rules() {
    "$bin/promtool" check rules $rules/recording.yml $rules/alerts.yml
    "$bin/promtool" check config --syntax-only $rules/prometheus.yml
    "$bin/promtool" test rules $rules/alerts_test.yml $rules/alerts_slow_test.yml
}

# Every alert fires in a test, and has a section in the runbook.
check_alerts() {
    n=0
    for alert in $(sed -n 's/^ *- alert: //p' $rules/alerts.yml); do
        grep -h -A 2 "alertname: $alert\$" $rules/alerts_test.yml $rules/alerts_slow_test.yml | grep -q 'exp_labels:' ||
            fail "no test sees $alert fire"
        n=$((n + 1))
    done
    [ "$n" -ge 20 ] || fail "$n alerts, expected 20 or more"
    [ "$(grep -c 'runbook_url: docs/runbook.md#' $rules/alerts.yml)" -eq "$n" ] || fail "an alert has no link to the runbook"
    for anchor in $(sed -n 's/^ *runbook_url: docs\/runbook.md#//p' $rules/alerts.yml | sort -u); do
        grep -i -q "^### $anchor\$" docs/runbook.md || fail "docs/runbook.md has no section $anchor"
    done
    echo "$n alerts: each fires in a test and has its section in docs/runbook.md"
}

start_server() {
    env -u LLM_MODE HOST=127.0.0.1 PORT=0 AUDIT_FILE="$work/audit.log" OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 \
        "$program" serve >"$work/server" 2>"$work/server.log" &
    server=$!
    await "the server does not start" grep -q '^listening on' "$work/server"
    url=$(sed -n 's/^listening on //p' "$work/server")
    await "the server does not become ready" curl -sf "$url/ready"
    trace_id=$(curl -sf -D - -o "$work/answer" -H 'Content-Type: application/json' \
        -d '{"patient_mrn":"MRN-001","query":"cough"}' "$url/triage" | tr -d '\r' | sed -n 's/^X-Trace-Id: //p')
    [ -n "$trace_id" ] || fail "a triage was not answered, or without its trace id"
    curl -sf "$url/metrics" >"$work/metrics" || fail "/metrics does not answer"
    "$bin/promtool" check metrics <"$work/metrics"
}

start_prometheus() {
    cp $rules/recording.yml $rules/alerts.yml "$work/"
    sed -e "s/chat-api:8002/${url#http://}/" -e '/authorization:/d' -e '/credentials_file:/d' \
        -e 's/_interval: 15s/_interval: 1s/' $rules/prometheus.yml >"$work/prometheus.yml"
    for port in 19090 19190 19290 19390; do
        "$bin/prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
            --web.listen-address="127.0.0.1:$port" --enable-feature=exemplar-storage 2>"$work/prometheus.log" &
        prometheus=$!
        api=http://127.0.0.1:$port
        for _ in $(seq 100); do
            kill -0 "$prometheus" 2>/dev/null || break
            ! curl -sf "$api/-/ready" >/dev/null || return 0
            sleep 0.1
        done
        kill "$prometheus" 2>/dev/null || true
        wait "$prometheus" 2>/dev/null || true
        prometheus=
    done
    cat "$work/prometheus.log" >&2
    fail "Prometheus does not start"
}

ask() { # ask QUERY: what the server answers
    curl -sf --data-urlencode "query=$1" "$api/api/v1/query"
}

has() { # has QUERY TEXT
    ask "$1" | grep -q "$2"
}

# Every rule was evaluated, each without an error.
rules_run() {
    curl -sf "$api/api/v1/rules" >"$work/rules" && grep -q '"health":"ok"' "$work/rules" &&
        ! grep -q -e '"health":"unknown"' -e '"health":"err"' "$work/rules"
}

# The trace id of our triage, at a bucket, in Prometheus' store.
has_exemplar() {
    curl -sf --data-urlencode 'query=carepath_http_request_duration_seconds_bucket{route="/triage"}' \
        --data-urlencode "start=$(($(date +%s) - 600))" --data-urlencode "end=$(($(date +%s) + 60))" \
        "$api/api/v1/query_exemplars" | grep -q "$trace_id"
}

# Every expression of the dashboards, one a line, with their variables filled in.
expressions() {
    cat deploy/grafana/dashboards/*.json | sed -n 's/^ *"expr": "\(.*\)",$/\1/p' |
        sed -e 's/\\"/"/g' -e 's/\$__rate_interval/1m/g' -e 's/\$job/.*/g'
}

check_dashboards() {
    n=0
    expressions >"$work/expressions"
    while IFS= read -r expression; do
        ask "$expression" | grep -q '"status":"success"' || fail "a dashboard's expression does not work: $expression"
        n=$((n + 1))
    done <"$work/expressions"
    [ "$n" -ge 60 ] || fail "$n expressions in the dashboards, expected 60 or more"
    echo "$n expressions of the dashboards are answered"
}

find_prometheus
check_alerts
check_rules
start_server
start_prometheus
await "Prometheus does not see the server" has 'up{job="carepath"}' '"1"\]'
await "the triage was not counted" has 'carepath_triage_total' '"1"\]'
await "no exemplar came" has_exemplar
await "a recording rule or an alert was not evaluated, or with an error" rules_run
check_dashboards
! has 'ALERTS{alertstate="firing"}' 'CarePath' || fail "an alert fires although all is well"
echo "observability: ok"
