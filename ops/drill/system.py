"""Drop on this machine, watched by a real Prometheus, Alertmanager and Blackbox exporter with the configuration of ops/."""
import argparse
import collections
import contextlib
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
# The files of ops/prometheus in which the alerts are.
ALERTS = ("alerts.yaml", "alerts_platform.yaml")
# The line by which the launcher says that everything is up.
UP = "everything is up"
PATIENCE = 120


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def tool(program, package):
    found = subprocess.run([OPS / "tool", program, package], capture_output=True, text=True)
    if found.returncode != 0:
        raise SystemExit(f"no {program}: install Debian's package {package}, or put it on PATH")
    return found.stdout.strip()


def fetch(url, body=None, method=None):
    """The JSON that an address answers with; a body, also JSON, is posted."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def until(what, holds, patience=PATIENCE, every=0.5):
    """What `holds` answers, once that is something."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(every)
    raise TimeoutError(f"not within {patience} s: {what}")


class Processes:
    """What was started, each with a log file; all of it is ended, last first."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, arguments, env=None, **more):
        log = open(self.folder / f"{name}.log", "w")
        more.setdefault("stdout", log)
        # A group of its own, so that Ctrl-C reaches this program alone, which then ends them in order.
        process = subprocess.Popen(
            [str(argument) for argument in arguments], env=env, stderr=log, start_new_session=True, **more
        )
        self.running.append((name, process))
        return process

    def are_well(self):
        """Ends everything where one ended by itself."""
        for name, process in self.running:
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text()
                raise SystemExit(f"{name} has ended: {log[-500:]}")

    def end(self):
        for _, process in reversed(self.running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Drop:
    """The launcher (`cargo run`) and what it says of itself."""

    def __init__(self, processes, programs):
        self.processes, self.programs = processes, programs
        # On a server of our own each process has its role, as in production.
        env = {name: value for name, value in os.environ.items() if name != "DROP_DATABASE_URL"}
        self.launcher = processes.start(
            "drop", [programs / "drop-local"], env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        said = self._read_until_up()
        port = re.search(r"starting the server on port (\d+)(?![\s\S]*starting the server)", said)[1]
        self.api = re.search(r"health +(\S+)/v1/health", said)[1]
        self.api_internal, self.worker_internal = re.search(r"metrics +(\S+)/metrics +(\S+)/metrics", said).groups()
        self.control = re.search(r"sandbox control +(\S+)", said)[1]
        self._database = f"127.0.0.1:{port}/local"

    def _read_until_up(self):
        lines, waiting = [], queue.Queue()

        def read():
            with open(self.processes.folder / "drop.txt", "w") as log:
                for line in self.launcher.stdout:
                    log.write(line)
                    log.flush()
                    waiting.put(line)
            waiting.put("")

        threading.Thread(target=read, daemon=True).start()
        while UP not in "".join(lines[-1:]):
            line = waiting.get(timeout=PATIENCE)
            if not line:
                raise SystemExit("the system did not start:\n" + "".join(lines[-20:]))
            lines.append(line)
        return "".join(lines)

    def database(self, role):
        return f"postgres://{role}@{self._database}"

    def sql(self, statement, role="postgres", separator="|"):
        """What psql prints of it; the postgres of this server may do everything."""
        ran = subprocess.run(
            ["psql", "-XAt", "-F", separator, "-v", "ON_ERROR_STOP=1", self.database(role)], input=statement, capture_output=True, text=True
        )
        if ran.returncode != 0:
            raise RuntimeError(f"{statement}: {ran.stderr.strip()}")
        return ran.stdout.strip()

    def operator(self, arguments, role="drop_worker"):
        """`drop-worker` with these arguments, as in a worker's pod."""
        env = {"PATH": os.environ["PATH"], "DATABASE_URL": self.database(role), "DROP_PROFILE": "local"}
        return subprocess.run([self.programs / "drop-worker", *arguments], env=env, capture_output=True, text=True, timeout=60)

    def sandbox(self, path, body=None, method=None):
        """One request to the control interface of the simulated providers."""
        return fetch(self.control + path, body, method)

    def process(self, part):
        """The id of a child of the launcher."""
        children = subprocess.run(["ps", "--ppid", str(self.launcher.pid), "-o", "pid=,args="], capture_output=True, text=True)
        lines = children.stdout.splitlines()
        return next(int(line.split()[0]) for line in lines if line.endswith(f"drop-local {part}"))

    def environment(self, part):
        """What the launcher told a child of it."""
        read = pathlib.Path(f"/proc/{self.process(part)}/environ").read_bytes().decode()
        return dict(pair.split("=", 1) for pair in read.split("\0") if "=" in pair)

    def second_worker(self, lanes, port, **variables):
        """Another worker, as a second Deployment is: with the first one's environment, its own port and lanes."""
        env = self.environment("worker") | variables | {"DROP_WORKER_INTERNAL_LISTEN": f"127.0.0.1:{port}"}
        return self.processes.start("second-worker", [self.programs / "drop-worker", "run", "--lanes", lanes], env)

    def second_api(self, internal_port, **variables):
        """Another API, and where people reach it."""
        port = free_port()
        listen = {"DROP_API_LISTEN": f"127.0.0.1:{port}", "DROP_API_INTERNAL_LISTEN": f"127.0.0.1:{internal_port}"}
        process = self.processes.start("second-api", [self.programs / "drop-api"], self.environment("api") | variables | listen)
        return process, f"http://127.0.0.1:{port}"


