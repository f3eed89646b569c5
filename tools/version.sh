#!/bin/sh
# Prints the version of what is built here. `tools/version.sh`, from the top of the tree:
#   0.2.0                  the commit that carries the tag v0.2.0, or a tree without git (an archive): the file VERSION
#   0.2.0+17.g33cae0f      17 commits after that tag
#   0.1.0+g33cae0f         before the first tag, with VERSION in front
# and .dirty behind it when a file that git knows was changed: .git has the rest of what would be needed to build it again.
set -eu

# As root in somebody else's tree (`sudo make install`) the version is that of his build.
git_here() { git -c safe.directory='*' "$@" 2>/dev/null; }

# In a tree of its own only: an archive unpacked below another repository is not that repository's version.
if [ "$(git_here rev-parse --show-prefix || echo none)" = "" ]; then
    described=$(git_here describe --tags --match 'v[0-9]*' --dirty=.dirty || true)
    [ -n "$described" ] || described=v$(cat VERSION)-g$(git_here describe --always --exclude '*' --dirty=.dirty)
    # v0.2.0-17-g33cae0f.dirty -> 0.2.0+17.g33cae0f.dirty; v0.2.0.dirty -> 0.2.0+dirty
    echo "$described" | sed -E 's/^v//; s/-([0-9]+)-g([0-9a-f]+)/+\1.g\2/; s/-g([0-9a-f]+)/+g\1/; s/^([0-9.]+)\.dirty$/\1+dirty/'
else
    cat VERSION
fi
