#!/bin/sh
# What docs/serving.md promises, measured on a server of its own: a batch against one client, the longest pause
# while a long prompt comes in, a second question about the same text, probes under load, overload, and
# clients that do not read. Takes some six minutes; wants a quiet machine.
#
#   MODEL=build/bench/models/qwen3-0.6b-int4 sh bench/serving.sh
#
# BUILD=build/release. Prints a line for each; the reports behind them lie in build/bench/serving/.
set -eu
carepath=${BUILD:-build/release}/carepath
model=${MODEL:?a model folder}
out=build/bench/serving
rm -rf "$out"
mkdir -p "$out"

PORT=0 LLM_MODE=./$model THREADS=2 LOG_LEVEL=warn MAX_NEW_TOKENS=2048 "$carepath" serve \
    >"$out/server.out" 2>"$out/server.err" &
server=$!
beside=
finish() {
    for pid in $beside $server; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
trap finish EXIT
url=
for _ in $(seq 1 600); do
    url=$(sed -n 's|^listening on \(http://[^ ]*\).*|\1|p' "$out/server.out")
    [ -n "$url" ] && curl -sf "$url/ready" >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { cat "$out/server.err" >&2; exit 1; }
    sleep 0.2
done

# load NAME ARGS...: a report in $out/NAME.json.
load() {
    name=$1
    shift
    "$carepath" bench load --url "$url" --server-pid "$server" --temperature 0.9 --json "$@" >"$out/$name.json"
}
# get NAME KEY [MEMBER]: a number of a report, the first of that name.
get() {
    if [ $# -eq 3 ]; then
        grep -o "\"$2\":{[^}]*}" "$out/$1.json" | head -1 | grep -o "\"$3\":[0-9.]*" | cut -d: -f2
    else
        grep -o "\"$2\":[0-9.]*" "$out/$1.json" | head -1 | cut -d: -f2
    fi
}
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b > 0) ? a / b : 0 }'
}

writers="--target completions --mode closed --stream --max-tokens 128"
# shellcheck disable=SC2086
load one $writers --clients 1 --warmup 3 --duration 20
# shellcheck disable=SC2086
load eight $writers --clients 8 --warmup 4 --duration 25
one=$(get one tokens_per_s)
eight=$(get eight tokens_per_s)
echo "decode: 1 client $one tokens/s, 8 clients $eight: $(ratio "$eight" "$one") times"

# Seven write while prompts of about a thousand tokens come in one after the other.
words=$(seq 1000 1249 | tr '\n' ' ')
printf '{"query":"one %s"}\n{"query":"two %s"}\n{"query":"three %s"}\n' "$words" "$words" "$words" >"$out/long.jsonl"
"$carepath" bench load --url "$url" --target completions --mode closed --clients 1 --think 2 --max-tokens 4 \
    --prompts "$out/long.jsonl" --duration 24 --json >"$out/long.json" &
beside=$!
# shellcheck disable=SC2086
load pause $writers --clients 7 --warmup 4 --duration 18
wait "$beside" || true
beside=
echo "pause: the longest of a stream while long prompts come: p50 $(get pause longest_pause_ms p50) ms, max $(get pause longest_pause_ms max) ms"

# A second question about some 800 tokens that the first one read.
ask() {
    curl -sf "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "{\"messages\":[{\"role\":\"system\",\"content\":\"$1 $(seq 1000 1196 | tr '\n' ' ')\"},{\"role\":\"user\",\"content\":\"$2\"}],\"max_tokens\":1,\"temperature\":0,\"chat_template_kwargs\":{\"enable_thinking\":false}}" >"$out/ask.json"
    sed -n 's/.*"cached_tokens":\([0-9]*\).*/\1/p' "$out/ask.json" | tr '\n' ' '
    sed -n 's/.*"prompt_ms":\([0-9.]*\).*/\1/p' "$out/ask.json"
}
for round in first second third; do
    a=$(ask "$round" "What about my cough?")
    b=$(ask "$round" "Is my fever high?")
    echo "prefix: cached tokens and ms to the first token: $a, then $b: $(ratio "${a#* }" "${b#* }") times sooner"
done

# Probes while eight write.
# shellcheck disable=SC2086
load busy $writers --clients 8 --duration 24 &
beside=$!
sleep 2
for probe in health metrics; do
    "$carepath" bench load --url "$url" --target "$probe" --rate 50 --duration 10 --json >"$out/$probe.json"
    echo "$probe under load: p50 $(get $probe answer_ms p50) ms, p99 $(get $probe answer_ms p99) ms"
done
wait "$beside" || true
beside=

# Overload: one and a half times what eight clients got through, compared with single requests. The same questions are
# asked once before, so that their keys and values are cached already: what memory still grows is a leak.
"$carepath" bench load --url "$url" --target completions --mode closed --clients 8 --temperature 0 --max-tokens 128 \
    --requests 32 --duration 120 --json >"$out/first.json"
capacity=$(get eight answered_per_s)
rate=$(awk -v c="$capacity" 'BEGIN { printf "%.3f", 1.5 * c }')
"$carepath" bench load --url "$url" --target completions --temperature 0 --max-tokens 128 --rate "$rate" --duration 60 --check \
    --server-pid "$server" --json >"$out/over.json" || true
echo "overload at $rate/s: $(get over sent) sent, $(get over answered) answered, $(get over refused) refused ($(get over refused_with_retry_after) with Retry-After), $(get over failed) failed; refusal p99 $(get over refusal_ms p99) ms; $(get over compared) compared, $(get over unlike_single) unlike"
echo "memory: $(get over rss_bytes_first) to $(get over rss_bytes_last) bytes"

# Eight write, alone and then beside 200 connections that say nothing or a byte a second; alone again and then beside
# clients that leave in the middle of their streams, 200 in a minute.
# shellcheck disable=SC2086
load alone $writers --clients 8 --warmup 4 --duration 20
# shellcheck disable=SC2086
load slow $writers --clients 8 --warmup 4 --duration 20 --slow-clients 200 --slow-kinds silent,drip
echo "beside 200 silent or dripping connections: $(get slow tokens_per_s) tokens/s: $(ratio "$(get slow tokens_per_s)" "$(get alone tokens_per_s)") of $(get alone tokens_per_s)"
"$carepath" bench load --url "$url" --target completions --stream --max-tokens 128 --rate 3.333 --duration 60 --vanish 1 \
    --json >"$out/vanish.json" &
beside=$!
# shellcheck disable=SC2086
load left $writers --clients 8 --warmup 4 --duration 50
wait "$beside" || true
beside=
echo "beside 200 clients a minute that vanish mid-stream: $(get left tokens_per_s) tokens/s: $(ratio "$(get left tokens_per_s)" "$(get alone tokens_per_s)") of $(get alone tokens_per_s)"
# Those who ask and do not read are served like the others: what they asked for is work. So what all of them get is counted.
# shellcheck disable=SC2086
load unread $writers --clients 8 --warmup 4 --duration 20 --slow-clients 200
echo "beside 200 clients that ask and never read: $(get unread tokens_per_s) tokens/s for the readers, $(get unread refused) refused, $(get unread failed) failed"
