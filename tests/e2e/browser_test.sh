#!/bin/bash
# tests/e2e/browser_test.sh - two people in the web chat, in headless Chromium, against the real server; in the middle of it the server is
# killed with kill -9 and started again. What they do stands in browser/chat.spec.mjs; this file only gives them a server.
#   browser_test.sh                    all of it
#   browser_test.sh restart DIR PORT   what the spec calls to have the server of DIR killed and started again on the same port
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${RINGPOST_BIN:-$here/../../build/plain/ringpost}")
deadline_seconds=30

# Runs a command until it succeeds.
wait_until() {
    local give_up=$((SECONDS + deadline_seconds))
    until "$@"; do
        if ((SECONDS > give_up)); then
            echo "waited in vain: $*" >&2
            return 1
        fi
        sleep 0.02
    done
}

# A process that is gone, or only waits to be reaped.
is_gone() {
    local state
    state=$(ps -o stat= -p "$1") || return 0
    [[ $state == Z* ]]
}

is_serving() {
    if is_gone "$(<"$1/pid")"; then
        tail -n 3 "$1/err" >&2
        exit 1
    fi
    grep -q 'is serving' "$1/out"
}

start_server() {
    local directory=$1 port=$2
    env -u RINGPOST_URL -u RINGPOST_RESTART -u RINGPOST_BIN "$binary" serve --data-dir="$directory/data" --listen="127.0.0.1:$port" --shards=4 \
        --workers=2 --segment-size=1MiB --log-pending-max=512KiB --password-ops=1 --password-memory=1MiB --connections-max=2000 \
        --rate-messages-burst=500 --rate-logins-per-second=0 >"$directory/out" 2>>"$directory/err" </dev/null &
    echo $! >"$directory/pid"
    disown
    wait_until is_serving "$directory"
}

kill_server() {
    local pid
    pid=$(<"$1/pid")
    kill -9 "$pid" 2>/dev/null || true
    wait_until is_gone "$pid"
}

if [[ ${1:-} == restart ]]; then
    kill_server "$2"
    start_server "$2" "$3"
    exit 0
fi

if [[ ! -x ${CHROMIUM:=/usr/bin/chromium} ]]; then
    echo "skip browser: $CHROMIUM is not there"
    exit 77
fi

directory=$(mktemp -d "${TMPDIR:-/tmp}/ringpost-browser-XXXXXX")
clean_up() {
    [[ ! -f $directory/pid ]] || kill_server "$directory"
    rm -rf "$directory"
}
trap clean_up EXIT

start_server "$directory" 0
port=$(sed -n 's|.*http://127\.0\.0\.1:\([0-9]*\)/.*|\1|p' "$directory/out")
export CHROMIUM RINGPOST_BIN="$binary" RINGPOST_URL="http://127.0.0.1:$port"
export RINGPOST_RESTART="'$here/browser_test.sh' restart '$directory' $port"
code=0
node --test-reporter=tap "$here/browser/chat.spec.mjs" || code=$?
((code == 0)) || tail -n 20 "$directory/err"
exit $code
