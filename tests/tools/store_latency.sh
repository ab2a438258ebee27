#!/bin/sh
# How long lookups take in a jsonl store of many patients: copies of data/synthetic/ under other numbers.
#
#   sh tests/tools/store_latency.sh [COPIES] [LOOKUPS]     default 8334 copies (100,008 patients), 200,000 lookups
#
# Prints the JSON of `carepath lookup --measure` and the program's peak memory. BUILD=folder of the program.
set -eu
carepath=${BUILD:-build/release}/carepath
copies=${1:-8334}
lookups=${2:-200000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/synthetic"
for file in patients encounters claims documents chat_logs; do
    awk -v copies="$copies" '{ line[NR] = $0 }
        END { for (c = 1; c <= copies; c++) for (i = 1; i <= NR; i++) {
                  text = line[i]; gsub(/MRN-/, "M" c "-", text); print text } }' \
        "data/synthetic/$file.jsonl" >"$work/synthetic/$file.jsonl"
done
awk -F'"' '{ print $4 }' "$work/synthetic/patients.jsonl" >"$work/numbers"
du -sm "$work/synthetic" | awk '{ print $1 " MiB of JSON Lines" }'
DATA_DIR=$work /usr/bin/env time -f '%M KiB peak, %e s in all' "$carepath" lookup --measure "$lookups" <"$work/numbers"
