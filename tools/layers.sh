#!/bin/sh
# Proves that includes point down only, by the rules of a file like tools/layers.txt: `tools/layers.sh RULES`. A layer is a folder with what stands in
# it, but not in a deeper layer. An x_internal.h belongs to its own folder and to those inside it. Prints each include that breaks a rule,
# and each folder that has none.
set -eu
rules=$1
faults=$(mktemp)
trap 'rm -f "$faults"' EXIT
report() { sed "s#^#not ok layers: $1: #" >> "$faults"; }
includes() { grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$1" "$2" || true; }
rows() { grep -vE '^(#|$)' "$rules" | sed 's/[[:space:]]*:[[:space:]]*/ : /'; }

rows | grep -v '^<' | while read -r layer _ allowed; do
    allowed=$(echo "$allowed" | tr ' ' '|')
    includes '"' "src/$layer" | grep -E "^src/$layer/[^/]*:" | grep -vE "include \"($layer/[^/]*\"${allowed:+|$allowed})" \
        | report "src/$layer may only include from itself and ${allowed:-nowhere}" || true
done

rows | grep '^<' | while read -r header _ owners; do
    owners=$(echo "$owners" | tr ' ' '|')
    includes "$header" src | grep -vE "^src/($owners)/" | report "$header belongs to $owners" || true
done

includes '"[^"]*_internal\.h"' src | awk -F: '{
    folder = $1; sub(/^src\//, "", folder); sub(/\/[^\/]*$/, "", folder)
    target = $3; sub(/.*include "/, "", target); sub(/\/[^\/]*$/, "", target)
    if (folder != target && index(folder, target "/") != 1) print
}' | report "an internal header stays in its folder"

find src -mindepth 2 -name '*.[ch]' | sed 's#^src/##; s#/[^/]*$##' | sort -u | while read -r folder; do
    rows | grep -q "^$folder : *" || echo "src/$folder has no rule" | report "unknown layer"
done

if [ -s "$faults" ]; then
    cat "$faults"
    exit 1
fi
echo "ok layers: $(rows | grep -vc '^<') folders include downwards only"
