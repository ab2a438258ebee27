#!/bin/sh
# A model of the real size behind the real server: converts a synthetic Qwen3-0.6B, asks /triage, checks
# the answer and that the server leaves cleanly on SIGTERM.
set -eu
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
carepath=build/release/carepath

$carepath convert --synthetic qwen3-0.6b "$work/qwen3-0.6b"
PORT=0 $carepath serve --llm-mode "$work/qwen3-0.6b" >"$work/out" 2>"$work/err" &
server=$!
url=
for _ in $(seq 1 100); do
    url=$(sed -n 's/^listening on //p' "$work/out")
    [ -n "$url" ] && curl -sf "$url/ready" >/dev/null 2>&1 && break
    sleep 0.2
done
answer=$(curl -s --max-time 280 "$url/triage" -H 'Content-Type: application/json' \
    -d '{"patient_mrn": "MRN-002", "query": "Which medicines do I take?", "max_new_tokens": 16, "seed": 1}')
echo "$answer"
echo "$answer" | grep -q '"completion_tokens":16' || { cat "$work/err" >&2; exit 1; }
echo "$answer" | grep -q '"llm_mode":"qwen3-0.6b"'
grep -E 'VmHWM|VmRSS' "/proc/$server/status"
kill "$server"
wait "$server" # exit status 0, or this script fails
server=
echo "full size: ok"
