#!/bin/sh
# tools/fetch_source.sh DIRECTORY PACKAGE... - brings Debian's source of the installed versions of these binary packages and unpacks it
# below DIRECTORY, as DIRECTORY/SOURCE-VERSION. apt checks the signatures; its own lists and settings stay as they are: what it
# needs to know about sources is kept in DIRECTORY.
set -eu
directory=$1
shift
mkdir -p "$directory/apt/lists/partial" "$directory/apt/cache/archives/partial"
cd "$directory"
directory=$PWD

# Where the installed version came from, as a line for sources.list: "500 ADDRESS SUITE/COMPONENT ARCHITECTURE Packages".
origin_of() {
    version=$(dpkg-query -W -f '${Version}' "$1")
    apt-cache policy "$1" | awk -v version="$version" '
        $1 == "***" || $1 == version { inside = ($2 == version || $1 == version); next }
        inside && $1 ~ /^[0-9]+$/ && $2 !~ /^\/var\/lib\/dpkg/ { split($3, part, "/"); print "deb-src", $2, part[1], part[2]; exit }
        inside && $1 !~ /^[0-9]+$/ { inside = 0 }'
}
apt_here() {
    apt-get -qq -o Acquire::Retries=3 -o Dir::Etc::sourcelist="$directory/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$directory/apt/lists" -o Dir::Cache="$directory/apt/cache" -o APT::Sandbox::User=root "$@"
}

: >apt/sources.list
for package in "$@"; do origin_of "$package" >>apt/sources.list; done
sort -u -o apt/sources.list apt/sources.list
if [ ! -s apt/sources.list ]; then
    echo "fetch_source: apt does not know where $* came from: run apt-get update first" >&2
    exit 1
fi
apt_here update
for package in "$@"; do
    source=$(dpkg-query -W -f '${source:Package}=${source:Version}' "$package")
    unpacked=$(echo "$source" | sed 's/=.*:/=/; s/=/-/')
    [ ! -d "$unpacked" ] || continue
    echo "Fetching the source ${source%%=*} ${source#*=}"
    apt_here source --download-only "$source"
    dpkg-source --no-check -x "${source%%=*}_${unpacked#*-}.dsc" "$unpacked.part" >/dev/null
    mv "$unpacked.part" "$unpacked"
done
