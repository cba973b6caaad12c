import { BYTE_BY_BYTE, chunksOf } from '../../support/chunks.ts'
import { createWorld, type World } from '../../support/session.ts'
import { fail, same, type Target } from '../target.ts'

const TOKEN = 'token/alice/localhost/99999999999'

function play(input: Uint8Array, cuts: Iterable<number>): { lines: string[]; world: World } {
  const world = createWorld({ mailboxMessages: 8 }, 65_536)
  const peer = world.open()
  const lines = peer.feed(chunksOf(input, cuts))
  lines.push(...peer.finish())
  peer.hangUp()
  return { lines, world }
}

/** Hides the random ids and times, and counts erasures of a plain GET as one. */
const plain = (lines: readonly string[]): string => lines.join('\n').replaceAll(/\b[0-9a-f]{16}\b/g, 'ID')

export const target: Target = {
  name: 'relay-session',
  covers: [
    'protocol/relay-session.ts',
    'protocol/packets.ts',
    'protocol/line.ts',
    'protocol/login.ts',
    'protocol/mailbox-access.ts',
    'protocol/proofs.ts',
    'protocol/receivers.ts',
    'protocol/subscriptions.ts',
    'mailbox/bundles.ts',
    'protocol/errors.ts',
  ],
  longest: 1_000,
  seeds: () => [
    '8;asfaleia/1;localhost\n7\n',
    '0;key-alice\n2;100;!alice\n',
    '0;key-alice;sign\r\n2;100;!alice\r\n7\r\n',
    `3;${TOKEN};key-alice;QUJD\n4;${TOKEN}\n9;${TOKEN}\n`,
    `3;${TOKEN};key-bob;QUJD\n3;${TOKEN};key-alice x;QUJDRA==\n6;${TOKEN}\n5;${TOKEN};0123456789abcdef;0000000000000000\n`,
    `4;${TOKEN};lease\n6;${TOKEN}\n6;${TOKEN}\n`,
    '34;secret-alice;a\n34;secret-bob;b\n6;a\n6;b\n3;a;key-bob;QUJD\n3;b;key-alice;QUJD\n34;x;a\n3;a;key-bob;QUJD\n',
    '34;secret-alice\n34;secret-alice;a\n6;\n6;a\n3;;key-alice;QUJD\n4;a;lease\n5;a;0123456789abcdef\n9;a\n9;\n',
    '34;secret-alice;a\n30;a;QUJD\n32;a;key-alice\n30;a;QUJDRA==\n32;a;key-bob\n30;a\n32;a;key-alice\n30;;QUJD\n',
    '0;key-alice\n2;100;!alice;a-1\n4;a-1\n2;100;!alice;A\n',
    '99;x\n1;2;3\n007\n3;;\n',
  ],
  run(input) {
    const whole = play(input, [])
    const some = play(input, [3, 1, 64, 2, 200])
    // Byte by byte takes long.
    if (input.length <= 120) same('whole and byte by byte', plain(whole.lines), plain(play(input, BYTE_BY_BYTE).lines))
    same('whole and in chunks', plain(whole.lines), plain(some.lines))
    // A challenge of this world repeats the name in its key.
    const odd = whole.lines.find((line) => !/^(?:\d+(?:;[\x20-\x7e]*)?|1;\d+;[^]*|<end>|<destroy>)$/.test(line))
    if (odd !== undefined) fail(`the relay writes ${JSON.stringify(odd)}`)
    return [...new Set(whole.lines.map((line) => (line.startsWith('99') ? line.split(';')[1] : line.split(';')[0])))]
      .toSorted()
      .slice(0, 3)
      .join(' ')
  },
}
