#!/bin/sh
# Installs what a command needs, and says so: npm packages always; for `tor` (npm start), `test`
# (npm test) and `bench` (npm run bench) also Debian packages, as root on Debian. Elsewhere it says
# exactly what to install. `docs` is what `npm run docs` needs.
# Usage: sh deploy/setup.sh [tor|test|bench|docs]
set -eu
cd "$(dirname "$0")/.."
say() { printf 'asfaleia: %s\n' "$*" >&2; }

# npm itself runs on the machine's own Node: the one below node_modules is about to be replaced.
own_path=$PATH
PATH=$(printf %s "$PATH" | tr ':' '\n' | grep -v '/node_modules/\.bin$' | grep -v '/node-gyp-bin$' | paste -sd: -)
export PATH
stamp=node_modules/.asfaleia-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  say "installing the npm packages of package-lock.json into node_modules"
  npm ci --no-audit --no-fund --loglevel=error >&2
  # So that `npx asfaleia` is this checkout's, as soon as it is built.
  ln -sf ../../dist/cli/main.js node_modules/.bin/asfaleia
  cp package-lock.json "$stamp"
fi
if [ "${1:-}" = test ] && ! cmp -s test/node24/package-lock.json test/node24/node_modules/.asfaleia-lock 2>/dev/null; then
  say "installing the other Node that the tests run on into test/node24/node_modules"
  (cd test/node24 && npm ci --no-audit --no-fund --loglevel=error >&2 && cp package-lock.json node_modules/.asfaleia-lock)
fi
case "${1:-}" in
  test | docs)
    if ! cmp -s deploy/typedoc/package-lock.json deploy/typedoc/node_modules/.asfaleia-lock 2>/dev/null; then
      say "installing TypeDoc into deploy/typedoc/node_modules"
      (cd deploy/typedoc && npm ci --no-audit --no-fund --loglevel=error >&2 && cp package-lock.json node_modules/.asfaleia-lock)
    fi
    ;;
esac
PATH=$own_path

case "${1:-}" in
  '' | docs) want='' ;;
  tor) want='tor:tor' ;;
  test) want='tor:tor torsocks:torsocks age:age ssh-keygen:openssh-client nc:netcat-openbsd python3:python3-minimal strace:strace tmux:tmux systemd-analyze:systemd systemd-nspawn:systemd-container cc:gcc,libc6-dev dockerd:docker.io mmdebstrap:mmdebstrap chromium:chromium zsh:zsh fish:fish man:man-db groff:groff zbarimg:zbar-tools' ;;
  bench) want='tor:tor cc:gcc,libc6-dev redis-server:redis-server mosquitto:mosquitto nats-server:nats-server prosody:prosody' ;;
  *) say "error: deploy/setup.sh takes nothing, tor, test, bench or docs"; exit 2 ;;
esac

missing=''
for pair in $want; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing $(printf %s "${pair#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

if [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  say "installing Debian packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # Debian's packages of servers would start daemons; the project starts its own, or none.
  # shellcheck disable=SC2086
  if { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -5 "$log" >&2
    rm -f "$log"
    say "hint: the install failed; what is missing is said where it is needed. By hand: apt-get install$missing"
  fi
else
  say "missing:$missing"
  say "hint: install them with your system's package manager; on Debian: sudo apt-get install$missing"
fi
