#!/bin/bash
# tools/install_servers.sh PACKAGE... - Debian packages of servers, installed without any of them starting, now or at the next boot.
#
# policy-rc.d (invoke-rc.d's question "may this service start?") answers no while apt works; one that was there before is put back
# afterwards. Services that this run brought are then disabled: only perf/peers/run starts them, by hand, and ends them again.
set -euo pipefail
cd "$(dirname "$0")/.."

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed$'; }
# Erlang comes along with RabbitMQ and ejabberd and brings a name server of its own.
brings=(erlang-base)
! is_installed erlang-base || brings=()
missing=()
for package in "$@"; do is_installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-ringpost
put_back() {
    if [ -e $kept ]; then "${as_root[@]}" mv -f $kept $policy; else "${as_root[@]}" rm -f $policy; fi
}
[ ! -e $policy ] || "${as_root[@]}" cp -a $policy $kept
trap put_back EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
"${as_root[@]}" chmod 755 $policy

tools/install_packages.sh "${missing[@]}"

for unit in $(dpkg -L "${missing[@]}" "${brings[@]}" 2>/dev/null | sed -n 's,^/lib/systemd/system/\([^/@]*\.\(service\|socket\)\)$,\1,p' | sort -u); do
    ! command -v systemctl >/dev/null || "${as_root[@]}" systemctl disable "$unit" >/dev/null 2>&1 || true
done
for script in $(dpkg -L "${missing[@]}" 2>/dev/null | sed -n 's,^/etc/init.d/\([^/]*\)$,\1,p'); do
    ! command -v update-rc.d >/dev/null || "${as_root[@]}" update-rc.d "$script" disable >/dev/null 2>&1 || true
done
