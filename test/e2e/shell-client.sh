#!/bin/sh
# A full client of asfaleia/1 (docs/protocol.md) made of nc, age, base64 and ssh-keygen, through torsocks.
# It shows that a person with these tools needs nothing of ours; the end-to-end tests use it as it is.
#
#   shell-client.sh login HOST PORT KEY                   prove the key, and leave
#   shell-client.sh send  HOST PORT KEY RECEIVER [TEXT]   a signed message; from standard input where no text is given
#   shell-client.sh seal  HOST PORT KEY RECEIVER [TEXT]   the same with age alone, unsigned
#   shell-client.sh get   HOST PORT KEY [PEOPLE]          print what waits, then have the relay erase it
#
# KEY is an OpenSSH private key file with its public half beside it (KEY.pub); where the key cannot decrypt, an
# identity of age's lies in KEY.age. RECEIVER is a .pub file, or a card (docs/protocol.md, section 11).
# PEOPLE is a file of allowed signers, `NAME ssh-ed25519 AAAA…` lines: who a message is from is told by its names. What
# came once is remembered in PEOPLE.seen.
# HOST is the relay's onion address; localhost is dialled without Tor.
set -eu
umask 077

die() { printf 'shell-client: error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 4 ] || die 'usage: shell-client.sh login|send|seal|get HOST PORT KEY [RECEIVER [TEXT] | PEOPLE]'
command=$1 host=$2 port=$3 key=$4
shift 4

# --- the connection: what we say goes into descriptor 3, what the relay says comes out of 4 ---

case $host in
  *.onion) dial='torsocks nc' ;;
  localhost) dial='nc' ;;
  *) die 'HOST is an onion address, or localhost' ;;
esac
# In memory, where the system has such a place.
work=$(mktemp -d "${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}/shell-client.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkfifo "$work/up" "$work/down"
$dial "$host" "$port" <"$work/up" >"$work/down" &
connection=$!
trap 'kill "$connection" 2>/dev/null || :; rm -rf "$work"' EXIT
exec 3>"$work/up" 4<"$work/down"

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

# --- section 10: signed texts ---

# take_apart FILE: leaves what is signed in $work/signed and the signature in $work/signature; fails where FILE
# does not end in a whole one and line feeds.
take_apart() {
  begin=$(grep -an '^-----BEGIN SSH SIGNATURE-----$' "$1" | tail -n 1 | cut -d: -f1)
  end=$(grep -an '^-----END SSH SIGNATURE-----$' "$1" | tail -n 1 | cut -d: -f1)
  [ -n "$begin" ] && [ -n "$end" ] && [ "$begin" -lt "$end" ] || return 1
  [ -z "$(tail -n +$((end + 1)) "$1" | tr -d '\n' | head -c 1 | od -An -c)" ] || return 1
  head -n $((begin - 1)) "$1" >"$work/signed"
  tail -n +"$begin" "$1" | head -n $((end - begin + 1)) >"$work/signature"
}

# value NAME: the value of a header of $work/signed; fails where it is not there once.
value() {
  [ "$(sed '/^$/q' "$work/signed" | grep -ac "^$1: ")" = 1 ] && sed '/^$/q' "$work/signed" | grep -a "^$1: " | cut -d' ' -f2-
}

# is_signed_by KEY NAMESPACE: whether $work/signature is that key's, of $work/signed, for that purpose.
is_signed_by() {
  printf 'it %s\n' "$1" >"$work/key"
  ssh-keygen -Y verify -f "$work/key" -I it -n "$2" -s "$work/signature" <"$work/signed" >/dev/null 2>&1
}

# --- sections 2 and 4: messages ---

# find_receiver FILE: who receives it, in which mailbox, and what to encrypt to. A card may name an inbox for both.
find_receiver() {
  [ -f "$1" ] || die 'whose public key? give a .pub file, or a card'
  case $(head -n 1 "$1") in
    asfaleia-card/1 | asfaleia-card/2)
      take_apart "$1" && receiver=$(value key) && is_signed_by "$receiver" asfaleia-card || die 'the card is not good'
      recipient=$(value encrypt) || recipient=$receiver
      mailbox=$receiver
      if inbox=$(value inbox); then mailbox=$inbox recipient=$inbox; fi ;;
    *) receiver=$(head -n 1 "$1" | cut -d' ' -f1,2) recipient=$receiver mailbox=$receiver ;;
  esac
}

