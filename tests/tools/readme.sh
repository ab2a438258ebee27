#!/bin/sh
# Runs what the README tells a newcomer to type: the server with its curl line, and the commands on a
# synthetic model. Stops only what it started.
set -eu
folder=models/random-0.6b
[ ! -e "$folder" ] || { echo "$folder exists; remove it first" >&2; exit 1; }
make run >build/readme-server.out 2>&1 &
server=$!
finish() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

for _ in $(seq 1 120); do
    curl -sf http://127.0.0.1:8002/ready >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { cat build/readme-server.out >&2; exit 1; }
    sleep 0.5
done
# The block that holds the curl line, as it stands there.
question=$(awk '/^```sh/ {block = ""; inside = 1; next} /^```/ {if (inside && block ~ /\/triage/) print block; inside = 0}
                inside {block = block $0 "\n"}' README.md)
answer=$(sh -c "$question")
echo "$answer" | grep -q '"acuity":2' || { echo "unexpected answer: $answer" >&2; exit 1; }
echo "$answer" | grep -q '"cardiac-chest-pain"' || { echo "no red flag: $answer" >&2; exit 1; }

awk '/^```sh/ {inside = 1; next} /^```/ {inside = 0} inside && /^build\/release\/carepath/' README.md |
while read -r line; do
    echo "+ $line"
    sh -c "$line"
done
echo "readme: ok"
