#!/bin/sh
# Installs what a command needs: npm packages always; for `tor` (npm start), `demo`, `test` (npm test) and `bench` also
# Debian packages, as root on Debian. On other systems it names the packages to install. `docs` is for `npm run docs`.
# No package runs a script of its own while it is installed.
# Usage: sh deploy/setup.sh [tor|demo|test|bench|docs]
set -eu
cd "$(dirname "$0")/.."
say() { printf 'asfaleia: %s\n' "$*" >&2; }

case "${1:-}" in
  '' | docs) want='' ;;
  tor) want='tor:tor' ;;
  demo) want='tor:tor tor-gencert:tor' ;;
  test) want='tor:tor torsocks:torsocks age:age ssh-keygen:openssh-client nc:netcat-openbsd python3:python3-minimal strace:strace tmux:tmux systemd-analyze:systemd systemd-nspawn:systemd-container cc:gcc,libc6-dev dockerd:docker.io docker-registry:docker-registry mmdebstrap:mmdebstrap chromium:chromium firefox-esr:firefox-esr zsh:zsh fish:fish man:man-db groff:groff zbarimg:zbar-tools promtool:prometheus' ;;
  bench) want='tor:tor cc:gcc,libc6-dev redis-server:redis-server mosquitto:mosquitto nats-server:nats-server prosody:prosody' ;;
  *) say 'error: deploy/setup.sh takes no argument, or tor, demo, test, bench or docs'; exit 2 ;;
esac

# npm runs on the Node of this machine, not on the one in node_modules that it is about to replace.
own_path=$PATH
PATH=$(printf %s "$PATH" | tr ':' '\n' | grep -v '/node_modules/\.bin$' | grep -v '/node-gyp-bin$' | paste -sd: -)
export PATH
# install FOLDER WHAT: installs FOLDER's package-lock.json unless it is installed already.
install() {
  stamp=$1/node_modules/.asfaleia-lock
  cmp -s "$1/package-lock.json" "$stamp" 2>/dev/null && return
  folder=$1/node_modules
  say "installing $2 into ${folder#./}"
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  cp "$1/package-lock.json" "$stamp"
}
install . 'the npm packages'
# `npx asfaleia` runs the program of this checkout once it is built.
ln -sf ../../dist/cli/main.js node_modules/.bin/asfaleia
case "${1:-}" in test) install test/node24 'Node 24, the other Node of the tests,' ;; esac
case "${1:-}" in test | docs) install deploy/typedoc TypeDoc ;; esac
case "${1:-}" in test) install deploy/pack 'the checks of the npm package' ;; esac
PATH=$own_path

missing=''
for pair in $want; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing $(printf %s "${pair#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

if [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  say "installing Debian packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # RUNLEVEL=1 keeps apt from starting the daemons of server packages.
  # shellcheck disable=SC2086
  if { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -5 "$log" >&2
    rm -f "$log"
    say "hint: apt failed, so tests or commands that need these packages say so; by hand: apt-get install$missing"
  fi
else
  say "missing:$missing"
  say "hint: install them with your system's package manager; on Debian: sudo apt-get install$missing"
fi
