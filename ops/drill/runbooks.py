"""Walks through the runbook of an alert that has arrived: what it says to look at is looked at."""
import re
import shlex

from system import OPS

BLOCK = re.compile(r"```(promql|sql|sh)\n(.*?)```", re.S)


class Walk:
    """What came of one runbook."""

    def __init__(self):
        self.looked, self.wrong, self.not_run = 0, [], []

    def __str__(self):
        text = f"{self.looked} looked at"
        if self.not_run:
            text += f", {len(self.not_run)} not run"
        return text + "".join(f"\n    WRONG {wrong}" for wrong in self.wrong)


def first_look(alert):
    text = (OPS / f"runbooks/{alert}.md").read_text()
    return text.split("## First look")[1].split("## Actions")[0]


# Caused by a database that lets no worker in, and so none of their commands.
WITHOUT_COMMANDS = {"WorkerStalled", "QueueGaugesOld"}
# What was refused was not stored.
WITHOUT_ROWS = {"SumsubWebhookFailures"}


def walk(alert, drop, watch):
    """Every query and every statement, asked as whoever may only look, must show something, and every command of ours end well.
    What needs Kubernetes is not run."""
    walked = Walk()
    for kind, block in BLOCK.findall(first_look(alert)):
        if kind == "promql":
            look(walked, block, lambda: watch.query(block) or "no series")
        elif kind == "sql":
            look(walked, block, lambda: sql(drop, block, alert))
        else:
            for line in filter(None, (line.split("#")[0].strip() for line in block.splitlines())):
                ours = line.startswith("drop-worker ") and alert not in WITHOUT_COMMANDS
                if ours and (arguments := filled(line, drop)):
                    look(walked, line, lambda: ended(drop.operator(arguments)))
                else:
                    walked.not_run.append(line)
    return walked


def look(walked, what, at):
    try:
        seen = at()
        wrong = seen if isinstance(seen, str) else None
    except Exception as error:
        wrong = str(error)
    walked.looked += 1
    if wrong:
        walked.wrong.append(f"{' '.join(what.split())}: {wrong}")


def sql(drop, block, alert):
    shown = drop.sql(block, "drop_readonly")
    return None if shown or alert in WITHOUT_ROWS else "no row"


def ended(ran):
    return None if ran.returncode == 0 else ran.stderr.strip() or f"ended with {ran.returncode}"


# Whom a command of a runbook is about: one of those that the alert is about.
IDS = {
    "<id>": "SELECT id FROM jobs WHERE state = 'dead' ORDER BY id DESC LIMIT 1",
    "<tx_…>": "SELECT 'tx_' || replace(id::text, '-', '') FROM transactions WHERE needs_review LIMIT 1",
    "<evt_…>": "SELECT 'evt_' || replace(id::text, '-', '') FROM webhook_events WHERE state IN ('unmatched', 'quarantined') LIMIT 1",
    "<lane>": "SELECT 'login'",
}


def filled(line, drop):
    """The command's arguments; nothing where it is about something that is not there."""
    for placeholder, statement in IDS.items():
        if placeholder in line:
            line = line.replace(placeholder, drop.sql(statement) or placeholder)
    return None if "<" in line else shlex.split(line)[1:]
