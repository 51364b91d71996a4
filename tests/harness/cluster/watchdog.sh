# Owns a cluster's folder: makes it, and when standard input closes, which it does however its parent ends, stops
# whatever runs in this process group and removes the folder. Arguments: the folder, the path of pg_ctl.
trap '' HUP INT QUIT TERM
mkdir -m 700 "$1" || exit 1
echo ready
cat >/dev/null
exec >/dev/null 2>&1
# Ends initdb and a server that has no pid file yet; for a running server it is an immediate stop.
kill -QUIT 0
attempt=0
while [ "$attempt" -lt 5 ]; do
  [ -e "$1/data/postmaster.pid" ] && "$2" -D "$1/data" -m immediate -w -t 10 stop
  rm -rf "$1" && [ ! -e "$1" ] && exit 0
  attempt=$((attempt + 1))
  sleep 1
done
exit 1
