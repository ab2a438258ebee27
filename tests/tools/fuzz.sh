#!/bin/sh
# Builds the fuzz harnesses of tests/fuzz with clang and runs them one after another (docs/testing.md).
# Arguments: one harness's name or "" for all, seconds for each, the build folder. The corpus is kept in the build
# folder and grows from run to run; so are inputs that crash. Fails when one does, leaks, takes over 10 s or too much memory.
set -eu
target=${1:-}
seconds=${2:-60}
build=${3:-build/fuzz}
[ -z "$target" ] || [ -f "tests/fuzz/fuzz_$target.c" ] || { echo "fuzz: there is no harness $target" >&2; exit 2; }
sh tests/tools/deps.sh clang libclang-rt-dev
make --no-print-directory -j "$(nproc)" -f tests/fuzz/fuzz.mk CC=clang SAN=address,undefined BUILD="$build" \
    CFLAGS="-O1 -gline-tables-only -fsanitize=fuzzer-no-link" fuzzers
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# seed TARGET FILE...: files of the repository, under names of their own.
seed() {
    to=$build/seeds/$1
    shift
    mkdir -p "$to"
    for file in "$@"; do
        cp "$file" "$to/$(echo "$file" | tr / -)"
    done
}

golden=tests/golden
rm -rf "$build/seeds"
mkdir -p "$build/seeds" "$build/crashes"
"$build/fuzz-seeds" "$build/seeds"
seed config $golden/models/*/config.json $golden/models/*/generation_config.json $golden/malformed/cfg-*/config.json
rm -f "$build"/seeds/config/*deep-nesting*
seed template $golden/valid-edge/baseline/tokenizer_config.json models/qwen3-tokenizer/*.jinja tests/golden-gguf/*.jinja
seed phi tests/phi/*.txt
for folder in tests/fuzz/seeds/*; do
    seed "${folder##*/}" "$folder"/*
done
seed safetensors $golden/valid-edge/*/model.safetensors $golden/malformed/st-*/model.safetensors
seed tokenizer $golden/valid-edge/*/tokenizer.json $golden/malformed/tok-*/tokenizer.json $golden/models/llama/tokenizer.json

# stat NAME: one of libFuzzer's final numbers.
stat() {
    sed -n "s/^stat::$1: *//p" "$log"
}

# fuzz NAME: one harness; the line that reports it.
fuzz() {
    corpus=$build/corpus/$1
    mkdir -p "$corpus" "$build/seeds/$1"
    dictionary=
    [ ! -f "tests/fuzz/$1.dict" ] || dictionary=-dict=tests/fuzz/$1.dict
    # shellcheck disable=SC2086
    if "$build/fuzz-$1" "$corpus" "$build/seeds/$1" $dictionary -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -malloc_limit_mb=64 -artifact_prefix="$build/crashes/$1-" -print_final_stats=1 >"$log" 2>&1; then
        result=ok
    else
        result=FAILED
        failed="$failed $1"
    fi
    first=$(sed -n 's/.*INITED cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    last=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    echo "fuzz: $1: $result: $(stat number_of_executed_units) runs, coverage ${last:-0} (${first:-0} at the start)," \
        "$(stat new_units_added) new inputs, $(stat peak_rss_mb) MB"
    [ $result = ok ] || { tail -45 "$log"; ls -t "$build/crashes/$1"-* | head -1; } >&2
}

failed=
for harness in "$build"/fuzz-*; do
    name=${harness##*/fuzz-}
    [ -x "$harness" ] && [ -f "tests/fuzz/fuzz_$name.c" ] || continue
    [ -z "$target" ] || [ "$target" = "$name" ] || continue
    fuzz "$name"
done
[ -z "$failed" ] || { echo "fuzz: failed:$failed; the inputs are in $build/crashes" >&2; exit 1; }
