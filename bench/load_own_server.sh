#!/bin/sh
# The load behind `make bench-load`: a server of its own on a free port, asked by an open loop and watched.
#
#   sh bench/load_own_server.sh
#
# Writes build/bench/load.html and load.json. MODEL=folder for real inference, mock without;
# BUILD=build/release; LOAD_ARGS="--rate 20 ..." for `carepath bench load`.
set -eu
carepath=${BUILD:-build/release}/carepath
out=build/bench
mkdir -p "$out"

PORT=0 LLM_MODE=${MODEL:-mock} "$carepath" serve >"$out/load-server.out" 2>"$out/load-server.err" &
server=$!
finish() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap finish EXIT

url=
for _ in $(seq 1 600); do # loading a large model takes a while
    url=$(sed -n 's|^listening on \(http://[^ ]*\).*|\1|p' "$out/load-server.out")
    [ -n "$url" ] && curl -sf "$url/ready" >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { cat "$out/load-server.err" >&2; exit 1; }
    sleep 0.5
done

commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
# shellcheck disable=SC2086
"$carepath" bench load --url "$url" --server-pid "$server" --html "$out/load.html" --json --note "commit $commit" \
    ${LOAD_ARGS:---rate 5 --warmup 2 --duration 30 --check} >"$out/load.json"
echo "bench: $out/load.html, $out/load.json"
