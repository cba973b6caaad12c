#!/bin/sh
# A full client of asfaleia/1 (docs/protocol.md) made of nc, age, base64 and ssh-keygen, through torsocks.
# It shows that a person with these tools needs nothing of ours; the end-to-end tests use it as it is.
#
#   shell-client.sh login HOST PORT KEY                     prove the key, and leave
#   shell-client.sh send  HOST PORT KEY RECEIVER.pub [TEXT] the text from standard input where it isn't given
#   shell-client.sh get   HOST PORT KEY                     print what waits, then have the relay erase it
#
# KEY is an OpenSSH private key file with its public half beside it (KEY.pub).
# HOST is the relay's onion address; localhost is dialled without Tor.
set -eu

die() { printf 'shell-client: error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 4 ] || die 'usage: shell-client.sh login|send|get HOST PORT KEY [RECEIVER.pub [TEXT]]'
command=$1 host=$2 port=$3 key=$4
shift 4

# --- the connection: what we say goes into descriptor 3, what the relay says comes out of 4 ---

case $host in
  *.onion) dial='torsocks nc' ;;
  localhost) dial='nc' ;;
  *) die 'HOST is an onion address, or localhost' ;;
esac
pipes=$(mktemp -d)
mkfifo "$pipes/up" "$pipes/down"
$dial "$host" "$port" <"$pipes/up" >"$pipes/down" &
connection=$!
exec 3>"$pipes/up" 4<"$pipes/down"
rm -r "$pipes"
trap 'kill "$connection" 2>/dev/null || :' EXIT

# One packet a line, fields separated by semicolons.
say() { printf '%s\n' "$1" >&3 || die 'the relay hung up'; }

# hear NUMBER: reads one packet, which must be of that number, and leaves its fields in $fields.
hear() {
  IFS= read -r packet <&4 || die 'the relay cannot be reached, or hung up'
  case $packet in
    "$1;"*) fields=${packet#*;} ;;
    # An ERROR's code, and only that, in characters that cannot steer a terminal.
    '99;'*) die "the relay refused: $(printf '%s' "${packet#99;}" | cut -d';' -f1 | tr -cd 'a-z-')" ;;
    *) die "the relay sent something else than packet $1" ;;
  esac
}

# --- section 3: proving a key ---

# may_answer TEXT: whether TEXT is, to the byte, a challenge of the relay that we dialled, for this handle.
# Anything else must not be answered: a relay could pass a captured message off as a challenge, and
# would have it read to it.
may_answer() {
  nonce=${1##* }
  case $nonce in *[!A-Za-z0-9_-]*) return 1 ;; esac
  [ ${#nonce} -eq 43 ] && [ "$1" = "asfaleia/1 auth $host $handle $nonce" ]
}

login() {
  [ -f "$key.pub" ] || die 'the public half of the key is missing beside it'
  read -r type blob _ <"$key.pub"
  say "8;asfaleia/1;$host"
  hear 18
  case $type in
    ssh-ed25519 | ssh-rsa) say "0;$type $blob" ;;
    *) say "0;$type $blob;sign" ;;
  esac
  hear 1
  handle=${fields%%;*} challenge=${fields#*;}
  case $handle in '' | *[!0-9]*) die 'the challenge has no handle' ;; esac
  # The x keeps line breaks at the text's end, which the shell would drop: they too are not of the form.
  case $type in
    ssh-ed25519 | ssh-rsa)
      line=$(printf '%s' "$challenge" | base64 -d | age -d -i "$key" && printf x) || die 'the challenge is not for this key' ;;
    *) line=$(printf '%s' "$challenge" | base64 -d && printf x) || die 'the challenge is not base64' ;;
  esac
  line=${line%x}
  may_answer "$line" || die 'the challenge is not one of this relay: nothing was answered'
  case $type in
    ssh-ed25519 | ssh-rsa) say "2;$handle;$line" ;;
    *) say "2;$handle;$(printf '%s' "$line" | ssh-keygen -q -Y sign -n asfaleia-auth -f "$key" | grep -v '^-----' | tr -d '\n')" ;;
  esac
  hear 12
  token=${fields%%;*}
}

# --- sections 2 and 4: messages ---

send() {
  [ $# -ge 1 ] && [ -f "$1" ] || die 'whose public key? give its .pub file'
  receiver=$(head -n 1 "$1" | cut -d' ' -f1,2)
  login
  # age reads an SSH public key as a recipient: only the receiver's key opens the message.
  payload=$({ if [ $# -gt 1 ]; then printf '%s' "$2"; else cat; fi; } | age -r "$receiver" | base64 | tr -d '\n')
  [ -n "$payload" ] || die 'age did not encrypt to that key'
  say "3;$token;$receiver;$payload"
  hear 13
  printf 'sent\n' >&2
}

# A message must not steer the terminal: drops the control characters but tab and line break, those that
# UTF-8 spells with two bytes included.
plain() { tr -d '\000-\010\013-\037\177' | LC_ALL=C sed "s/$(printf '\302')[$(printf '\200')-$(printf '\237')]//g"; }

get() {
  login
  # A lease: the relay keeps the messages until we acknowledge them.
  say "4;$token;lease"
  hear 14
  count=${fields%%;*}
  case $count in '' | *[!0-9]*) die 'the relay sent no count' ;; esac
  acknowledged=''
  while [ "$count" -gt 0 ]; do
    hear 20
    count=$((count - 1))
    acknowledged="$acknowledged;${fields%%;*}"
    # What does not open is not for us, or not of age: age says so, and it is erased with the others.
    printf '%s' "${fields#*;}" | base64 -d | age -d -i "$key" | plain
    printf '\n'
  done
  [ -z "$acknowledged" ] || { say "5;$token$acknowledged"; hear 15; }
}

case $command in
  login) login; printf 'logged in\n' >&2 ;;
  send) send "$@" ;;
  get) get ;;
  *) die 'login, send or get' ;;
esac
