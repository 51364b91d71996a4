"""python3 ops/drill: causes every alert of ops/prometheus on this machine, and sees it arrive in Alertmanager.

Starts the whole system with the simulated providers, and a Prometheus, an Alertmanager and a Blackbox exporter of Debian's
packages with the rules, routes and modules of ops/. Those whom Alertmanager would tell are stand-ins. Then each alert is
caused, waited for, and its runbook walked through; at the end what can be mended is, and the alerts about that must be over. Needs a
Rust toolchain, PostgreSQL's programs, curl and openssl.
"""
import argparse
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import causes
import runbooks
from system import ALERTS, OPS, Drop, Processes, Watch, free_port, need, programs, tool, until

# The longest window and `for` of a rule, OldSnapshot's and UpkeepStandsStill's, and as much again for a busy machine.
LONGEST = 1500
# The source is there within two scrapes and a look at the rules.
HELD_BACK = 120
# A circuit closes within a minute, a plan of balance reads is made every five and spread over four.
MENDED = 720


class Drill:
    def __init__(self, drop, watch, expected):
        self.drop, self.watch, self.expected = drop, watch, expected
        self.caused, self.walks, self.began = {}, {}, time.monotonic()
        self.not_held_back = []

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    def cause(self, scene, cause, alerts):
        self.say(f"{cause.__name__.replace('_', ' ')}: {', '.join(alerts)}")
        for alert in alerts:
            self.caused[alert] = time.monotonic()
        cause(scene)
        self.look()

    def look(self):
        for alert in self.watch.look():
            severity, receivers, state, _ = self.watch.arrived[alert]
            self.say(f"  arrived: {alert}, {severity}, {state}, for {receivers}")
            self.walks[alert] = runbooks.walk(alert, self.drop, self.watch)
            self.say(f"  its runbook: {self.walks[alert]}")

    def wait_for(self, *alerts):
        """Until those of them that were caused have arrived, and somebody was told."""
        alerts = self.caused.keys() & set(alerts)

        def all_there():
            self.look()
            return alerts <= self.watch.arrived.keys() & self.watch.receivers.told.keys()

        try:
            until("alerts", all_there, LONGEST, every=2)
        except TimeoutError:
            self.say(f"  did not arrive, or told nobody: {alerts - (self.watch.arrived.keys() & self.watch.receivers.told.keys())}")

    def holds_back(self, source, target):
        """Whether Alertmanager tells nobody of the target because of the source, as its inhibit_rules say."""
        try:
            until("inhibition", lambda: source in self.watch.inhibited().get(target, ()), HELD_BACK, every=2)
            self.say(f"  held back by {source}: {target}")
        except TimeoutError:
            self.say(f"  NOT held back by {source}: {target}, {self.watch.inhibited()}")
            self.not_held_back.append((source, target))

    def table(self):
        """Prints it. Whether every alert that was caused arrived with its severity and was told, and each runbook works."""
        severities = severities_of_the_rules()
        told, well = self.watch.receivers.told, not self.not_held_back
        for source, target in self.not_held_back:
            print(f"\nnot held back by {source}: {target}")
        print(f"\n{'alert':<27}{'severity':<10}{'arrived after':<15}{'told':<26}{'after':<8}runbook")
        for alert in self.expected:
            if alert not in self.watch.arrived:
                well = False
                print(f"{alert:<27}DID NOT ARRIVE")
                continue
            severity, _, _, at = self.watch.arrived[alert]
            receiver, told_at = told.get(alert, ("nobody", None))
            since = lambda moment: "-" if moment is None else f"{moment - self.caused[alert]:.0f} s"
            wrong = severity != severities[alert] or told_at is None or self.walks[alert].wrong
            well = well and not wrong
            print(f"{alert:<27}{severity:<10}{since(at):<15}{receiver:<26}{since(told_at):<8}{self.walks[alert]}")
        return well


def severities_of_the_rules():
    rules = "".join((OPS / "prometheus" / name).read_text() for name in ALERTS)
    return dict(re.findall(r"- alert: (\w+)[\s\S]*?severity: (\w+)", rules))


def names_that_promtool_dislikes(drop):
    """What `promtool check metrics` says of both processes' metrics."""
    said = set()
    for url in (drop.api_internal, drop.worker_internal):
        page = subprocess.run(["curl", "-fsS", f"{url}/metrics"], capture_output=True, check=True).stdout
        checked = subprocess.run([tool("promtool", "prometheus"), "check", "metrics"], input=page, capture_output=True)
        said |= set((checked.stdout + checked.stderr).decode().splitlines())
    return sorted(said)


