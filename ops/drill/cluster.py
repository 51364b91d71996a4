"""As much of Kubernetes' API as kubectl needs to do what the guides say: objects are kept, and those that follow from them come
and go as its controllers would have it. Nothing runs in it. What is not here answers 404, and the command fails."""
import copy
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
import uuid

# By group and version: each kind by the word for it in addresses.
KINDS = {
    "v1": {"namespaces": "Namespace", "pods": "Pod", "services": "Service", "configmaps": "ConfigMap", "secrets": "Secret",
           "serviceaccounts": "ServiceAccount", "events": "Event"},
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
}
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
PAUSED = "autoscaling.keda.sh/paused-replicas"
REVISION = "deployment.kubernetes.io/revision"


def merged(kept, change):
    """A merge patch (RFC 7396). Lists are replaced as a whole; those that kubectl merges by name come with what it applied."""
    if not isinstance(change, dict):
        return change
    result = dict(kept) if isinstance(kept, dict) else {}
    for name, value in change.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def pointed(document, operations):
    """A JSON patch, as far as it replaces and adds."""
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = document
        for part in way:
            place = place[part]
        place[last] = operation["value"]
    return document


def chosen(obj, label_selector, field_selector):
    labels = obj["metadata"].get("labels", {})
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", label_selector or ""):
        if among := re.fullmatch(r"\s*(\S+) in \(([^)]*)\)\s*", part):
            if labels.get(among[1]) not in [value.strip() for value in among[2].split(",")]:
                return False
        else:
            name, value = part.strip().replace("==", "=").split("=")
            if labels.get(name) != value:
                return False
    for part in filter(None, (field_selector or "").split(",")):
        name, value = part.split("=")
        # Others are none that a guide asks for; the command fails.
        of = {"metadata.name": lambda: obj["metadata"]["name"], "status.successful": lambda: str(obj["status"].get("succeeded", 0))}[name]
        if of() != value:
            return False
    return True


