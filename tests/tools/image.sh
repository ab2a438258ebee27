#!/bin/sh
# Builds the Dockerfile twice with buildah (Debian's; no engine runs, every step in a chroot) and checks the image:
# the layers' hashes agree, its size, its SBOM, and that it serves as nobody with a read-only root and no shell.
#
#   sh tests/tools/image.sh [--once]        --once: one build, for a look at the size
#
# The base is not fetched from a registry: it is the bare root that tests/tools/fresh.sh makes. Needs root.
set -eu
once=
[ "${1:-}" != --once ] || once=yes
cache=$PWD/build/cache
work=$(mktemp -d)
store="--root $cache/containers --runroot $work/run --storage-driver vfs"
limit=$((40 * 1000 * 1000))
commit=$(git rev-parse HEAD)
epoch=$(git log -1 --format=%ct "$commit")
server=
mounted=

fail() {
    echo "image: $*" >&2
    exit 1
}

b() {
    # shellcheck disable=SC2086
    buildah $store "$@"
}

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$mounted" ] || b rm "$mounted" >/dev/null 2>&1 || true
    b rmi localhost/carepath-first localhost/carepath-second >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

[ "$(id -u)" -eq 0 ] || fail "needs root, for chroot"
sh tests/tools/deps.sh buildah crun debootstrap util-linux jq curl git
sh tests/tools/fresh.sh --root-only trixie
export BUILDAH_ISOLATION=chroot
mkdir -p "$cache/containers"
printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$work/policy.json"
printf 'unqualified-search-registries = []\n' >"$work/registries.conf"
export CONTAINERS_REGISTRIES_CONF="$work/registries.conf"

# The base, imported once for each bare root.
tag=carepath-base:$(sha256sum "$cache/fresh/trixie.tar" | cut -c1-12)
if ! b images -q "localhost/$tag" >/dev/null 2>&1; then
    c=$(b from scratch)
    b add "$c" "$cache/fresh/trixie.tar" /
    b commit --signature-policy "$work/policy.json" --rm "$c" "localhost/$tag" >/dev/null
fi

# build NAME: no layer is taken over from a build before.
build() {
    git archive "$commit" | (mkdir -p "$work/$1" && tar -x -C "$work/$1")
    b bud --signature-policy "$work/policy.json" --isolation chroot --format docker --no-cache --timestamp $epoch \
        --network host --build-arg "BASE=localhost/$tag" --build-arg SOURCE_DATE_EPOCH=$epoch \
        -t "localhost/carepath-$1" "$work/$1" >"$work/$1.log" 2>&1 || { tail -20 "$work/$1.log" >&2; fail "the build failed"; }
    # As a registry would have it: compressed layers.
    b push --signature-policy "$work/policy.json" "localhost/carepath-$1" "dir:$work/$1.image" >/dev/null 2>&1 ||
        fail "the image cannot be written"
    jq -r '.layers[].digest' "$work/$1.image/manifest.json" >"$work/$1.layers"
}

begun=$(date +%s)
build first
echo "image: built in $(($(date +%s) - begun)) s"
size=$(jq '[.layers[].size] | add' "$work/first.image/manifest.json")
echo "image: $size bytes compressed"
[ "$size" -lt $limit ] || fail "$size bytes compressed, expected less than $limit"
if [ -z "$once" ]; then
    build second
    cmp "$work/first.layers" "$work/second.layers" || fail "two builds, two layers"
    echo "image: two builds, the same layers: $(cut -c8-19 "$work/first.layers" | tr '\n' ' ')"
fi

# ---- what is in it -------------------------------------------------------------------------------
config=$(b inspect --type image localhost/carepath-first | jq -c .Docker.config)
[ "$(echo "$config" | jq -r .User)" = 10001:10001 ] || fail "the image runs as another user: $config"
echo "$config" | jq -e '.Healthcheck.Test == ["CMD", "/usr/bin/carepath", "health"]' >/dev/null || fail "no health check: $config"
mounted=$(b from --pull-never --signature-policy "$work/policy.json" localhost/carepath-first)
root=$(b mount "$mounted")
for shell in bin/sh usr/bin/sh bin/bash usr/bin/env usr/bin/apt; do
    [ ! -e "$root/$shell" ] || fail "the image has /$shell"
