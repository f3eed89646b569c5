#!/bin/sh
# Proves that includes point down only: `mk/layers.sh LAYER=ALLOWED,ALLOWED... -- HEADER:LAYER,LAYER...`. The first list says which
# folders each layer of src/ may include from, the second which layers may include a library's header (a regular expression).
# An x_internal.h belongs to its own folder. Prints each include that breaks a rule.
set -eu
faults=$(mktemp)
trap 'rm -f "$faults"' EXIT
report() { sed "s#^#not ok layers: $1: #" >> "$faults"; }
includes() { grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$1" "$2" || true; }

layers=
while [ "$1" != -- ]; do
    layer=${1%%=*}
    allowed=$(echo "${1#*=}" | tr , '|')
    includes '"' "src/$layer" | grep -vE "include \"($allowed)/" | report "src/$layer may only include from $allowed" || true
    layers="$layers $layer"
    shift
done
shift

for rule in "$@"; do
    owners=$(echo "${rule#*:}" | tr , '|')
    includes "<${rule%%:*}>" src | grep -vE "^src/($owners)/" | report "<${rule%%:*}> belongs to $owners" || true
done

includes '"[^"]*_internal\.h"' src | awk -F: '{
    folder = $1; sub(/^src\//, "", folder); sub(/\/.*/, "", folder)
    target = $3; sub(/.*include "/, "", target); sub(/\/.*/, "", target)
    if (folder != target) print
}' | report "an internal header stays in its folder"

for folder in src/*/; do
    name=$(basename "$folder")
    case " $layers " in *" $name "*) ;; *) echo "$folder has no rule" | report "unknown layer" ;; esac
done

if [ -s "$faults" ]; then
    cat "$faults"
    exit 1
fi
echo "ok layers:$layers include downwards only"
