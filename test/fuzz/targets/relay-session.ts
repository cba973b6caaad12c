import { BYTE_BY_BYTE, chunksOf } from '../../support/chunks.ts'
import { createWorld, type Peer, type World } from '../../support/session.ts'
import { fail, same, type Target } from '../target.ts'

const TOKEN = 'token/alice/localhost/99999999999'

/** What else happens to a connection between its bytes: one control character each. */
const EVENTS: Readonly<Record<string, (peer: Peer, world: World) => string[]>> = {
  '\x01'(peer, world) {
    world.now += 20_000
    world.mailboxes.expire(world.now)
    return peer.tick()
  },
  '\x02'(peer) {
    peer.stall()
    return []
  },
  '\x03': (peer) => peer.drain(),
  '\x04'(_peer, world) {
    world.sendWait = world.sendWait === 0 ? 7 : 0
    return []
  },
  '\x05'(_peer, world) {
    world.loginWait = world.loginWait === 0 ? 7 : 0
    return []
  },
  '\x06'(_peer, world) {
    world.strangers.add('alice')
    world.roles['bob'] = 'send'
    return []
  },
  '\x07'(_peer, world) {
    world.busy = !world.busy
    return []
  },
  '\x08'(_peer, world) {
    world.moved['localhost'] = 'x.onion'
    world.memoryShare = 0
    return []
  },
}

const SPLIT = new RegExp(`([${Object.keys(EVENTS).join('')}])`)

function play(input: Uint8Array, cuts: Iterable<number>): string[] {
  const world = createWorld({ mailboxMessages: 8, window: 4, batchMessages: 3 }, 65_536)
  const peer = world.open()
  const lines: string[] = []
  let isOver = false
  for (const part of Buffer.from(input).toString('latin1').split(SPLIT)) {
    const event = EVENTS[part]
    const fresh = event === undefined ? peer.feed(chunksOf(Buffer.from(part, 'latin1'), cuts)) : event(peer, world)
    lines.push(...fresh)
    isOver = fresh.includes('<destroy>')
    if (isOver) break
  }
  if (!isOver) lines.push(...peer.drain(), ...peer.finish())
  peer.hangUp()
  if (peer.session.held !== 0) fail('the session holds bytes after its end')
  return lines
}

/** Hides the random ids. */
const plain = (lines: readonly string[]): string => lines.join('\n').replaceAll(/\b[0-9a-f]{16}\b/g, 'ID')

export const target: Target = {
  name: 'relay-session',
  covers: [
    'protocol/relay-session.ts',
    'protocol/packets.ts',
    'protocol/line.ts',
    'protocol/login.ts',
    'protocol/mailbox-access.ts',
    'protocol/errors.ts',
  ],
  longest: 1_000,
  seeds: () => [
    '8;asfaleia/1;localhost\n7\n',
    '0;key-alice\n2;100;!alice\n',
    '0;key-alice;sign\r\n2;100;!alice;work\r\n6;work\r\n7\r\n',
    `3;${TOKEN};key-alice;QUJD\n4;${TOKEN}\n9;${TOKEN}\n`,
    `3;${TOKEN};key-bob;QUJD\n3;${TOKEN};key-alice x;QUJDRA==\n6;${TOKEN}\n5;${TOKEN};0123456789abcdef;0000000000000000\n`,
    `4;${TOKEN};lease\n6;${TOKEN}\n6;${TOKEN}\n`,
    '99;x\n1;2;3\n007\n3;;\n',
    '34;secret-a\n34;secret-b;b\n6;b\n6;\n3;;key-a;QUJD\n3;b;key-b;QUJD\n9;b\n30;b;QUJD\n32;b;key-b\n30;b\n5;b;0123456789abcdef\n',
    `34;secret-a;a\n${'3;a;key-a;QUJD\n'.repeat(9)}6;a\n\x024;a;lease\n\x03\x01\x01\x01\x01`,
    `34;secret-a\n\x043;;key-a;QUJD\n\x05\x060;key-bob\n\x073;;key-c;QUJD\n\x088;asfaleia/1;localhost\n3;;key-off-curve;QUJD\n`,
    `34;${'secret-'}a;${'x'.repeat(17)}\n34;secret-a;UP\n32;${TOKEN};key-nobody\n${'7\n'.repeat(40)}`,
  ],
  run(input) {
    const whole = play(input, [])
    const some = play(input, [3, 1, 64, 2, 200])
    // How far the session reads before a peer that stalls depends on the chunks, and events come in between.
    const stalls = input.includes(2)
    // Byte by byte takes long.
    if (!stalls && input.length <= 120) same('whole and byte by byte', plain(whole), plain(play(input, BYTE_BY_BYTE)))
    if (!stalls) same('whole and in chunks', plain(whole), plain(some))
    // A challenge of this world repeats the name in its key.
    const odd = whole.find((line) => !/^(?:\d+(?:;[\x20-\x7e]*)?|1;\d+;[^]*|<end>|<destroy>)$/.test(line))
    if (odd !== undefined) fail(`the relay writes ${JSON.stringify(odd)}`)
    return [...new Set(whole.map((line) => (line.startsWith('99') ? line.split(';')[1] : line.split(';')[0])))]
      .toSorted()
      .slice(0, 3)
      .join(' ')
  },
}