class Cluster(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.objects, self.changes, self.lock = {}, [], threading.Condition(threading.RLock())
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def kubeconfig(self):
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "drill",
            "clusters": [{"name": "drill", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}],
            "contexts": [{"name": "drill", "context": {"cluster": "drill", "user": "drill"}}], "users": [{"name": "drill", "user": {}}],
        })

    def kept(self, plural, namespace, name):
        return self.objects.get((plural, namespace, name))

    def keep(self, plural, obj, said):
        """Writes one down, and does what its controller would do."""
        with self.lock:
            meta = obj["metadata"]
            meta.setdefault("uid", str(uuid.uuid4()))
            meta.setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            meta["resourceVersion"] = str(len(self.changes) + 1)
            meta["generation"] = meta.get("generation", 0) + 1
            self.objects[plural, meta.get("namespace"), meta["name"]] = obj
            self.changes.append((said, plural, copy.deepcopy(obj)))
            controls = {"deployments": self._deployment, "jobs": self._job, "cronjobs": self._cron_job, "scaledobjects": self._scaled}
            if control := controls.get(plural):
                control(obj)
            self.lock.notify_all()
            return obj

    def drop(self, plural, namespace, name):
        with self.lock:
            obj = self.objects.pop((plural, namespace, name))
            obj["metadata"]["resourceVersion"] = str(len(self.changes) + 1)
            self.changes.append(("DELETED", plural, obj))
            self.lock.notify_all()
            return obj

    def _owned(self, obj, kind, name, labels, spec):
        owner = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"],
                 "controller": True}
        return {"apiVersion": "v1" if kind == "Pod" else "apps/v1", "kind": kind, "spec": spec,
                "metadata": {"name": name, "namespace": obj["metadata"]["namespace"], "labels": labels, "ownerReferences": [owner]}}

    def _deployment(self, obj):
        """One ReplicaSet for each template that it ever had, and as many pods as it wants."""
        meta, template, replicas = obj["metadata"], obj["spec"]["template"], obj["spec"].get("replicas", 1)
        print_of_it = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        name, labels = f"{meta['name']}-{print_of_it}", template["metadata"]["labels"] | {"pod-template-hash": print_of_it}
        revision = str(1 + max([int(of["metadata"]["annotations"][REVISION]) for (plural, *_), of in self.objects.items()
                                if plural == "replicasets" and of["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]], default=0))
        held = self.kept("replicasets", meta["namespace"], name)
        if not held or held["metadata"]["annotations"][REVISION] != meta.get("annotations", {}).get(REVISION):
            held = self._owned(obj, "ReplicaSet", name, labels, {"replicas": replicas, "selector": {"matchLabels": labels},
                                                                 "template": merged(template, {"metadata": {"labels": labels}})})
            held["metadata"]["annotations"] = {REVISION: revision}
            self.keep("replicasets", held, "ADDED")
            meta.setdefault("annotations", {})[REVISION] = revision
        ours = [key for key, of in self.objects.items() if key[0] == "pods" and of["metadata"]["labels"].get("drill/of") == meta["name"]]
        for number, key in enumerate(ours):
            if number >= replicas or not key[2].startswith(name):
                self.drop(*key)
        for number in range(replicas):
            pod = self._owned(held, "Pod", f"{name}-{number}", labels | {"drill/of": meta["name"]}, template["spec"])
            pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            if not self.kept("pods", meta["namespace"], pod["metadata"]["name"]):
                self.keep("pods", pod, "ADDED")
        obj["status"] = {"observedGeneration": meta["generation"], "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}
        obj["status"] |= dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)

    def _job(self, obj):
        done = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}, {"type": "SuccessCriteriaMet", "status": "True"}]}
        obj.setdefault("status", done)

    def _cron_job(self, obj):
        """Its last three jobs, as many as it keeps or more: the newest has failed."""
        meta, template = obj["metadata"], obj["spec"]["jobTemplate"]
        for number, status in enumerate([{"succeeded": 1}, {"succeeded": 1}, {"failed": 1}], 1):
            name = f"{meta['name']}-{number}"
            if self.kept("jobs", meta["namespace"], name):
                continue
            pods = {"batch.kubernetes.io/job-name": name}
            job = self._owned(obj, "Job", name, template.get("metadata", {}).get("labels", {}), template["spec"] | {"selector": {"matchLabels": pods}})
            job["apiVersion"], job["status"] = "batch/v1", status
            job["metadata"]["creationTimestamp"] = f"2026-03-01T1{number}:17:00Z"
            self.keep("jobs", job, "ADDED")
            pod = self._owned(job, "Pod", f"{name}-pod", pods, template["spec"]["template"]["spec"])
            pod["status"] = {"phase": "Succeeded" if "succeeded" in status else "Failed"}
            self.keep("pods", pod, "ADDED")

    def _scaled(self, obj):
        paused = obj["metadata"].get("annotations", {}).get(PAUSED)
        target = self.kept("deployments", obj["metadata"]["namespace"], obj["spec"]["scaleTargetRef"]["name"])
        if target:
            target["spec"]["replicas"] = int(paused) if paused is not None else obj["spec"]["minReplicaCount"]
            self.keep("deployments", target, "MODIFIED")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, kind="application/json"):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, reason):
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status,
                     "message": f"{self.command} {self.path}: {reason}"}, status)


    def do_GET(self):
        self.handle_one("GET")

    do_POST = do_PATCH = do_PUT = do_DELETE = lambda self: self.handle_one(self.command)

    def handle_one(self, method):
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[-1] for name, values in urllib.parse.parse_qs(url.query).items()}
        # Also where nobody looks at it: the connection goes on behind it.
        self.said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if method == "GET" and (document := discovery(url.path)) is not None:
            return self.answer(document)
        place = re.fullmatch(r"/(?:api/(v1)|apis/([^/]+/[^/]+))(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?", url.path)
        if url.path.startswith("/api/v1/namespaces/") and url.path.count("/") == 4:
            version, namespace, plural, name, sub = "v1", None, "namespaces", url.path.rsplit("/", 1)[1], None
        elif place:
            version, namespace, plural, name, sub = place[1] or place[2], place[3], place[4], place[5], place[6]
        else:
            return self.refuse(404, "NotFound")
        if plural not in KINDS.get(version, {}):
            return self.refuse(404, "NotFound")
        with self.server.lock:
            act = getattr(self, method.lower())
            if method == "GET" and not name:
                found = [of for (kind, space, _), of in self.server.objects.items() if kind == plural and namespace in (None, space)
                         and chosen(of, query.get("labelSelector"), query.get("fieldSelector"))]
                listed = {"kind": KINDS[version][plural] + "List", "apiVersion": version, "items": copy.deepcopy(found),
                          "metadata": {"resourceVersion": str(len(self.server.changes))}}
            else:
                listed = None
        if listed is None:
            return act(version, namespace, plural, name, sub, query)
        return self.watch(plural, namespace, query) if query.get("watch") in ("true", "1") else self.answer(listed)

    def watch(self, plural, namespace, query):
        """Changes since a version, as they come."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        seen, until = int(query.get("resourceVersion") or 0), time.monotonic() + min(int(query.get("timeoutSeconds") or 60), 60)
        while time.monotonic() < until:
            with self.server.lock:
                self.server.lock.wait_for(lambda: len(self.server.changes) > seen, 1)
                new, seen = self.server.changes[seen:], max(seen, len(self.server.changes))
            try:
                for said, kind, obj in new:
                    if kind == plural and namespace in (None, obj["metadata"].get("namespace")) \
                            and chosen(obj, query.get("labelSelector"), query.get("fieldSelector")):
                        self.wfile.write(json.dumps({"type": said, "object": obj}).encode() + b"\n")
                self.wfile.flush()
            except OSError:
                break
        self.close_connection = True

    def get(self, version, namespace, plural, name, sub, query):
        obj = self.server.kept(plural, namespace, name)
        if not obj:
            return self.refuse(404, "NotFound")
        if sub == "log":
            return self.answer("a line of this pod\n", kind="text/plain")
        return self.answer(scale_of(obj) if sub == "scale" else obj) if sub in (None, "scale") else self.refuse(404, "NotFound")

    def post(self, version, namespace, plural, name, sub, query):
        if name:
            return self.refuse(403, "Forbidden")
        obj = json.loads(self.said)
        if namespace and plural != "namespaces":
            obj["metadata"]["namespace"] = namespace
        if self.server.kept(plural, namespace, obj["metadata"]["name"]):
            return self.refuse(409, "AlreadyExists")
        return self.answer(self.server.keep(plural, obj, "ADDED"), 201)

    def patch(self, version, namespace, plural, name, sub, query):
        obj, change = self.server.kept(plural, namespace, name), json.loads(self.said)
        if not obj:
            return self.refuse(404, "NotFound")
        with self.server.lock:
            if isinstance(change, list):
                obj = pointed(copy.deepcopy(obj), change)
            elif applied := change.get("metadata", {}).get("annotations", {}).get(APPLIED):
                obj = merged(obj, json.loads(applied) | {"metadata": json.loads(applied)["metadata"] | change["metadata"]})
            else:
                obj = merged(obj, change)
            self.server.keep(plural, obj, "MODIFIED")
        return self.answer(scale_of(obj) if sub == "scale" else obj)

    def delete(self, version, namespace, plural, name, sub, query):
        if not self.server.kept(plural, namespace, name):
            return self.refuse(404, "NotFound")
        return self.answer(self.server.drop(plural, namespace, name))


def scale_of(obj):
    meta = {name: obj["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta,
            "spec": {"replicas": obj["spec"].get("replicas", 1)}, "status": {"replicas": obj["spec"].get("replicas", 1)}}


def discovery(path):
    """What kubectl asks before anything else: which kinds there are, and that the server checks fields itself."""
    if path == "/version":
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = [version for version in KINDS if "/" in version]
    if path == "/apis":
        names = lambda version: {"groupVersion": version, "version": version.split("/")[1]}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": version.split("/")[0], "versions": [names(version)], "preferredVersion": names(version)} for version in groups]}
    if path == "/openapi/v3":
        prefix = lambda version: ("apis/" if "/" in version else "api/") + version
        return {"paths": {prefix(version): {"serverRelativeURL": "/openapi/v3/" + prefix(version)} for version in KINDS}}
    if path.startswith("/openapi/v3/"):
        version = path.removeprefix("/openapi/v3/").split("/", 1)[1]
        group, number = version.split("/") if "/" in version else ("", version)
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("dryRun", "fieldValidation")]
        return {"openapi": "3.0.0", "info": {"title": "drill", "version": "1"}, "paths": {
            f"/{plural}/{{name}}": {"patch": {"parameters": parameters, "responses": {}, "x-kubernetes-action": "patch",
                                              "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind}}}
            for plural, kind in KINDS[version].items()}}
    version = path.removeprefix("/api/" if path.startswith("/api/") else "/apis/")
    if version in KINDS and path in (f"/api/{version}", f"/apis/{version}"):
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        resources = [{"name": plural, "singularName": kind.lower(), "namespaced": plural != "namespaces", "kind": kind, "verbs": verbs}
                     for plural, kind in KINDS[version].items()]
        if version == "apps/v1":
            resources.append({"name": "deployments/scale", "singularName": "", "namespaced": True, "kind": "Scale", "group": "autoscaling",
                              "version": "v1", "verbs": ["get", "patch", "update"]})
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    return None
