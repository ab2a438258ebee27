#!/bin/sh
# The deployment files: Kustomize overlays rendered and checked against Kubernetes' schemas and the server's settings,
# compose.yaml, Terraform's files, the workflow, the Makefile's deployment targets, the documents' commands.
#
#   sh tests/tools/deploy.sh
#
# BUILD=folder of the program (default build/release). Tools come from the Go module proxy and PyPI at the versions of
# tests/tools/deploy/, into build/cache/deploy/. Where they cannot be had this ends with a message: a success, but
# in CI a failure. No cloud, cluster or registry of images is asked: the targets run with stand-ins.
set -eu
carepath=${BUILD:-build/release}/carepath
cache=build/cache/deploy
here=tests/tools/deploy
work=$(mktemp -d)
server=

fail() {
    echo "deploy: $*" >&2
    exit 1
}

skip() {
    [ -z "${CI:-}" ] || fail "$*"
    echo "deploy: skipped, $*"
    exit 0
}

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# ---- tools -----------------------------------------------------------------------------------------
get_tools() {
    cat "$here"/*.go "$here/go.sum" "$here/requirements.txt" >"$work/sources"
    ! cmp -s "$work/sources" "$cache/sources" || return 0
    command -v go >/dev/null || skip "there is no Go"
    command -v python3 >/dev/null || sh tests/tools/deps.sh python3 python3-venv
    mkdir -p "$cache"
    to=$PWD/$cache
    (cd "$here" && GOTOOLCHAIN=local go build -mod=readonly -buildvcs=false -p 2 -o "$to/" . sigs.k8s.io/kustomize/kustomize/v5 \
        github.com/rhysd/actionlint/cmd/actionlint) >"$work/go" 2>&1 || { tail -5 "$work/go" >&2; skip "the Go tools cannot be built"; }
    rm -rf "$cache/venv"
    { python3 -m venv "$cache/venv" && "$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"; } \
        >"$work/pip" 2>&1 || { tail -5 "$work/pip" >&2; skip "the Python packages cannot be had"; }
    cp "$work/sources" "$cache/sources"
}

# ---- manifests -------------------------------------------------------------------------------------
# start NAME=VALUE...: a server, until it listens; its log goes on being written.
start() {
    : >"$work/out"
    env PORT=0 HOST=127.0.0.1 "$@" "$carepath" serve >"$work/out" 2>"$work/err" &
    server=$!
    url=
    for _ in $(seq 300); do
        url=$(sed -n 's/^listening on //p' "$work/out")
        [ -n "$url" ] && break
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    [ -n "$url" ] || { cat "$work/err" >&2; fail "the server does not start with: $*"; }
}

stop() {
    kill "$server"
    wait "$server" || fail "the server ended with status $?"
    server=
}

check_manifests() {
    "$carepath" serve --settings-markdown | sed -n 's/^| `\([A-Z0-9_]*\)`.*/\1/p' >"$work/settings"
    [ "$(wc -l <"$work/settings")" -gt 30 ] || fail "the settings cannot be read"
    start LLM_MODE=tests/golden/models/tied-gqa2
    for _ in $(seq 300); do
        curl -sf "$url/ready" >/dev/null && break
        sleep 0.1
    done
    curl -sf "$url/metrics" >"$work/metrics"
    stop
    renderings=
    for overlay in overlays/demo overlays/staging overlays/production jobs/model-pull; do
        name=$(basename $overlay)
        "$cache/kustomize" build deploy/k8s/$overlay >"$work/$name.yaml" || fail "$overlay cannot be rendered"
        renderings="$renderings $name=$work/$name.yaml"
    done
    # The component that no overlay has.
    mkdir "$work/embedded"
    printf 'resources: [%s]\ncomponents: [%s]\n' "$(realpath --relative-to="$work/embedded" deploy/k8s/base)" \
        "$(realpath --relative-to="$work/embedded" deploy/k8s/components/embedded-model)" >"$work/embedded/kustomization.yaml"
    "$cache/kustomize" build "$work/embedded" >"$work/embedded.yaml" || fail "embedded-model cannot be rendered"
    ! grep -q 'model-cache' "$work/embedded.yaml" || fail "embedded-model leaves the cache's volume"
    # shellcheck disable=SC2086
    "$cache/venv/bin/python" $here/manifests.py "$work/settings" "$work/metrics" compose.yaml $renderings embedded="$work/embedded.yaml"
    "$cache/deploycheck" monitors deploy/k8s/components/monitoring/servicemonitor.yaml
    "$cache/deploycheck" compose compose.yaml
    # A server takes each overlay's settings as they stand; paths and the model are this machine's.
    "$carepath" keys create --file "$work/keys.json" --id t --scopes triage >/dev/null
    for name in demo staging production; do
        # shellcheck disable=SC2046
        start $(grep -vE '^(HOST|PORT|DATA_DIR|MODEL_CACHE_DIR|LLM_MODE|API_KEYS_FILE|SECRET_KEY_FILE|AUDIT_FILE)=' "$work/$name.yaml.env") \
            LLM_MODE=tests/golden/models/tied-gqa2 API_KEYS_FILE="$work/keys.json" AUDIT_FILE="$work/audit-$name.jsonl" \
            SECRET_KEY=deploy.sh-deploy.sh-deploy.sh-deploy.sh UNREVIEWED_RULES=allow
        stop
    done
    echo "deploy: servers start with the settings of demo, staging, production"
}

