#!/bin/sh
# Everything about 64-bit ARM that a machine without one can check: cross-builds, runs the arithmetic's tests
# under qemu with and without the dot product extension, and compares models' logits and tokens byte for byte
# with this machine's. Arguments: the Debian packages of the libraries (the Makefile passes them).
set -eu
[ "$(uname -m)" != aarch64 ] || { echo "arm64: this machine is one; make test covers it"; exit 0; }
sh tests/tools/deps.sh gcc-aarch64-linux-gnu qemu-user
build=$PWD/build/arm64
sysroot=$build/sysroot
jobs=$(nproc)
allowed=$(taskset -cp $$ | sed 's/.*: //')
first=${allowed%%[,-]*} # processors that this process may use
last=${allowed##*[,-]}

# The libraries for arm64 with all they depend on, unpacked into a folder: apt works on lists and a status
# of its own, so the system's package database neither changes nor gets in the way.
unpack_libraries() {
    [ "$(cat "$sysroot/packages" 2>/dev/null)" != "$*" ] || return 0
    echo "arm64: fetching libraries" >&2
    rm -rf "$build/apt" "$sysroot"
    mkdir -p "$build/apt/lists/partial" "$build/apt/archives/partial" "$sysroot"
    : >"$build/apt/status"
    cat >"$build/apt/config" <<CONFIG
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures "arm64";
APT::Sandbox::User "";
Dir::State "$build/apt";
Dir::State::lists "$build/apt/lists";
Dir::State::status "$build/apt/status";
Dir::Cache "$build/apt";
Dir::Cache::archives "$build/apt/archives";
CONFIG
    APT_CONFIG=$build/apt/config apt-get update -qq
    APT_CONFIG=$build/apt/config apt-get install -y -qq --download-only --no-install-recommends "$@" >/dev/null
    for package in "$build"/apt/archives/*.deb; do
        dpkg -x "$package" "$sysroot"
    done
    # What the packages' scripts would have linked.
    (cd "$sysroot/usr/lib/aarch64-linux-gnu" && ln -sf openblas-pthread/libopenblas.so* .)
    rm -rf "$build/apt"
    echo "$*" >"$sysroot/packages"
}

# Builds natively and for ARM. The program that the tests start is the native one, which converts models alike.
compile() {
    make --no-print-directory build WERROR=1
    PKG_CONFIG_SYSROOT_DIR=$sysroot \
    PKG_CONFIG_LIBDIR=$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$sysroot/usr/lib/aarch64-linux-gnu/openblas-pthread/pkgconfig \
        make --no-print-directory -j "$jobs" ARCH=aarch64 BUILD=build/arm64 WERROR=1 \
        TEST_PROGRAM=build/release/carepath \
        CC="aarch64-linux-gnu-gcc --sysroot=$sysroot" build/arm64/carepath build/arm64/carepath-tests
}

# arm CPU PROGRAM ARGUMENT...: on an emulated processor; max has every extension, cortex-a53 none. Its threads
# share one real processor: on several, qemu 7 on x86 lets an ARM load overtake an earlier sequentially
# consistent store (LDAR after STLR), which no ARM does, and engine/threads.c then misses a wake-up.
arm() {
    cpu=$1
    shift
    taskset -c "$first" qemu-aarch64 -L "$sysroot" -cpu "$cpu" "$@"
}

# tests CPU PATTERN...
tests() {
    on_cpu=$1
    shift
    for pattern in "$@"; do
        arm "$on_cpu" build/arm64/carepath-tests "$pattern"
    done
}

on_this_machine() {
    build/release/carepath "$@"
}
on_scalar() {
    CAREPATH_ISA=scalar build/release/carepath "$@"
}
on_arm() {
    arm max build/arm64/carepath "$@"
}
on_old_arm() {
    arm cortex-a53 build/arm64/carepath "$@"
}

# answers RUNNER MODEL IDS: the logits of every position and what a greedy and a sampled continuation chose.
answers() {
    echo "{\"ids\": $3}" | "$1" logits --model "$2" --all
    for temperature in 0 0.8; do
        "$1" generate --model "$2" --ids "$3" --max-new 24 --seed 7 --temperature "$temperature" --json |
            grep -o '"ids":\[[^]]*\]'
    done
}

# compare MODEL IDS: every runner's answers are the same bytes.
compare() {
    answers on_scalar "$1" "$2" >"$work/want"
    [ -s "$work/want" ]
    for runner in on_this_machine on_arm on_old_arm; do
        answers "$runner" "$1" "$2" >"$work/got"
        cmp "$work/want" "$work/got" || { echo "arm64: $1: $runner differs from scalar" >&2; return 1; }
    done
    echo "arm64: $1: the same $(wc -c <"$work/want") bytes on every processor"
}

# replayed MODEL: what a server here answered, every processor says again to the byte.
replayed() {
    export AUDIT_FILE="$work/audit.jsonl" SECRET_KEY=arm64.sh-arm64.sh-arm64.sh-arm64.sh
    rm -f "$work"/audit.jsonl*
    LLM_MODE=$1 PORT=0 build/release/carepath serve >"$work/serve" 2>"$work/serve.log" &
    server=$!
    ways="$ways $server"
    for _ in $(seq 1 300); do
        grep -q 'model loaded' "$work/serve.log" && break
        kill -0 $server || { cat "$work/serve.log" >&2; return 1; }
        sleep 0.1
    done
    url=$(sed -n 's/^listening on //p' "$work/serve")
    curl -sf "$url/triage" -H 'Content-Type: application/json' \
        -d '{"patient_mrn": "MRN-001", "query": "chest pain", "max_new_tokens": 40}' >"$work/triage"
    kill $server
    wait $server
    ways=${ways% "$server"}
    trace=$(sed -n 's/.*"trace_id":"\([0-9a-f]*\)".*/\1/p' "$work/triage")
    for runner in on_this_machine on_scalar on_arm on_old_arm; do
        "$runner" replay "$trace" --model "$1" | tee "$work/replay"
        grep -q "^$trace: identical$" "$work/replay"
    done
    unset AUDIT_FILE SECRET_KEY
}

unpack_libraries "$@"
compile
work=$(mktemp -d)
ways=
# shellcheck disable=SC2086
trap '[ -z "$ways" ] || kill $ways || true; rm -rf "$work"' EXIT
# The longest, beside all others on the other processor.
taskset -c "$last" qemu-aarch64 -L "$sysroot" build/arm64/carepath-tests the_same_bits_every_way >"$work/ways" 2>&1 &
ways=$!
for cpu in max cortex-a53; do
    tests $cpu kernels mix_kernels quant_kernels products_are_exact_everywhere
done
# Of engine_golden what is arithmetic; its test of chunks takes minutes, and the one above has chunks too.
tests max logits_match greedy_continuations_match every_stage_of_a_layer_matches perplexity_matches embeddings_match
tests max sampler generation every_instruction_set_finds_the_same
# Unquantized models promise the same bits only up to four tokens at a time, which go without OpenBLAS.
long='[1,17,23,4,5,99,42,7,300,12,8,77,64,3,2,31,150,211,9,10,44,45,46,47,48,5,5,5,6,40,41,42,43]'
for model in tied-gqa2 untied-gqa4-sharded; do
    compare "tests/golden/models/$model" '[1,17,23]'
    for quant in int8 int4; do
        build/release/carepath convert "tests/golden/models/$model" "$work/$model-$quant" --quant $quant >/dev/null
        compare "$work/$model-$quant" "$long"
    done
done
replayed "$work/tied-gqa2-int4"
wait $ways && status=0 || status=$?
ways=
cat "$work/ways"
[ $status -eq 0 ]
echo "arm64: ok"
