#!/bin/sh
# The tests of the MongoDB store against a real server over its wire protocol, once in the clear and once
# over TLS. The server is a mongod where one is installed, else FerretDB over SQLite, built once with Go
# into build/cache/ (tests/tools/ferretdb/go.mod pins it).
#
#   sh tests/tools/mongo.sh
#
# BUILD=folder of the tests (default build/release). With MONGO_URI set no server is started. Without mongod,
# Go of 1.22 or later, or the Go module proxy this ends with a message: a success, but in CI a failure.
set -eu
tests=${BUILD:-build/release}/carepath-tests
cache=build/cache/ferretdb-1.24.0
work=$(mktemp -d)
server=
trap 'stop; rm -rf "$work"' EXIT

stop() {
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true
    server=
}

fail() {
    echo "mongo: $*" >&2
    exit 1
}

skip() {
    [ -z "${CI:-}" ] || fail "$*"
    echo "mongo: skipped, $*"
    exit 0
}

build_ferretdb() {
    [ ! -x "$cache/ferretdb" ] || return 0
    command -v go >/dev/null || skip "there is neither mongod nor Go"
    echo "mongo: building FerretDB, once, some minutes"
    mkdir -p "$cache"
    root=$(pwd)
    if ! (cd tests/tools/ferretdb && GOTOOLCHAIN=local nice -n 10 \
        go build -mod=readonly -buildvcs=false -p 2 -o "$root/$cache/ferretdb.new" .) >"$work/go" 2>&1; then
        tail -5 "$work/go" >&2
        skip "FerretDB could not be built"
    fi
    mv "$cache/ferretdb.new" "$cache/ferretdb"
}

# A certificate for this machine's loopback, and the one that signed it.
make_certificates() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=carepath-test-ca -keyout "$work/ca.key" \
        -out "$work/ca.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout "$work/key.pem" -out "$work/request.pem" 2>/dev/null
    printf 'subjectAltName=IP:127.0.0.1\n' >"$work/names"
    openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
        -extfile "$work/names" -out "$work/cert.pem" 2>/dev/null
    cat "$work/cert.pem" "$work/key.pem" >"$work/both.pem"
}

# start_ferretdb [CERT KEY]: sets server and uri.
start_ferretdb() {
    mkdir -p "$work/data"
    rm -f "$work/uri"
    "$cache/ferretdb" "$work/data" "$@" >"$work/uri" 2>"$work/log" &
    server=$!
    for _ in $(seq 100); do
        [ -s "$work/uri" ] && break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    [ -s "$work/uri" ] || { cat "$work/log" >&2; fail "FerretDB does not start"; }
    uri=$(cat "$work/uri")
}

# start_mongod [CERT KEY]: the same. mongod takes no port 0, so some are tried.
start_mongod() {
    mkdir -p "$work/data"
    tls=
    [ $# -eq 0 ] || tls="--tlsMode requireTLS --tlsCertificateKeyFile $work/both.pem"
    for port in 27117 27217 27317 27417; do
        # shellcheck disable=SC2086
        mongod --dbpath "$work/data" --bind_ip 127.0.0.1 --port $port --quiet $tls >"$work/log" 2>&1 &
        server=$!
        for _ in $(seq 100); do
            grep -q '[Ww]aiting for connections' "$work/log" && break
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        uri="mongodb://127.0.0.1:$port/$([ -z "$tls" ] || echo '?tls=true')"
        ! kill -0 "$server" 2>/dev/null || return 0
    done
    tail -5 "$work/log" >&2
    fail "mongod does not start"
}

[ -x "$tests" ] || fail "$tests is missing; run make test first"
if [ -n "${MONGO_URI:-}" ]; then
    echo "mongo: with the server that MONGO_URI names"
    exec "$tests" 'store*mongo'
fi
if command -v mongod >/dev/null; then
    start=start_mongod
else
    build_ferretdb
    start=start_ferretdb
fi
$start
MONGO_URI=$uri "$tests" 'store*mongo'
stop
make_certificates
$start "$work/cert.pem" "$work/key.pem"
MONGO_URI="$uri&tlsCAFile=$work/ca.pem" "$tests" loading_twice_adds_nothing
# A server whose certificate nobody vouches for is not believed.
if MONGO_URI="$uri&serverSelectionTimeoutMS=2000" "$tests" loading_twice_adds_nothing >"$work/refused" 2>&1; then
    fail "a certificate of unknown origin was accepted"
fi
grep -q 'FAILED' "$work/refused" || { cat "$work/refused"; fail "the refusal was another"; }
echo "mongo: a certificate of unknown origin is refused"
