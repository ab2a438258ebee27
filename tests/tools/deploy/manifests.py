"""Checks of rendered manifests for tests/tools/deploy.sh: manifests.py SETTINGS METRICS compose.yaml NAME=FILE...

SETTINGS: names of `carepath serve --settings-markdown`, one a line. METRICS: a server's /metrics.
NAME=FILE: an overlay's rendering; its environment is written to FILE.env, for a real server to read.
"""
import re
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.31", "1.34", "1.37"]  # preStop's sleep is on by default from 1.30
OURS = {"ServiceMonitor"}            # of the Prometheus operator: deploycheck reads these
# What Kubernetes or the hub's client read, and no setting of `serve`.
OTHERS = {"POD_NAME", "HF_TOKEN", "HF_HOME"}
faults = []


def check(ok, text):
    if not ok:
        faults.append(text)


def by_kind(documents, kind):
    return [d for d in documents if d["kind"] == kind]


def validate(name, documents):
    for d in documents:
        if d["kind"] in OURS:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(d, version, strict=True)
            except Exception as e:  # noqa: BLE001: whatever it is, it is a fault of this document
                faults.append(f"{name}: {d['kind']}/{d['metadata']['name']}: Kubernetes {version}: {str(e)[:400]}")
                break


def environment(documents, container):
    env = {}
    maps = {m["metadata"]["name"]: m["data"] for m in by_kind(documents, "ConfigMap")}
    for source in container.get("envFrom", []):
        reference = source["configMapRef"]["name"]
        check(reference in maps, f"ConfigMap {reference} is not rendered")
        env.update(maps.get(reference, {}))
    for e in container.get("env", []):
        env[e["name"]] = e.get("value")
    return env


def secure(name, pod):
    container = pod["containers"][0]
    context = pod["securityContext"]
    check(context.get("runAsNonRoot") and context["runAsUser"] == 10001, f"{name}: runs as root")
    check(context["seccompProfile"]["type"] == "RuntimeDefault", f"{name}: no seccomp profile")
    own = container["securityContext"]
    check(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"] and own["capabilities"]["drop"] == ["ALL"],
          f"{name}: the container may do too much")
    check(pod.get("automountServiceAccountToken") is False, f"{name}: has the cluster's token")
    for e in container.get("env", []):
        if re.search(r"SECRET_KEY$|_KEY$|TOKEN$|_URI$", e["name"]):
            check("secretKeyRef" in e.get("valueFrom", {}), f"{name}: {e['name']} is no reference to a secret")


def deployment(name, documents, settings):
    d = by_kind(documents, "Deployment")[0]
    pod = d["spec"]["template"]["spec"]
    container = pod["containers"][0]
    secure(name, pod)
    env = environment(documents, container)
    check("replicas" not in d["spec"], f"{name}: replicas are the autoscaler's")
    for variable in env:
        check(variable in settings or variable in OTHERS, f"{name}: {variable} is no setting of `carepath serve`")
    grace = int(env["SHUTDOWN_GRACE_S"])
    check(grace >= int(env["REQUEST_TIMEOUT_S"]), f"{name}: SHUTDOWN_GRACE_S is shorter than a request may take")
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    check(pod["terminationGracePeriodSeconds"] > before + grace + 10, f"{name}: killed before it has drained")
    start = container["startupProbe"]
    check(start["periodSeconds"] * start["failureThreshold"] >= 120, f"{name}: too little time to start")
    check(d["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, f"{name}: a rollout loses pods")
    for probe, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        check(container[probe]["httpGet"]["path"] == path, f"{name}: {probe} asks something else")
    memory = container["resources"]["limits"]["memory"]
    mib = int(memory[:-2]) * (1024 if memory.endswith("Gi") else 1)
    # The program with the 4B's weights and a step's buffers (bench/RESULTS.md), its keys and values, 64 to spare.
    model = 4121 if env["LLM_MODE"].endswith("int8") else 2203
    check(mib >= model + int(env["KV_CACHE_MIB"]) + 64, f"{name}: {mib} MiB do not hold model and cache")
    mounted = {m["name"] for m in container["volumeMounts"]}
    check(mounted == {v["name"] for v in pod["volumes"]}, f"{name}: volumes and mounts differ")
    claims = {c["metadata"]["name"] for c in by_kind(documents, "PersistentVolumeClaim")}
    for v in pod["volumes"]:
        if "persistentVolumeClaim" in v:
            check(v["persistentVolumeClaim"]["claimName"] in claims, f"{name}: no claim for {v['name']}")
    return d, env


def around(name, documents, d, metrics):
    labels = d["spec"]["template"]["metadata"]["labels"].items()
    service = by_kind(documents, "Service")[0]["spec"]
    check(service["selector"].items() <= labels, f"{name}: the Service selects other pods")
    budget = by_kind(documents, "PodDisruptionBudget")[0]["spec"]
    check(budget["selector"]["matchLabels"].items() <= labels, f"{name}: the budget is for other pods")
    scaler = by_kind(documents, "HorizontalPodAutoscaler")[0]["spec"]
    check(scaler["scaleTargetRef"]["name"] == d["metadata"]["name"], f"{name}: scales something else")
    for m in scaler["metrics"]:
        if m["type"] == "Pods":
            metric = m["pods"]["metric"]["name"].removesuffix("_mean")
            check(f"{metric}_count" in metrics, f"{name}: the server has no metric {metric}")
    for m in by_kind(documents, "ServiceMonitor"):
        own = by_kind(documents, "Service")[0]["metadata"]["labels"].items()
        check(m["spec"]["selector"]["matchLabels"].items() <= own, f"{name}: the ServiceMonitor selects other services")


def adapter_rules(metrics):
    for rule in yaml.safe_load(open("deploy/k8s/components/monitoring/adapter-rules.yaml")):
        name = rule["seriesQuery"].split("{")[0]
        check(name in metrics, f"adapter-rules.yaml: the server has no metric {name}")
        check(re.fullmatch(rule["name"]["matches"], name), f"adapter-rules.yaml: its name does not match {name}")


def main():
    settings = set(open(sys.argv[1]).read().split())
    metrics = set(re.findall(r"^(\w+)", open(sys.argv[2]).read(), re.M))
    compose = yaml.safe_load(open(sys.argv[3]))["services"]["chat-api"]["environment"]
    for variable in compose:
        check(variable in settings or variable in OTHERS, f"compose.yaml: {variable} is no setting of `carepath serve`")
    adapter_rules(metrics)
    for argument in sys.argv[4:]:
        name, _, path = argument.partition("=")
        documents = [d for d in yaml.safe_load_all(open(path)) if d]
        validate(name, documents)
        for job in by_kind(documents, "Job"):
            secure(name, job["spec"]["template"]["spec"])
        if by_kind(documents, "Deployment"):
            d, env = deployment(name, documents, settings)
            around(name, documents, d, metrics)
            with open(path + ".env", "w") as out:
                out.writelines(f"{k}={v}\n" for k, v in env.items() if v is not None and k not in OTHERS)
        print(f"manifests: {name}: {len(documents)} objects")
    for fault in faults:
        print(f"manifests: {fault}", file=sys.stderr)
    return 1 if faults else 0


sys.exit(main())