# fingerprint FILE.pub
fingerprint() { ssh-keygen -lf "$1" | cut -d' ' -f2; }

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# sign_message: a signed message of the body on standard input, padded.
sign_message() {
  printf '%s\n' "$receiver" >"$work/receiver.pub"
  {
    printf '%s\n' asfaleia-message/1 'type: text' "from: $(cut -d' ' -f1,2 "$key.pub")" "to: $(fingerprint "$work/receiver.pub")"
    printf '%s\n' "id: $(head -c 16 /dev/urandom | base64 | tr +/ -_ | tr -d =)" "time: $(now)" ''
    cat
    echo
  } >"$work/signed"
  ssh-keygen -q -Y sign -n asfaleia-message -f "$key" <"$work/signed" >"$work/signature" || die 'the key did not sign'
  length=$(cat "$work/signed" "$work/signature" | wc -c)
  for size in 4096 8192 22528 0; do [ "$length" -gt "$size" ] || break; done
  [ "$size" -gt 0 ] || die 'that is too much for one message'
  { cat "$work/signed" "$work/signature"; yes ''; } | head -c "$size"
}

# send HOW RECEIVER [TEXT]: HOW makes a message of a text.
send() {
  how=$1
  [ $# -ge 2 ] || die 'whose public key? give a .pub file, or a card'
  find_receiver "$2"
  login
  { if [ $# -gt 2 ]; then printf '%s' "$3"; else cat; fi; } | "$how" >"$work/text"
  # age reads an SSH public key as a recipient: only the receiver's key opens the message.
  payload=$(age -r "$recipient" <"$work/text" | base64 | tr -d '\n')
  [ -n "$payload" ] || die 'age did not encrypt to that key'
  say "3;$token;$mailbox;$payload"
  hear 13
  printf 'sent\n' >&2
}

# A message must not steer the terminal: drops the control characters but tab and line break, those that
# UTF-8 spells with two bytes included.
plain() { tr -d '\000-\010\013-\037\177' | LC_ALL=C sed "s/$(printf '\302')[$(printf '\200')-$(printf '\237')]//g"; }

# On a terminal a text is indented, so that none passes for a line of ours.
print() { if [ -t 1 ]; then plain | sed 's/^/  /'; else plain; fi; }

note() { printf 'shell-client: %s\n' "$(printf '%s' "$*" | plain | tr -d '\n')" >&2; }

# is_before A B: of two times in the form of section 10.
is_before() { printf '%s\n%s\n' "$1" "$2" | LC_ALL=C sort -C && [ "$1" != "$2" ]; }

# show: prints the message in $work/text, and says by whom it is. What nobody should believe is named, and not printed.
show() {
  case $(head -n 1 "$work/text" | tr -d '\000') in
    asfaleia-message/1) ;;
    asfaleia-message/*) note 'a message of a version that this client does not know'; return ;;
    *) note 'unsigned: anybody can have written this'; { cat "$work/text"; echo; } | print; return ;;
  esac
  take_apart "$work/text" || { note 'truncated: a message that was cut off'; return; }
  from=$(value from) && to=$(value to) && id=$(value id) && time=$(value time) && type=$(value type) ||
    { note 'malformed: a message that is not written as one'; return; }
  is_signed_by "$from" asfaleia-message || { note 'FORGED: a message that is not by who it says'; return; }
  name=''
  [ -z "$people" ] || name=$(ssh-keygen -Y find-principals -f "$people" -s "$work/signature" 2>/dev/null | head -n 1) || :
  printf '%s\n' "$from" >"$work/sender.pub"
  by="${name:-somebody with the key $(fingerprint "$work/sender.pub")}"
  [ "$to" = "$(fingerprint "$key.pub")" ] || { note "READDRESSED: $by wrote this to somebody else"; return; }
  if [ -n "$people" ]; then
    seen="$(fingerprint "$work/sender.pub") $id"
    if [ -f "$people.seen" ] && grep -qxF -e "$seen" "$people.seen"; then note "replayed: a message by $by that came before"; return; fi
    printf '%s\n' "$seen" >>"$people.seen"
  fi
  mark=''
  if is_before "$(date -u -d '10 minutes' +%Y-%m-%dT%H:%M:%SZ)" "$time"; then mark=', from the future'; fi
  if is_before "$time" "$(date -u -d '14 days ago' +%Y-%m-%dT%H:%M:%SZ)"; then mark=', too old to tell whether it came before'; fi
  note "from $by, $time$mark"
  [ "$type" = text ] || { note "a message of the type $type"; return; }
  # The body begins after the empty line; its last line end is not its own.
  tail -n +$(($(grep -anm 1 '^$' "$work/signed" | cut -d: -f1) + 1)) "$work/signed" | print
}

get() {
  people=${1:-}
  [ -z "$people" ] || [ -f "$people" ] || die 'PEOPLE is a file of allowed signers'
  opens=$key
  [ ! -f "$key.age" ] || opens=$key.age
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
    if printf '%s' "${fields#*;}" | base64 -d | age -d -i "$opens" >"$work/text"; then show; fi
  done
  [ -z "$acknowledged" ] || { say "5;$token$acknowledged"; hear 15; }
}

case $command in
  login) login; printf 'logged in\n' >&2 ;;
  send) send sign_message "$@" ;;
  seal) send cat "$@" ;;
  get) get "$@" ;;
  *) die 'login, send, seal or get' ;;
esac