done
n=$(find "$root" -xdev \( -perm -4000 -o -perm -2000 \) | wc -l)
[ "$n" -eq 0 ] || fail "$n files change the user"
sbom=$root/usr/share/doc/carepath/sbom.spdx.json
jq -e '.spdxVersion == "SPDX-2.3" and (.packages | length) > 20 and
       ([.packages[].SPDXID] | length == (unique | length)) and (.relationships | length) == (.packages | length)' \
    "$sbom" >/dev/null || fail "the SBOM is not as expected"
# Every library has a package in the SBOM, and every package its licence.
for name in $(jq -r '.packages[].name' "$sbom"); do
    [ "$name" = carepath ] || [ -s "$root/usr/share/doc/$name/copyright" ] || fail "$name has no licence in the image"
done
echo "image: $(jq '.packages | length' "$sbom") packages in the SBOM, each with its licence"

# ---- it serves -----------------------------------------------------------------------------------
# The image's own environment; state and models are volumes.
echo "$config" | jq -r '.Env[]' | grep -v '^PATH=' >"$work/env"
mkdir "$work/state"
chown 10001:10001 "$work/state"
chmod 755 "$work"
# shellcheck disable=SC2016
confined='
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount -t tmpfs tmp "$1/tmp"
    mount --bind "$2" "$1/var/lib/carepath"
    mount --bind "$3" "$1/models"
    mount -o remount,bind,ro "$1/models"
    mount -o remount,bind,ro "$1"
    root=$1
    shift 3
    exec chroot --userspec=10001:10001 "$root" /usr/bin/carepath "$@"'

# in_image [NAME=VALUE...] -- ARGUMENT...: the program as the image's user, its root read-only, nothing else.
in_image() {
    variables=
    while [ "$1" != -- ]; do
        variables="$variables $1"
        shift
    done
    shift
    # shellcheck disable=SC2046,SC2086
    exec env -i PATH="$PATH" $(cat "$work/env") PORT=0 $variables unshare --mount sh -euc "$confined" confined "$root" \
        "$work/state" "$PWD/tests/golden/models" "$@"
}

# Without keys it refuses to be reached from elsewhere: the image fails closed.
if (in_image -- serve) >"$work/open" 2>&1; then fail "it ends well without keys"; fi
if grep -q "^listening on" "$work/open"; then fail "it serves everybody without keys"; fi
grep -q API_KEYS_FILE "$work/open" || fail "another refusal: $(cat "$work/open")"
key=$(in_image -- keys create --file /var/lib/carepath/keys.json --id test --scopes triage)

in_image LLM_MODE=tied-gqa2 API_KEYS_FILE=/var/lib/carepath/keys.json AUDIT_FILE=/var/lib/carepath/audit.jsonl \
    SECRET_KEY=image.sh-image.sh-image.sh-image.sh APP_ENV=staging MAX_NEW_TOKENS=40 \
    -- serve >"$work/serve.out" 2>"$work/serve.err" &
server=$!
url=
for _ in $(seq 1 300); do
    url=$(sed -n 's/^listening on //p' "$work/serve.out" | sed 's/0\.0\.0\.0/127.0.0.1/')
    [ -n "$url" ] && (in_image -- health --url "$url/ready") >/dev/null 2>&1 && break
    kill -0 $server 2>/dev/null || { cat "$work/serve.err" >&2; fail "it does not start"; }
    sleep 0.1
done
(in_image -- health --url "$url/health") >/dev/null || fail "its health check fails"
curl -sf "$url/triage" -H 'Content-Type: application/json' -H "Authorization: Bearer $key" \
    -d '{"patient_mrn": "MRN-001", "query": "I have crushing chest pain and I am sweating"}' >"$work/answer" ||
    fail "it does not answer: $(cat "$work/serve.err")"
jq -e '.acuity == 2 and .llm_mode == "tied-gqa2" and .usage.completion_tokens > 0' "$work/answer" >/dev/null ||
    fail "another answer: $(cat "$work/answer")"
[ -s "$work/state/audit.jsonl" ] || fail "no audit record"
[ "$(stat -c %u "$work/state/audit.jsonl")" = 10001 ] || fail "it ran as another user"
kill $server
wait $server || fail "it ended with status $?"
server=
if (in_image -- health --url "$url/health") >/dev/null 2>&1; then fail "a stopped server is called healthy"; fi

# MongoDB's driver is there: what fails is the connection.
if (in_image PATIENT_STORE=mongo "MONGO_URI=mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200" -- lookup MRN-001) \
    >"$work/mongo" 2>&1; then fail "a MongoDB that is not there has patients"; fi
! grep -q 'cannot be loaded' "$work/mongo" || fail "$(cat "$work/mongo")"
echo "image: ok"