# ---- the Makefile's targets, with stand-ins ---------------------------------------------------------
check_targets() {
    mkdir -p "$work/bin"
    for tool in aws docker kubectl terraform; do
        cat >"$work/bin/$tool" <<TOOL
#!/bin/sh
echo "$tool \$*" >>"$work/calls"
case "\$*" in
*chat_api_repo_url) printf registry.example/carepath-chat-api ;;
*"output -raw region") printf example-1 ;;
*jsonpath*) printf registry.example/carepath-chat-api:1.0 ;;
kustomize*) exec "$PWD/$cache/kustomize" build "\$2" ;;
*--password-stdin*) cat >/dev/null ;;
esac
TOOL
        chmod 755 "$work/bin/$tool"
    done
    tf=deploy/terraform/envs/demo
    rm -rf "$work/repo"
    git archive HEAD | (mkdir "$work/repo" && tar -x -C "$work/repo")
    cp -r deploy Makefile "$work/repo/" # as they are now
    (cd "$work/repo" && git init -q && git -c user.name=t -c user.email=t@example commit -q --allow-empty -m t)
    cp $tf/backend.hcl.example "$work/repo/$tf/backend.hcl"

    # Without a terminal nothing is touched; the plan is shown.
    for target in tf-plan tf-apply ecr-login docker-push-chat deploy-chat pull-model set-llm-mode rollback; do
        : >"$work/calls"
        if target $target >"$work/out" 2>&1; then fail "make $target goes ahead without asking"; fi
        grep -q 'YES=1' "$work/out" || { cat "$work/out" >&2; fail "make $target fails otherwise"; }
        grep -q 'This will run:' "$work/out" || fail "make $target does not say what it will do"
        ! grep -vE ' output -raw | get deployment |^kubectl kustomize ' "$work/calls" || fail "make $target did this without asking"
    done
    expect tf-plan 'terraform .*plan .*-out=carepath.tfplan'
    ! grep -q ' apply ' "$work/calls" || fail "make tf-plan applies"
    expect tf-apply 'terraform .*apply .*carepath.tfplan'
    expect "tf-apply DEPLOY_APP=true" 'plan .*deploy_app=true'
    grep -q "image: registry.example/carepath-chat-api:$(cat VERSION)-" "$work/repo/$tf/rendered.yaml" || fail "Terraform's app has another image"
    expect ecr-login 'docker login --username AWS --password-stdin registry.example'
    expect docker-build-chat 'docker buildx build .*DOWNLOAD_MODEL=false'
    expect "docker-build-chat PLATFORM=linux/arm64 DOWNLOAD_MODEL=true" 'linux/arm64 .*DOWNLOAD_MODEL=true'
    expect "docker-push-chat TAG=1.1" 'docker push registry.example/carepath-chat-api:1.1'
    expect "deploy-chat OVERLAY=staging TAG=1.1" 'kubectl -n carepath-staging rollout status'
    rendered staging 'image: registry.example/carepath-chat-api:1.1'
    expect "pull-model MODEL=Qwen/Qwen3-0.6B QUANT=int8" 'kubectl -n carepath-demo wait'
    rendered demo 'Qwen/Qwen3-0.6B'
    expect "set-llm-mode LLM_MODE=Qwen3-4B-Thinking-2507-int4" 'kubectl apply -k'
    rendered demo 'LLM_MODE: Qwen3-4B-Thinking-2507-int4'
    rendered demo 'image: registry.example/carepath-chat-api:1.0'
    expect rollback 'kubectl -n carepath-demo rollout undo deployment/chat-api'
    expect "rollback REVISION=3" 'undo deployment/chat-api --to-revision=3'
    if target set-llm-mode YES=1 >/dev/null 2>&1; then fail "set-llm-mode takes no mode"; fi
    if target set-llm-mode YES=1 LLM_MODE="a'b" >/dev/null 2>&1; then fail "set-llm-mode takes a quotation mark"; fi
    echo "deploy: the targets ask, and do what they say"
}

