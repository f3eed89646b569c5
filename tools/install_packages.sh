#!/bin/sh
# Installs the Debian packages that are missing: `tools/install_packages.sh PACKAGE... [COMMAND=PACKAGE]...`, where the second form
# counts as present when the command is found, wherever it came from. Does nothing at all when everything is there.
set -eu

is_present() {
    case $1 in
    *=*) command -v "${1%%=*}" ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>&1 | grep 'ok installed$' ;;
    esac >/dev/null
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian: make sure that you have what these Debian packages contain: $*" >&2
    exit 0
fi

missing=
for want in "$@"; do
    is_present "$want" || missing="$missing ${want#*=}"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing:$missing" >&2
        echo "You are not root and there is no sudo. As root, run: apt-get update && apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "Installing$missing"
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086 # lists of words
if ! $apt update || ! $apt install --yes --no-install-recommends $missing >/dev/null; then
    echo "apt-get failed. Without these packages nothing can be built:$missing" >&2
    exit 1
fi
