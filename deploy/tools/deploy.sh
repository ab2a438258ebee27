#!/bin/sh
# What the Makefile's deployment targets do (deploy/Makefile.inc): each prints its commands first and asks before it
# touches anything outside this machine. Without a terminal it refuses, unless YES=1.
#
#   sh deploy/tools/deploy.sh tf-plan|tf-apply|ecr-login|build|push|deploy|set-llm-mode|pull-model|rollback
#
#   OVERLAY   overlay of deploy/k8s, and with it the namespace (demo)
#   TF_ENV    folder of deploy/terraform/envs (demo)
#   IMAGE     the image without a tag (TF_ENV's registry, asked of Terraform)
#   TAG       its tag (VERSION and the commit)
#   LLM_MODE  for set-llm-mode; MODEL, QUANT for pull-model; DOWNLOAD_MODEL=true and PLATFORM for build
set -eu
cd "$(dirname "$0")/../.."
OVERLAY=${OVERLAY:-demo}
TF_ENV=${TF_ENV:-demo}
tf=deploy/terraform/envs/$TF_ENV
namespace=carepath-$OVERLAY
TAG=${TAG:-$(cat VERSION)-$(git rev-parse --short=12 HEAD)}

fail() {
    echo "deploy: $*" >&2
    exit 1
}

# What goes into files and commands has nothing that either would read as its own.
for word in "$OVERLAY" "$TF_ENV" "$TAG" "${IMAGE:-}" "${LLM_MODE:-}" "${MODEL:-}" "${QUANT:-}" "${REVISION:-}" \
    "${PLATFORM:-}" "${DOWNLOAD_MODEL:-}" "${AWS_REGION:-}"; do
    case $word in *[!A-Za-z0-9_./:-]*) fail "expected letters, digits and _ . / : - in $word" ;; esac
done

# plan COMMAND...: one more command of what will be done.
commands=
plan() {
    commands="$commands$*
"
}

# Shows the plan, asks, does it; stops at the first command that fails.
go() {
    echo "This will run:"
    printf '%s' "$commands" | sed 's/^/  /'
    if [ "${YES:-}" != 1 ]; then
        [ -t 0 ] || fail "no terminal to ask on; YES=1 goes ahead"
        printf 'Go ahead? [y/N] '
        read -r answer
        case $answer in y | Y | yes) ;; *) fail "nothing was done" ;; esac
    fi
    eval "set -e
$commands"
}

needs() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is not installed"
    done
}

output() { # of Terraform
    terraform -chdir="$tf" output -raw "$1" || fail "Terraform has no $1: run make tf-apply first, or set IMAGE"
}

image() {
    if [ -n "${IMAGE:-}" ]; then echo "$IMAGE"; else output chat_api_repo_url; fi
}

# rendered FOLDER NAME TAG: a folder of our own, in build/, that is FOLDER of deploy/k8s with that image, and with what
# comes on stdin; prints its name.
rendered() {
    dir=build/deploy/$OVERLAY
    mkdir -p "$dir"
    cat >"$dir/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources: [../../../deploy/k8s/$1]
images: [{name: carepath-chat-api, newName: "$2", newTag: "$3"}]
YAML
    cat >>"$dir/kustomization.yaml"
    echo "$dir"
}

case ${1:-} in
tf-plan | tf-apply)
    needs terraform
    [ -d "$tf" ] || fail "there is no $tf"
    [ -e "$tf/backend.hcl" ] || fail "$tf/backend.hcl is missing; backend.hcl.example shows its form"
    plan terraform -chdir="$tf" init -input=false -backend-config=backend.hcl
    if [ "${DEPLOY_APP:-}" = true ]; then
        needs kubectl
        name=$(image)
        kubectl kustomize "$(rendered "overlays/$OVERLAY" "$name" "$TAG" </dev/null)" >"$tf/rendered.yaml"
    fi
    plan terraform -chdir="$tf" plan -input=false -var "deploy_app=${DEPLOY_APP:-false}" -out=carepath.tfplan
    go
    if [ "$1" = tf-apply ]; then # asked again, now that the plan is on the screen
        commands=
        plan terraform -chdir="$tf" apply -input=false carepath.tfplan
        go
    fi
    ;;
ecr-login)
    needs aws docker
    region=${AWS_REGION:-$(output region)}
    registry=$(image)
    registry=${registry%%/*}
    echo "deploy: logs docker in at $registry for twelve hours"
    commands="aws ecr get-login-password --region $region | docker login --username AWS --password-stdin $registry
"
    go
    ;;
build)
    needs docker
    plan docker buildx build --platform "${PLATFORM:-linux/amd64}" --load --build-arg "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" \
        --build-arg "DOWNLOAD_MODEL=${DOWNLOAD_MODEL:-false}" ${HF_TOKEN:+--secret id=hf_token,env=HF_TOKEN} -t "carepath-chat-api:$TAG" .
    printf '%s' "$commands"
    eval "$commands" # on this machine only: nothing to ask
    ;;
push)
    needs docker
    name=$(image)
    plan docker tag "carepath-chat-api:$TAG" "$name:$TAG"
    plan docker push "$name:$TAG"
    go
    ;;
deploy)
    needs kubectl
    name=$(image)
    plan kubectl apply -k "$(rendered "overlays/$OVERLAY" "$name" "$TAG" </dev/null)"
    plan kubectl -n "$namespace" rollout status deployment/chat-api --timeout=40m
    go
    ;;
pull-model)
    needs kubectl
    name=$(image)
    dir=$(rendered jobs/model-pull "$name" "$TAG" <<YAML
patches:
  - target: {kind: Job, name: model-pull}
    patch: |
      - op: replace
        path: /spec/template/spec/containers/0/args
        value: [pull, "${MODEL:-Qwen/Qwen3-4B-Thinking-2507}", --quant, "${QUANT:-int4}"]
YAML
    )
    plan kubectl -n "$namespace" delete job model-pull --ignore-not-found
    plan kubectl apply -k "$dir"
    plan kubectl -n "$namespace" wait --for=condition=complete --timeout=2h job/model-pull
    go
    ;;
set-llm-mode)
    needs kubectl
    [ -n "${LLM_MODE:-}" ] || fail "set LLM_MODE, for example LLM_MODE=Qwen3-4B-Thinking-2507-int4 or LLM_MODE=mock"
    running=$(kubectl -n "$namespace" get deployment chat-api -o "jsonpath={.spec.template.spec.containers[0].image}")
    dir=$(rendered "overlays/$OVERLAY" "${running%:*}" "${running##*:}" <<YAML
configMapGenerator:
  - name: chat-api
    behavior: merge
    literals: ["LLM_MODE=$LLM_MODE"]
YAML
    )
    plan kubectl apply -k "$dir"
    plan kubectl -n "$namespace" rollout status deployment/chat-api --timeout=40m
    echo "deploy: the image stays $running. To keep the mode, write it into deploy/k8s/overlays/$OVERLAY as well."
    go
    ;;
rollback)
    needs kubectl
    plan kubectl -n "$namespace" rollout history deployment/chat-api
    plan kubectl -n "$namespace" rollout undo deployment/chat-api ${REVISION:+"--to-revision=$REVISION"}
    plan kubectl -n "$namespace" rollout status deployment/chat-api --timeout=40m
    go
    ;;
*)
    sed -n '5s/^#   /usage: /p' "$0" >&2
    exit 2
    ;;
esac
