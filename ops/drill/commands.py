"""python3 ops/drill/commands.py: runs the commands of the guides (ops/*.md) as they are written there.

Those of Kubernetes by kubectl, at a stand-in for the cluster (cluster.py); those of Amazon RDS by aws, at a stand-in, too
(Python's moto); those of systemd by `systemctl --root`, as far as they need no running system. What is not run here is listed with
where it is run, or why it is not. Fails with a command that fails, with one that nobody has said anything about, and with something
said about none.
"""
import collections
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from cluster import Cluster
from guide import FENCE
from system import OPS, ROOT, free_port

GUIDES = ("README.md", "restore.md", "retention.md")
# What only the reader knows, and stands in a command that is run here.
WORDS = {"<digest>": "a" * 64}
OURS = re.compile(r"(kubectl|kustomize|systemctl|docker|aws|drop-worker|psql|ops/|cargo|python3|openssl|printf|token=) ?")
# What a command has to find out, by the variable that it sets. Of drop-erased's jobs in the cluster the third has failed.
FOUND = {"newest": "job.batch/drop-erased-2"}
POD = "NOT RUN: needs a pod in which something runs"
# Why a command is not run here, or where it is run: files or folders, of which one has the words of each such command of ours. The
# first that matches.
ELSEWHERE = [
    (r"drop-worker\(\)|kubectl .*\bexec\b", POD),
    (r"kubectl .*\bport-forward\b", POD),
    (r"docker compose", "NOT RUN: needs Docker"),
    (r"cargo deny", "NOT RUN: needs a network"),
    (r"drop-worker payments show", ["tests/flows/settling.rs"]),
    (r"drop-worker (migrate|restored|lanes|payments)", ["ops/drill/restore.py", "tests/flows/restored.rs"]),
    (r"drop-worker reseal", ["tests/flows/resealing.rs"]),
    (r"drop-worker (users|retain)", ["tests/flows/erasure"]),
    (r"drop-worker cases", ["tests/flows/kyc/operators.rs"]),
    (r"drop-worker stats", ["tests/flows/operator"]),
    (r"pg_|cp -a|echo |touch |find ", ["ops/drill/restore.py"]),
    (r"psql .*roles\.sql", ["ops/drill/restore.py", "tests/flows/roles"]),
    (r"ops/(check|upgrade)|python3 ops/drill|cargo (test|run)", "by whoever checks or looks: they are the checks, and the demo"),
]


def commands():
    """Of each guide, in order: the lines of its blocks, and what stands in a sentence and is a whole command."""
    for guide in GUIDES:
        text = (OPS / guide).read_text().split("## What nobody has run")[0]
        places = [(found.start(), found[2]) for found in FENCE.finditer(text) if found[1] == "sh"]
        outside = FENCE.sub(lambda found: " " * len(found[0]), text)
        places += [(found.start(), " ".join(found[1].split())) for found in re.finditer(r"`([^`]+)`", outside) if " " in found[1] and OURS.match(found[1])]
        for _, block in sorted(places):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                line = re.sub(r"\s+#.*", "", line).strip()
                if line:
                    yield guide, line


def elsewhere(command):
    return next((entry for entry in ELSEWHERE if re.search(entry[0], command)), None)


def texts(place):
    """What stands in a file, or in each file of a folder."""
    path = ROOT / place
    files = sorted(path.rglob("*.*")) if path.is_dir() else [path]
    return [file.read_text() for file in files if file.is_file()]


def is_run(command, places):
    """What became of a command that is run elsewhere: our verbs must be among the words of a file there."""
    verbs = re.match(r"drop-worker((?: [a-z][a-z-]*)*)", command)
    wanted = verbs[1].split()[:2] if verbs else []
    has = lambda text: all(re.search(rf"(?<![\w-]){word}(?![\w-])", text) for word in wanted)
    if not any(has(text) for place in places for text in texts(place)):
        return f"WRONG: {' and '.join(places)} have nothing of it"
    return f"by {', and by '.join(places)}"


def said_about_none(used):
    """Entries above that no command needs any more, and places that are gone."""
    for pattern, where in ELSEWHERE:
        if pattern not in used:
            yield f"no command of a guide is {pattern}"
        if isinstance(where, list):
            yield from (f"{place} is not there" for place in where if not (ROOT / place).exists())


