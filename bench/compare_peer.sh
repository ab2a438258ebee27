#!/bin/sh
# A peer's benchmark and ours in one run, taking turns, and the ratios of the medians.
#
#   LLAMA_BENCH=path/to/llama-bench GGUF=model.gguf MODEL=folder sh bench/compare_peer.sh
#
# Drives a llama-bench (llama.cpp or ik_llama.cpp) that you have built for the instruction set you want
# to compare; it fetches and builds nothing. Turns matter: memory on a shared machine is fast and slow
# by the minute. Needs python3 for the arithmetic.
#
#   PEER_ARGS="-rtr 1"        more words for llama-bench (run-time repacking, KV types: -ctk q8_0 -ctv q8_0)
#   OUR_ARGS="--kv int8"      more words for carepath bench speed
#   PROMPT=512 GEN=128 THREADS=2 ROUNDS=4
#   DEPTH=4096                also decode at this depth, by DEPTH_WORD=-d (llama.cpp) or -gp (ik_llama.cpp)
#   LLAMA_BATCHED=path/to/llama-batched-bench BATCH=1,2,4,8   also batched decode (BATCHED_ARGS: more words)
#   CAREPATH_ISA=avx2         ours with AVX2 only, beside a peer built so
set -eu
: "${LLAMA_BENCH:?path of a llama-bench}" "${GGUF:?model of the peer, a GGUF file}" "${MODEL:?our model, a folder}"
carepath=${BUILD:-build/release}/carepath
prompt=${PROMPT:-512}
gen=${GEN:-128}
threads=${THREADS:-2}
rounds=${ROUNDS:-4}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ours NAME WORDS..., peer NAME WORDS...: one measurement of the round
ours() {
    name=$1
    shift
    # shellcheck disable=SC2086
    "$carepath" bench speed --model "$MODEL" --threads "$threads" --prompt "$prompt" --gen "$gen" --repeat 1 \
        --json "$@" ${OUR_ARGS:-} >"$work/ours-$round-$name.json"
}

peer() {
    name=$1
    shift
    # shellcheck disable=SC2086
    "$LLAMA_BENCH" -m "$GGUF" -t "$threads" -r 1 -o json "$@" ${PEER_ARGS:-} >"$work/peer-$round-$name.json" \
        2>>"$work/peer.log" || { tail -5 "$work/peer.log" >&2; exit 1; }
}

round=1
while [ "$round" -le "$rounds" ]; do
    echo "round $round of $rounds" >&2
    peer main -p "$prompt" -n "$gen"
    ours main --depth 0 --batch 1
    if [ -n "${DEPTH:-}" ]; then
        case ${DEPTH_WORD:--d} in
        -gp) peer depth -p 0 -n 0 -gp "$DEPTH,$gen" ;;
        *) peer depth -p 0 -n "$gen" -d "$DEPTH" ;;
        esac
        ours depth --depth "$DEPTH" --batch 1
    fi
    if [ -n "${LLAMA_BATCHED:-}" ]; then
        batch=${BATCH:-1,2,4,8}
        # shellcheck disable=SC2086
        "$LLAMA_BATCHED" -m "$GGUF" -t "$threads" -c 8192 -npp 16 -ntg "$gen" -npl "$batch" ${BATCHED_ARGS:-} \
            >"$work/peer-$round-batch.txt" 2>>"$work/peer.log" || { tail -5 "$work/peer.log" >&2; exit 1; }
        ours batch --depth 16 --batch "$batch"
    fi
    round=$((round + 1))
done

python3 - "$work" "$rounds" <<'PY'
import json, re, statistics, sys

work, rounds = sys.argv[1], int(sys.argv[2])
rates = {}  # (what, whose) -> [tokens/s]


def add(what, whose, value):
    rates.setdefault((what, whose), []).append(value)


def read(name):
    try:
        with open(f"{work}/{name}") as f:
            return f.read()
    except FileNotFoundError:
        return None


for r in range(1, rounds + 1):
    for part in ("main", "depth", "batch"):
        text = read(f"ours-{r}-{part}.json")
        if text is None:
            continue
        ours = json.loads(text)
        for row in ours["prefill"]:
            if part == "main":
                add(f"prefill {row['n']}", "ours", row["tok_s"])
        for row in ours["decode"]:
            what = f"decode, batch {row['batch']}" if part == "batch" else f"decode at {row['depth']}"
            add(what, "ours", row["tok_s"])
            add(what, "share", row["share_of_bandwidth"])
        if part == "batch":
            for line in read(f"peer-{r}-batch.txt").splitlines():
                cells = [c.strip() for c in line.strip().strip("|").split("|")]
                if len(cells) >= 8 and re.fullmatch(r"\d+", cells[0]):
                    add(f"decode, batch {cells[2]}", "peer", float(cells[7]))
            continue
        for row in json.loads(read(f"peer-{r}-{part}.json")):
            depth = row.get("n_depth", 0)
            if row["n_gen"] and row["n_prompt"]:  # -gp: the generation alone is timed
                depth = row["n_prompt"]
            what = f"decode at {depth}" if row["n_gen"] else f"prefill {row['n_prompt']}"
            add(what, "peer", row["avg_ts"])

print(f"{'tokens/s, medians':<24} {'peer':>9} {'ours':>9} {'ratio':>7}   share of bandwidth")
for what in dict.fromkeys(k[0] for k in rates):
    peer, our, share = (rates.get((what, w)) for w in ("peer", "ours", "share"))
    if not peer or not our:
        continue
    p, o = statistics.median(peer), statistics.median(our)
    limit = f"{100 * statistics.median(share):.0f}%" if share else ""
    print(f"{what:<24} {p:>9.1f} {o:>9.1f} {o / p:>6.2f}x   {limit}")
PY