class Receivers(http.server.ThreadingHTTPServer):
    """Stand-ins for everybody whom Alertmanager tells: they note what they were told."""

    def __init__(self):
        told = self.told = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in message["alerts"]:
                    if alert["status"] == "firing":
                        told.setdefault(alert["labels"]["alertname"], (message["receiver"], time.monotonic()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


def replaced(text, changes):
    """The text with each pattern, which must be in it once, replaced."""
    for pattern, replacement in changes:
        text, times = re.subn(pattern, lambda _, new=replacement: new, text)
        assert times == 1, f"{times} times in the configuration, not once: {pattern}"
    return text


def alertmanager_program():
    """Debian's reads its templates from a fixed place. Where the package is unpacked and not installed, it is shown them there."""
    program = pathlib.Path(tool("prometheus-alertmanager", "prometheus-alertmanager"))
    place = pathlib.Path("/usr/share/prometheus/alertmanager")
    unpacked = program.parents[1] / "share/prometheus/alertmanager"
    if place.exists() or not unpacked.exists():
        return [program]
    shown = 'mount -t tmpfs none /usr/share && mkdir -p "$1" && cp "$2"/*.tmpl "$1" && shift 2 && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", shown, "sh", place, unpacked, program]


class Watch:
    """Prometheus, Alertmanager and the Blackbox exporter. Rules, routes, grouping and inhibition are those of ops/ to the
    letter, but for what is `shorter`; where they find what they scrape and whom they tell is this machine."""

    def __init__(self, drop, folder, seconds, shorter):
        self.drop, self.folder, self.receivers = drop, folder, Receivers()
        prometheus, alertmanager, blackbox = free_port(), free_port(), free_port()
        self.prometheus, self.alertmanager = (f"http://127.0.0.1:{port}" for port in (prometheus, alertmanager))
        host = lambda url: urllib.parse.urlsplit(url).netloc
        found_by_name = r"dns_sd_configs:\n *- names: \[drop-{}-internal[^\n]*\n( {{8}}[^\n]*\n)+"
        static = "static_configs:\n      - targets: [{}]\n".format
        # Of each kind a second one, which is there when something needs it.
        targets = lambda first, port: static(f"'{host(first)}', '127.0.0.1:{port}'")
        self._write("prometheus.yaml", "prometheus/prometheus.yaml", [
            (r"alertmanager\.monitoring\.svc:9093", f"127.0.0.1:{alertmanager}"),
            (r"blackbox-exporter\.monitoring\.svc:9115", f"127.0.0.1:{blackbox}"),
            (r"https://getdrop\.no/v1/health", f"{drop.api}/v1/health"),
            (found_by_name.format("api"), targets(drop.api_internal, seconds["api"])),
            (found_by_name.format("worker"), targets(drop.worker_internal, seconds["worker"])),
        ])
        # No TLS on this machine.
        self._write("blackbox.yaml", "prometheus/blackbox.yaml", [("fail_if_not_ssl: true", "fail_if_not_ssl: false")])
        for name in (*ALERTS, "recording.yaml"):
            self._write(name, f"prometheus/{name}", shorter.get(name, ()))
        # Nobody is called: each receiver keeps its name, and is a stand-in.
        names = re.findall(r"(?m)^  - name: (\S+)", (OPS / "alertmanager/alertmanager.yaml").read_text())
        stand_ins = [f"  - name: {name}\n    webhook_configs: [{{url: '{self.receivers.url}'}}]\n" for name in names]
        self._write("alertmanager.yaml", "alertmanager/alertmanager.yaml",
                    [(r"(?m)^receivers:\n[\s\S]*", "receivers:\n" + "".join(stand_ins))])
        start = drop.processes.start
        start("blackbox", [tool("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
                           f"--config.file={folder}/blackbox.yaml", f"--web.listen-address=127.0.0.1:{blackbox}"])
        start("alertmanager", [*alertmanager_program(),
                               f"--config.file={folder}/alertmanager.yaml", f"--storage.path={folder}/alertmanager",
                               f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="])
        start("prometheus", [tool("prometheus", "prometheus"), f"--config.file={folder}/prometheus.yaml",
                             f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{prometheus}"])
        self.arrived = {}

    def _write(self, name, of, changes):
        (self.folder / name).write_text(replaced((OPS / of).read_text(), changes))

    def query(self, expression):
        """The series that an expression gives now, each with its labels and its value."""
        url = f"{self.prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        result = fetch(url)["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def scraped(self):
        """Whether API and worker were scraped twice since the start: a counter that is new counts from its second value."""
        self.drop.processes.are_well()
        try:
            fetch(self.alertmanager + "/api/v2/status")
            counts = self.query('count_over_time(up{job=~"drop-api|drop-worker"}[10m]) >= 2')
            return {"drop-api", "drop-worker"} <= {labels["job"] for labels, _ in counts}
        except OSError:
            return False

    def firing(self):
        return {alert["labels"]["alertname"] for alert in fetch(self.alertmanager + "/api/v2/alerts")}

    def inhibited(self):
        """The alerts that Alertmanager has and tells nobody of, each with those that hold it back."""
        alerts = fetch(self.alertmanager + "/api/v2/alerts")
        names = {alert["fingerprint"]: alert["labels"]["alertname"] for alert in alerts}
        by = collections.defaultdict(set)
        for alert in alerts:
            if sources := alert["status"]["inhibitedBy"]:
                by[alert["labels"]["alertname"]] |= {names.get(source) for source in sources}
        return dict(by)

    def look(self):
        """Notes which alerts Alertmanager has. The new ones."""
        self.drop.processes.are_well()
        new = []
        for alert in fetch(self.alertmanager + "/api/v2/alerts"):
            name = alert["labels"]["alertname"]
            if name not in self.arrived:
                receivers = ", ".join(receiver["name"] for receiver in alert["receivers"])
                self.arrived[name] = (alert["labels"]["severity"], receivers, alert["status"]["state"], time.monotonic())
                new.append(name)
        return new


def programs(built):
    """The folder of the programs: built now, or before."""
    if built:
        return pathlib.Path(built).resolve()
    subprocess.run(["cargo", "build", "--locked", *(f"--package={program}" for program in ("drop-local", "drop-api", "drop-worker"))], cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"


def need(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise SystemExit(f"not here: {', '.join(missing)}")


@contextlib.contextmanager
def drop_alone(doc, prefix):
    """Drop for a program that measures it, by that program's arguments; all that was started is gone afterwards."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--built", metavar="FOLDER", help="where drop-local and drop-worker were built before")
    arguments = parser.parse_args()
    need("psql", "ps")
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    processes = Processes(folder)
    try:
        yield Drop(processes, programs(arguments.built))
    finally:
        processes.end()
        shutil.rmtree(folder)
