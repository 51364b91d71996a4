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
# Why a command is not run here; or the files in which it is run, each with what stands there for exactly this command. The first that
# matches. The restore drill does a block of its guide as a whole, and names it by one of its lines.
RESTORE = "ops/drill/restore.py"
ELSEWHERE = [
    (r"drop-worker\(\)|kubectl .*\bexec\b", POD),
    (r"kubectl .*\bport-forward\b", POD),
    (r"docker compose", "NOT RUN: needs Docker"),
    (r"cargo deny", "NOT RUN: needs a network"),
    (r"drop-worker payments show", {"tests/flows/settling.rs": '"payments", "show", &id'}),
    (r"drop-worker payments list", {"tests/flows/settling.rs": '"payments", "list"', RESTORE: '"drop-worker payments list"'}),
    (r"drop-worker payments settle .* --never-arrived", {"tests/flows/settling.rs": '"payments", "settle", &id, "--never-arrived"'}),
    (r"drop-worker lanes pause payment\.send --until-resumed", {RESTORE: '"lanes", "pause", "payment.send", "--until-resumed"'}),
    (r"drop-worker lanes pause balance\.batch --until-resumed", {RESTORE: '"lanes pause balance.batch"'}),
    (r"drop-worker lanes resume balance\.batch", {RESTORE: "drop-worker lanes resume balance.batch"}),
    (r"drop-worker restored close --to", {RESTORE: '"restored close"'}),
    (r"drop-worker restored open", {RESTORE: '"restored open"'}),
    (r"drop-worker migrate", {RESTORE: '["migrate"]'}),
    (r"drop-worker users erased --days 35 --json", {RESTORE: "drop-worker users erased --days 35 --json"}),
    (r"drop-worker users erased$", {"tests/flows/erasure/watching.rs": '"users", "erased", '}),
    (r"drop-worker users erase-again", {RESTORE: '"users erase-again"', "tests/flows/erasure/restoring.rs": '"users", "erase-again", '}),
    (r"drop-worker users erase usr_", {RESTORE: '"users", "erase", ', "tests/flows/resealing.rs": '"users", "erase", '}),
    (r"drop-worker users hold usr_", {"tests/flows/erasure/running.rs": 'does(&app, "hold", &'}),
    (r"drop-worker users kept", {"tests/flows/erasure/mod.rs": '"users", "kept", &'}),
    (r"drop-worker retain", {RESTORE: '["retain"]', "tests/flows/reports.rs": "app.retain_process("}),
    (r"drop-worker reseal$", {"tests/flows/resealing.rs": "reseal(&app, Role::Worker, &[])"}),
    (r"drop-worker reseal --count", {"tests/flows/resealing.rs": '&["--count"]'}),
    (r"drop-worker reseal --kept", {"tests/flows/resealing.rs": '&["--kept"]'}),
    (r"drop-worker cases list", {"tests/flows/kyc/operators.rs": '["cases", "list"]'}),
    (r"drop-worker stats", {"tests/flows/operator/commands.rs": '["stats"]'}),
    (r"pg_(basebackup|verifybackup) ", {RESTORE: '"pg_basebackup"'}),
    (r"pg_ctl |cp -a|echo |touch |find ", {RESTORE: '"recovery_target_time"'}),
    (r"psql .*roles\.sql", {"tests/flows/roles/adopting.rs": 'read(&ops("postgres/roles.sql"))'}),
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


def is_run(places):
    """What became of a command that is run elsewhere: what runs it must stand in each of these files."""
    for place, form in places.items():
        path = ROOT / place
        if not path.is_file():
            return f"WRONG: {place} is not there"
        if form not in path.read_text():
            return f"WRONG: {place} has no {form}"
    return f"by {', and by '.join(places)}"


def said_about_none(used, found):
    """What is said above about a command, and no guide has any more."""
    yield from (f"no command of a guide is {pattern}" for pattern, _ in ELSEWHERE if pattern not in used)
    yield from (f"no command of a guide sets {name}" for name in FOUND if name not in found)



class Machine:
    """Where they are run: a copy of the manifests, a cluster, Amazon's RDS with one database, a folder of systemd's."""

    def __init__(self, folder):
        self.folder, self.cluster, self.rds, self.found = folder, Cluster(), None, set()
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
            self.found.add(sets[1])
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
        return is_run(entry[1]) if isinstance(entry[1], dict) else entry[1]
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
    for wrong in said_about_none(used, machine.found):
        counted["WRONG"] += 1
        print(f"WRONG: {wrong}")
    print(f"{counted['ok']} run here, {counted['by']} run elsewhere, {counted['NOT']} not run, {counted['WRONG']} wrong")
    sys.exit(1 if counted["WRONG"] else 0)


if __name__ == "__main__":
    main()