def main():
    parser = argparse.ArgumentParser(prog="python3 ops/drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contract", action="store_true", help="only the contract's alerts: a quarter of an hour")
    parser.add_argument("--only", nargs="+", metavar="ALERT", help="only what causes these")
    parser.add_argument("--built", metavar="FOLDER", help="where drop-local, drop-api and drop-worker were built before")
    arguments = parser.parse_args()
    if unknown := set(arguments.only or []) - severities_of_the_rules().keys():
        parser.error(f"no such alert: {', '.join(sorted(unknown))}")
    need("psql", "curl", "openssl", "ps")
    # Told to end, it ends what it started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder_of_programs = programs(arguments.built)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="drop-drill-"))
    processes = Processes(folder)
    contract = [alert for _, alerts in causes.CONTRACT for alert in alerts]
    wanted = contract if arguments.contract else arguments.only
    try:
        well = drill(processes, folder_of_programs, folder, wanted)
    finally:
        processes.end()
    if well:
        shutil.rmtree(folder)
    else:
        print(f"what the processes said is in {folder}")
    sys.exit(0 if well else 1)


def chosen(steps, wanted):
    """The steps that are about what is wanted; all of them where nothing is named."""
    return [step for step in steps if not wanted or set(wanted) & set(step[1])]


def drill(processes, folder_of_programs, folder, wanted):
    drop = Drop(processes, folder_of_programs)
    seconds = {"api": free_port(), "worker": free_port()}
    watch = Watch(drop, folder, seconds, causes.SHORTER)
    before = chosen(causes.OURS_BEFORE + causes.CONTRACT + causes.OURS_AFTER, wanted)
    last = chosen(causes.LAST, wanted)
    drill = Drill(drop, watch, [alert for _, alerts in before + last for alert in alerts])
    if not wanted or causes.CERTIFICATE in wanted:
        drop.second_worker(causes.LANES_OF_THE_SECOND, seconds["worker"], **causes.expiring_certificate(folder))
        drill.caused[causes.CERTIFICATE] = time.monotonic()
        drill.expected.append(causes.CERTIFICATE)
    disliked = names_that_promtool_dislikes(drop)
    drill.say(f"promtool check metrics: {disliked}")
    until("Prometheus to have scraped twice", watch.scraped)
    drill.say(f"scraped by Prometheus at {watch.prometheus}; Alertmanager at {watch.alertmanager}")
    scene = causes.Scene(drop, watch, drill, seconds["api"])
    for cause, alerts in before:
        drill.cause(scene, cause, alerts)
    drill.wait_for(*(alert for _, alerts in before for alert in alerts))
    for cause, alerts in last:
        drill.cause(scene, cause, alerts)
    drill.wait_for(*drill.expected)
    print("\namtool alert query:")
    subprocess.run([tool("amtool", "prometheus-alertmanager"), "alert", "query", f"--alertmanager.url={watch.alertmanager}"])
    over = mended(drill, scene, {alert for _, alerts in before for alert in alerts})
    well = drill.table()
    healthy = is_healthy_from_outside(watch)
    print(f"\nthe synthetic check of /v1/health: {'succeeded' if healthy else 'DID NOT SUCCEED'}")
    rest = sorted(severities_of_the_rules().keys() - set(drill.expected))
    if not wanted and rest:
        print(f"not caused: {', '.join(rest)}")
        well = False
    allowed = all("aisp_balance_staleness_hours" in line for line in disliked)
    return well and over and allowed and healthy


def is_healthy_from_outside(watch):
    """Whether the Blackbox exporter, asked every five minutes, has seen /v1/health answer as it should."""
    succeeded = 'max_over_time(probe_success{job="drop-health"}[1h]) == 1'
    try:
        return bool(until("the look at /v1/health", lambda: watch.query(succeeded), 330, every=5))
    except TimeoutError:
        return False


def mended(drill, scene, caused):
    """Does what the runbooks say; whether these alerts are over then."""
    wanted = set()
    for mend, alerts in chosen(causes.MENDS, caused):
        drill.say(f"{mend.__name__.replace('_', ' ')}: no more {', '.join(caused.intersection(alerts))}")
        mend(scene)
        wanted |= caused.intersection(alerts)
    left = lambda: wanted & drill.watch.firing()
    try:
        until("the alerts to be over", lambda: not left(), MENDED, every=5)
    except TimeoutError:
        pass
    drill.say(f"still there: {left() or 'none of them'}")
    return not left()


if __name__ == "__main__":
    main()
