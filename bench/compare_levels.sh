#!/bin/sh
# The comparison behind `make bench`: the quantization levels side by side.
#
#   sh bench/compare_levels.sh
#
# Speed on random weights in the shape of Qwen3-0.6B (made once, build/bench/models/), as
# build/bench/report.html and report.json. Quality on SmolLM2-135M-Instruct, a real model, where
# tests/tools/smollm2.sh has fetched it into build/cache/: build/bench/quality.json, one line a level.
#
# SHAPE=qwen3-0.6b  LEVELS="bf16 int8 int4 int4-mixed"  BUILD=build/release  TEXT=file for quality
# SPEED_ARGS="--depth 0,4096 ..." for `carepath bench speed`, QUALITY_ARGS for `carepath bench quality`
set -eu
carepath=${BUILD:-build/release}/carepath
shape=${SHAPE:-qwen3-0.6b}
levels=${LEVELS:-bf16 int8 int4 int4-mixed}
out=build/bench
mkdir -p "$out/models"

commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
folders=
for level in $levels; do
    folder=$out/models/$shape-$level
    [ -f "$folder/config.json" ] || "$carepath" convert --synthetic "$shape" "$folder" --quant "$level" >&2
    folders=${folders:+$folders,}$folder
done

# shellcheck disable=SC2086
"$carepath" bench speed --model "$folders" --html "$out/report.html" --json --note "commit $commit" \
    ${SPEED_ARGS:---depth 0,1024 --batch 1,2,4,8 --gen 64 --repeat 3} >"$out/report.json"
echo "bench: $out/report.html, $out/report.json"

gguf=$(find build/cache -name 'SmolLM2-135M-Instruct*.gguf' 2>/dev/null | head -1)
if [ -z "$gguf" ]; then
    echo "bench: no SmolLM2 in build/cache, so no quality; sh tests/tools/smollm2.sh fetches it"
    exit 0
fi
reference=$out/models/smollm2-bf16
[ -f "$reference/config.json" ] || "$carepath" convert "$gguf" "$reference" --quant bf16 >&2
text=${TEXT:-$out/quality.txt}
[ -n "${TEXT:-}" ] || cat README.md docs/*.md LICENSE >"$text"
for level in $levels; do
    folder=$out/models/smollm2-$level
    [ -f "$folder/config.json" ] || "$carepath" convert "$gguf" "$folder" --quant "$level" >&2
    # shellcheck disable=SC2086
    "$carepath" bench quality --model "$folder" --reference "$reference" --text "$text" --json \
        ${QUALITY_ARGS:---windows 16}
done | tee "$out/quality.json"
echo "bench: $out/quality.json"