class Machine:
    """Where they are run: a copy of the manifests, a cluster, Amazon's RDS with one database, a folder of systemd's."""

    def __init__(self, folder):
        self.folder, self.cluster, self.rds = folder, Cluster(), None
        shutil.copytree(OPS / "kubernetes", folder / "ops/kubernetes")
        (folder / "config").write_text(self.cluster.kubeconfig())
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(folder / "config")}
        # What runs before a rollout.
        self.run("kubectl apply -k ops/kubernetes/production -l app.kubernetes.io/component=common")
        self.run("kubectl apply -k ops/kubernetes/production")

    def run(self, command):
        # What one line sets, the next one has.
        kept = self.folder / "variables"
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", f"set -a; {command}\nenv -0 >{kept}"], cwd=self.folder, env=self.env,
                             capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr.strip() or ran.stdout.strip()
        self.env = dict(variable.split("=", 1) for variable in kept.read_text().split("\0") if variable)
        if sets := re.match(r"(\w+)=\$\(", command):
            found = self.env[sets[1]]
            assert found and found == FOUND.get(sets[1], found), f"{sets[1]} is {found!r}"

    def start_rds(self):
        """As `aws` finds it: by an address that only this machine knows."""
        port = free_port()
        self.rds = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.env |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "drill", "AWS_SECRET_ACCESS_KEY": "drill",
                     "AWS_DEFAULT_REGION": "eu-north-1", "PATH": f"{pathlib.Path(sys.executable).parent}:{self.env['PATH']}"}
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        self.run("aws rds create-db-instance --db-instance-identifier drop --db-instance-class db.m6g.large --engine postgres"
                 " --allocated-storage 20 --master-username owner --master-user-password not-a-secret-1")

    def systemctl(self, command):
        """What it would do to the units that are here; nothing starts on a machine that systemd has not started."""
        verb, *names = [word for word in command.split()[1:] if not word.startswith("--")]
        for name in names:
            unit = name if "." in name else f"{name}.service"
            unit = re.sub("@[^.]*", "@", unit)
            place = self.folder / "etc/systemd/system" / unit
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(OPS / "systemd" / unit, place)
            if verb == "enable":
                self.run(f"systemctl --root={self.folder} enable {unit}")
        return f"NOT RUN: needs a machine that systemd has started; {', '.join(names)} can be {'enabled' if verb == 'enable' else 'found'}"

    def aws(self, command):
        if not self.rds:
            self.start_rds()
        self.run(command)
        return "ok"

    def end(self):
        if self.rds:
            self.rds.terminate()
            self.rds.wait()


def done(machine, command):
    """What became of a command, in words that begin with how it went."""
    if entry := elsewhere(command):
        return is_run(command, entry[1]) if isinstance(entry[1], list) else entry[1]
    for word, meant in WORDS.items():
        command = command.replace(word, meant)
    try:
        if command.startswith("systemctl "):
            return machine.systemctl(command)
        if command.startswith("aws "):
            return machine.aws(command)
        if "kubectl" in command or command.startswith(("sed ", "grep ", "printf ", "token=")):
            machine.run(command)
            return "ok"
        return "WRONG: nobody says who runs it"
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"WRONG: {error}"


def main():
    for needed in ("kubectl", "bash"):
        if not shutil.which(needed):
            raise SystemExit(f"not here: {needed}")
    if not importlib.util.find_spec("moto"):
        raise SystemExit("not here: Python's moto")
    folder, counted, used = pathlib.Path(tempfile.mkdtemp(prefix="drop-commands-")), collections.Counter(), set()
    machine = Machine(folder)
    try:
        for guide, command in commands():
            said = done(machine, command)
            used.add((elsewhere(command) or [None])[0])
            counted[re.match(r"\w+", said)[0]] += 1
            print(f"{guide:<14}{command}\n              {said}")
    finally:
        machine.end()
        shutil.rmtree(folder)
    for wrong in said_about_none(used):
        counted["WRONG"] += 1
        print(f"WRONG: {wrong}")
    print(f"{counted['ok']} run here, {counted['by']} run elsewhere, {counted['NOT']} not run, {counted['WRONG']} wrong")
    sys.exit(1 if counted["WRONG"] else 0)


if __name__ == "__main__":
    main()
