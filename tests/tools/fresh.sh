#!/bin/sh
# A newcomer's machine: the README's two commands in a bare Debian root (debootstrap's smallest, with make
# and nothing else), from a clean clone of what is committed.
#
#   sh tests/tools/fresh.sh [--short | --root-only] [SUITE...]        default: bookworm trixie (Debian 12 and 13)
#
# `make run` there installs, builds and serves, one /triage question is asked; then `make test` runs, which
# --short leaves out; --root-only makes the bare roots and nothing else. Needs root (chroot), Debian's packages and some GB in build/. The bare roots are kept in
# build/cache/fresh/ for the next run. Stops only what it started.
set -eu
short=
root_only=
suites=
for word in "$@"; do
    case $word in
    --short) short=yes ;;
    --root-only) root_only=yes ;;
    -*) echo "usage: fresh.sh [--short | --root-only] [SUITE...]" >&2; exit 2 ;;
    *) suites="$suites $word" ;;
    esac
done
: "${suites:= bookworm trixie}"
cache=$PWD/build/cache/fresh
root=

fail() {
    echo "fresh: $*" >&2
    exit 1
}

finish() {
    # Mounts live in the namespace of `inside` and have ended with it.
    [ -z "$root" ] || rm -rf --one-file-system "$root"
}
trap finish EXIT

[ "$(id -u)" -eq 0 ] || fail "needs root, for chroot"
sh tests/tools/deps.sh debootstrap git util-linux

# bare SUITE: the smallest root, made once.
bare() {
    [ ! -e "$cache/$1.tar" ] || return 0
    mkdir -p "$cache"
    echo "fresh: making a bare root of $1"
    work=$(mktemp -d "$cache/$1.XXXXXX")
    debootstrap --variant=minbase --include=make "$1" "$work" >"$cache/$1.log" 2>&1 ||
        { tail -5 "$cache/$1.log" >&2; fail "debootstrap $1 failed"; }
    tar -C "$work" --exclude='./var/cache/apt/archives/*.deb' -cf "$cache/$1.tar.new" .
    mv "$cache/$1.tar.new" "$cache/$1.tar"
    rm -rf --one-file-system "$work"
}

# inside COMMAND: in $root, with processes and mounts of its own.
inside() {
    unshare --mount --pid --fork --kill-child sh -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        mount -t tmpfs tmp "$1/tmp"
        exec chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            MAKEFLAGS=-j"$(nproc)" PORT=0 sh -euc "cd /root/carepath; $2"' inside "$root" "$1"
}

# What a newcomer types, and a question to the server that comes up.
try_run='
make run >/root/run.out 2>&1 &
run=$!
url=
for _ in $(seq 1 3000); do
    url=$(sed -n "s/^listening on //p" /root/run.out)
    [ -z "$url" ] || break
    kill -0 $run 2>/dev/null || break
    sleep 0.3
done
[ -n "$url" ] || { tail -30 /root/run.out; exit 1; }
answer=$(curl -sf "$url/triage" -H "Content-Type: application/json" \
    -d "{\"patient_mrn\": \"MRN-001\", \"query\": \"I have crushing chest pain and I am sweating\"}")
kill $run
wait $run || true
case $answer in
*\"acuity\":2*) echo "make run: installed, built, answered" ;;
*) echo "make run: unexpected answer: $answer"; exit 1 ;;
esac'

try() {
    bare "$1"
    root=$(mktemp -d "$cache/root.XXXXXX")
    chmod 755 "$root"
    tar -C "$root" -xf "$cache/$1.tar"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    git clone -q --no-local . "$root/root/carepath"
    echo "fresh: $1: make run"
    begun=$(date +%s)
    inside "$try_run" || fail "$1: make run failed"
    echo "fresh: $1: make run took $(($(date +%s) - begun)) s"
    if [ -z "$short" ]; then
        echo "fresh: $1: make test"
        begun=$(date +%s)
        inside 'make test' >"$cache/$1-test.log" 2>&1 || { tail -40 "$cache/$1-test.log" >&2; fail "$1: make test failed"; }
        awk '/^\[  PASSED  \]/ {n += $4} END {print "make test: " n " tests passed"}' "$cache/$1-test.log"
        echo "fresh: $1: make test took $(($(date +%s) - begun)) s"
    fi
    finish
    root=
}

for suite in $suites; do
    if [ -n "$root_only" ]; then bare "$suite"; else try "$suite"; fi
done
echo "fresh: ok:$suites"
