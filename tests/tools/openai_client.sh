#!/bin/sh
# The official OpenAI client for Node (npm, pinned in tests/openai/package-lock.json) and the examples of
# docs/api.md against real servers with the tiny models of tests/golden, and docs/openapi.json against the
# OpenAPI 3.1 schema.
#
#   sh tests/tools/openai_client.sh
#
# BUILD=folder of the program (default build/release). The packages are fetched once, into build/cache/.
# Where they cannot be reached, this ends with a message: a success, but in CI a failure. Stops only what it
# started.
set -eu
carepath=${BUILD:-build/release}/carepath
cache=build/cache/openai
work=$(mktemp -d)
open_pid=
keyed_pid=

fail() {
    echo "openai_client: $*" >&2
    exit 1
}

finish() {
    for pid in $open_pid $keyed_pid; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

[ -x "$carepath" ] || fail "$carepath is missing; run make build first"
command -v node >/dev/null || sh tests/tools/deps.sh nodejs
command -v npm >/dev/null || sh tests/tools/deps.sh npm

# The packages, as the lock file has them.
if ! cmp -s tests/openai/package-lock.json "$cache/installed"; then
    mkdir -p "$cache"
    cp tests/openai/package.json tests/openai/package-lock.json "$cache/"
    if ! (cd "$cache" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$work/npm" 2>&1; then
        if [ -z "${CI:-}" ] && grep -qiE 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network|proxy' "$work/npm"; then
            echo "openai_client: skipped, the packages cannot be reached"
            exit 0
        fi
        tail -5 "$work/npm" >&2
        fail "the packages of tests/openai cannot be installed"
    fi
    cp tests/openai/package-lock.json "$cache/installed"
fi
cp tests/openai/client.mjs tests/openai/document.mjs "$cache/" # where node finds the packages

node "$cache/document.mjs" docs/openapi.json

# A model that can be asked for yes and no: golden's, its tokenizer with two merges more.
reranker=$work/reranker
mkdir "$reranker"
cp tests/golden/models/tied-gqa2/config.json tests/golden/models/tied-gqa2/model.safetensors "$reranker"
node -e '
const [from, to] = process.argv.slice(1), fs = require("fs"), t = JSON.parse(fs.readFileSync(from));
t.model.merges.push(["y", "es"], ["n", "o"]);
Object.assign(t.model.vocab, {yes: 1016, no: 1017});
fs.writeFileSync(to, JSON.stringify(t));' tests/golden/models/tied-gqa2/tokenizer.json "$reranker/tokenizer.json"

# start NAME MORE...: a server on a free port; its address is in $work/NAME.
start() {
    name=$1
    shift
    env LLM_MODE=tests/golden/models/tied-gqa2 EMBEDDING_MODEL=tests/golden/models/embedding-gqa1 \
        RERANKER_MODEL="$reranker" PORT=0 MAX_NEW_TOKENS=100000 CONTEXT_TOKENS=8192 "$@" "$carepath" serve >"$work/$name.out" 2>"$work/$name.err" &
    pid=$!
    for _ in $(seq 1 300); do
        url=$(sed -n 's/^listening on //p' "$work/$name.out")
        [ -n "$url" ] && curl -sf "$url/ready" >/dev/null && break
        kill -0 "$pid" 2>/dev/null || { cat "$work/$name.err" >&2; fail "the server does not start"; }
        sleep 0.1
    done
    [ -n "$url" ] || fail "the server does not listen"
}

start open
open_pid=$pid
open_url=$url
key=$("$carepath" keys create --file "$work/keys.json" --id client --scopes chat)
start keyed API_KEYS_FILE="$work/keys.json"
keyed_pid=$pid

node "$cache/client.mjs" "$open_url/v1" "$url/v1" "$key" || {
    tail -5 "$work/open.err" >&2
    fail "the client is not content"
}

# The examples of docs/api.md, as they stand there.
awk '/^```sh/ {inside = 1; next} /^```/ {inside = 0} inside' docs/api.md |
    sed "s|http://127.0.0.1:8002|$open_url|" >"$work/examples.sh"
[ "$(grep -c '^curl' "$work/examples.sh")" -ge 5 ] || fail "docs/api.md has lost its examples"
sh -eu "$work/examples.sh" >"$work/examples.out"
if grep -q '"error":{' "$work/examples.out"; then
    grep '"error":{' "$work/examples.out" >&2
    fail "an example of docs/api.md is refused"
fi

# Both end in order.
for pid in $open_pid $keyed_pid; do
    kill "$pid"
    wait "$pid" || fail "a server ended with status $?"
done
open_pid=
keyed_pid=
echo "openai_client: ok"
