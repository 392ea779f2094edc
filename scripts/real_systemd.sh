#!/usr/bin/env bash
# The Debian package in a clean Debian, under a real systemd, with the demo's models: it installs, becomes ready,
# answers, is reloaded, makes a backup and stops well. Needs root, debootstrap, systemd-nspawn and Debian's packages; leaves nothing behind.
# Usage: scripts/real_systemd.sh [MODELS], after `make deb` and `cervella models pull demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
models=${1:-${XDG_DATA_HOME:-$HOME/.local/share}/cervella/models}
target=${CARGO_TARGET_DIR:-target}
root=$(mktemp -d)
# It is the root folder of a service that is not root.
chmod 755 "$root"
container=
# What the container has mounted is gone before its files are removed.
end() {
  if [ -n "$container" ]; then
    kill "$container" 2>/dev/null || true
    wait "$container" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$root" "$root.log"
}
trap end EXIT

debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl bookworm "$root" http://deb.debian.org/debian >"$root.log" || {
  tail "$root.log"
  exit 1
}
cp "$target"/debian/cervella_*.deb "$root/tmp/"
chroot "$root" sh -c 'apt-get update -qq && apt-get install -y -qq /tmp/cervella_*.deb' >>"$root.log" 2>&1 || {
  tail "$root.log"
  exit 1
}
rm -f "$root.log"
mkdir -p "$root/var/lib/private/cervella/models" "$root/srv/knowledge"
chmod 700 "$root/var/lib/private"
ln -s private/cervella "$root/var/lib/cervella"
cp -r "$models/." "$root/var/lib/private/cervella/models/"
cp -r knowledge/. "$root/srv/knowledge/"
sed -i 's#^folders = .*#folders = ["/srv/knowledge"]#; s#^answer = "auto"#answer = "demo-smollm2-135m"#' "$root/etc/cervella/cervella.toml"

systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network </dev/null >/dev/null 2>&1 &
container=$!
init=
for _ in $(seq 100); do
  init=$(pgrep --parent "$container" | head -n 1) || true
  [ -z "$init" ] || break
  sleep 0.2
done
inside() { nsenter --target "$init" --all -- "$@"; }
for _ in $(seq 60); do
  state=$(inside systemctl is-system-running 2>/dev/null || true)
  case $state in running | degraded) break ;; esac
  sleep 1
done

# Ready means that questions are answered: `start` waits for it.
inside systemctl start cervella.service || {
  inside journalctl -u cervella.service --no-pager | tail -n 20
  exit 1
}
asked='{"question": "Quanti giorni di ferie ho?", "language": null}'
answer=$(inside curl --silent --max-time 120 --header 'content-type: application/json' --data "$asked" http://127.0.0.1:8717/api/ask)
case $answer in *ferie*) ;; *) echo "no answer: $answer" && exit 1 ;; esac
inside systemctl reload cervella.service
inside systemctl start cervella-backup.service
inside sh -c 'test -f /var/lib/cervella-backups/*/manifest.json'
inside systemctl stop cervella.service
result=$(inside systemctl show cervella.service -p Result -p NRestarts)
errors=$(inside journalctl -u cervella.service --no-pager | grep ERROR || true)
if [ "$result" != $'Result=success\nNRestarts=0' ] && [ "$result" != $'NRestarts=0\nResult=success' ] || [ -n "$errors" ]; then
  echo "$result" "$errors"
  exit 1
fi
echo "the package works under systemd"
