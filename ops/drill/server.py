"""A PostgreSQL server with an archive, as ops/restore.md wants it: its own account, everything on disk, nothing turned off."""
import os
import pathlib
import pwd
import shutil
import subprocess

from system import OPS, free_port


def programs_of_postgresql():
    named = os.environ.get("DROP_PG_BIN")
    folders = [pathlib.Path(named)] if named else sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("pg_basebackup")
    folders += [pathlib.Path(on_path).parent] if on_path else []
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "pg_basebackup", "pg_verifybackup")):
            return folder
    raise SystemExit("PostgreSQL's programs are not here: name their folder in DROP_PG_BIN")


def account():
    """As root, the account of the server, for PostgreSQL refuses to be root; else oneself."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise SystemExit("no account for PostgreSQL's server: neither postgres nor nobody is here")


class Server:
    """The server's account at work in a folder of its own; `data` is where its data lie now."""

    def __init__(self, folder, lines):
        self.folder, self.port, self.account = folder, free_port(), account()
        self.data, self.backup = folder / "data", folder / "backup"
        for made in (self.backup / "wal", self.data):
            made.mkdir(parents=True)
        if self.account:
            shutil.chown(folder, self.account["user"], self.account["group"])
            for made in (self.backup, self.backup / "wal", self.data):
                shutil.chown(made, self.account["user"], self.account["group"])
        self.data.chmod(0o700)
        self.env = {
            "PATH": f"{programs_of_postgresql()}:{os.environ['PATH']}", "LC_ALL": "C",
            "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGDATA": str(self.data),
        }
        self.run("initdb --auth=trust --username=postgres --encoding=UTF8 >/dev/null")
        with open(self.data / "postgresql.conf", "a") as settings:
            # No socket: a folder's name may be too long for one.
            settings.write("\n".join(["unix_socket_directories = ''", "max_connections = 200", "timezone = 'UTC'", *lines]) + "\n")
        self.run(f"pg_ctl --pgdata='{self.data}' --log='{self.data}/server.log' --wait start >/dev/null")
        self.sql("CREATE DATABASE drop", "postgres")
        self.sql((OPS / "postgres/roles.sql").read_text())

    def run(self, line, cwd=None):
        """One line of a shell, as the server's account. What it printed."""
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", line], env=self.env, cwd=cwd or self.folder, capture_output=True,
                             text=True, **self.account)
        assert ran.returncode == 0, f"{line}: {ran.stderr.strip()}"
        return ran.stdout

    def sql(self, statements, database="drop"):
        ran = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database], input=statements, env=self.env, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{statements}: {ran.stderr.strip()}")
        return ran.stdout.strip()

    def address(self, role):
        return f"postgres://{role}@127.0.0.1:{self.port}/drop"

    def is_lost(self):
        """As if its machine were switched off. Its disk is still there."""
        self.run("pg_ctl --mode=immediate --wait stop >/dev/null")

    def next_data_folder(self):
        """An empty one, on a new server: another port, another folder, the same archive."""
        self.port, self.data = free_port(), self.folder / "restored"
        self.data.mkdir(mode=0o700)
        if self.account:
            shutil.chown(self.data, self.account["user"], self.account["group"])
        self.env |= {"PGPORT": str(self.port), "OLD_PGDATA": self.env["PGDATA"], "PGDATA": str(self.data)}

    def end(self):
        if (self.data / "postmaster.pid").exists():
            self.is_lost()
