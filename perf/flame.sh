#!/bin/sh
# perf/flame.sh PID [SECONDS] [THREAD] > flame.svg: a flame graph of a running server's thread (worker-0). Needs perf; run it while the
# server is under load.
set -eu
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
pid=$1 seconds=${2:-5} thread=${3:-worker-0}
here=$(dirname "$0") data=$(mktemp)
trap 'rm -f "$data"' EXIT
tid=
for task in /proc/"$pid"/task/*; do
    [ "$(cat "$task/comm")" = "$thread" ] && tid=${task##*/}
done
[ -n "$tid" ] || { echo "process $pid has no thread $thread" >&2; exit 1; }
perf record -q -F 2999 -g -o "$data" -t "$tid" -- sleep "$seconds" >&2
perf script -i "$data" -F comm,ip,sym,dso 2>/dev/null | python3 "$here/flame.py"