target() {
    case $* in *LLM_MODE=*) ;; set-llm-mode) set -- "$@" LLM_MODE=mock ;; esac
    (cd "$work/repo" && PATH="$work/bin:$PATH" make --no-print-directory "$@" </dev/null)
}

# expect "TARGET VARIABLES" PATTERN: it succeeds with YES=1 and calls this.
expect() {
    : >"$work/calls"
    # shellcheck disable=SC2086
    target $1 YES=1 >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "make $1 fails"; }
    grep -qE "$2" "$work/calls" || { cat "$work/calls" >&2; fail "make $1 did not call: $2"; }
}

rendered() { # OVERLAY TEXT
    "$cache/kustomize" build "$work/repo/build/deploy/$1" | grep -qF "$2" || fail "what is applied lacks: $2"
}

# ---- documents ---------------------------------------------------------------------------------------
# Commands in the documents are the shell's, and the targets and files that they name are there.
check_documents() {
    targets=$(sed -n 's/^\([a-z0-9-]*\):.*##.*/\1/p' Makefile deploy/Makefile.inc)
    for doc in README.md docs/*.md; do
        awk '/^```sh/ {inside = 1; next} /^```/ {inside = 0} inside' "$doc" >"$work/doc.sh"
        sh -n "$work/doc.sh" 2>"$work/doc.err" || { cat "$work/doc.err" >&2; fail "$doc: a command that is none"; }
        for name in $(sed -n 's/^ *\(YES=1 \)\{0,1\}make \([a-z][a-z0-9-]*\).*/\2/p' "$work/doc.sh") \
            $(grep -o '`make [a-z][a-z0-9-]*' "$doc" | cut -d' ' -f2); do
            echo "$targets" | grep -qx -- "$name" || fail "$doc: make $name is no target"
        done
    done
    echo "deploy: commands in the documents are read by sh, their targets exist"
}

[ -x "$carepath" ] || fail "$carepath is missing; run make build first"
sh tests/tools/deps.sh git curl
get_tools
check_manifests
"$cache/deploycheck" terraform deploy/terraform/modules/* deploy/terraform/envs/*
"$cache/actionlint" -shellcheck= -pyflakes= .github/workflows/*.yml
echo "deploy: the workflow is read"
check_targets
check_documents
echo "deploy: ok"
