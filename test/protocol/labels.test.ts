/** Claims, labels, and several subscriptions of one connection: docs/protocol.md, sections 3 and 4. */
import { beforeEach, describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts'
import { createWorld, type Peer, type World } from '../support/session.ts'

const error = (code: ErrorCode, detail?: number): string => `99;${code};${ERRORS[code].text}${detail === undefined ? '' : `;${detail}`}`
const TOKEN = expect.stringMatching(/^12;/) as unknown as string
const ID = /\b[0-9a-f]{16}\b/g
/** Replaces message ids, which are random, by `#`. */
const masked = (lines: string[]): string[] => lines.map((line) => line.replace(ID, '#'))
const idsIn = (lines: string[]): string[] => lines.flatMap((line) => line.match(ID) ?? [])

let world: World
let alice: Peer
let bob: Peer

beforeEach(() => {
  world = createWorld()
  alice = world.open()
  bob = world.open()
})

/** Has a new connection send payloads to a mailbox. */
function sendTo(mailbox: string, ...payloads: string[]): void {
  const sender = world.open()
  const lines = sender.say(`34;secret-courier\n${payloads.map((payload) => `3;;key-${mailbox};${payload}\n`).join('')}`)
  expect(lines.slice(1).every((line) => line.startsWith('13;'))).toBe(true)
  sender.hangUp()
}

describe('CLAIM', () => {
  it('gives a token under the dialled name, or under the first without HELLO, and counts', () => {
    world.names = ['first.onion', 'second.onion']
    const expires = world.now + 3_600_000
    expect(alice.say('34;secret-a\n')).toEqual([`12;token/a/first.onion/${expires}/claim;3600`])
    expect(alice.say('8;asfaleia/1;second.onion\n34;secret-a\n')[1]).toBe(`12;token/a/second.onion/${expires}/claim;3600`)
    expect(world.counts).toEqual(['try', 'claim', 'try', 'claim'])
  })

  it.each<[string, string, ErrorCode]>([
    ['of another form', '34;secrets\n', 'wrong-usage'],
    ['that is empty', '34;\n', 'wrong-usage'],
    ['under a label with a capital', '34;secret-a;A\n', 'wrong-usage'],
    ['under a label with a dot, like a token', '34;secret-a;a.b.c\n', 'wrong-usage'],
    ['under a label of 17 characters', `34;secret-a;${'a'.repeat(17)}\n`, 'wrong-usage'],
    ['with a third field', '34;secret-a;a;b\n', 'wrong-usage'],
    ['that is missing', '34\n', 'wrong-usage'],
  ])('refuses a secret %s', (_name, text, code) => {
    expect(alice.say(text)).toEqual([error(code)])
  })

  it('is not-ready without a name, rate-limited like a login, and denied by a relay that admits others', () => {
    world.names = []
    expect(alice.say('34;secret-a\n')).toEqual([error('not-ready')])
    world.names = ['localhost']
    world.loginWait = 7
    expect(alice.say('34;secret-a\n')).toEqual([error('rate-limited', 7)])
    world.loginWait = 0
    world.admitted = () => false
    expect(alice.say('34;secret-a\n3;;key-b;QUJD\n')).toEqual([error('denied'), error('bad-token')])
  })

  it('lets a stranger SEND and nothing else', () => {
    world.strangers.add('a')
    world.roles['a'] = 'send'
    const rest = ['4;', '5;;x', '6;', '32;;key-b', '4;;lease'].map((packet) => `${packet}\n`).join('')
    expect(alice.say(`34;secret-a\n3;;key-b;QUJD\n${rest}`)).toEqual([
      TOKEN,
      expect.stringMatching(/^13;/),
      ...(Array(5).fill(error('denied')) as string[]),
    ])
    const [, token] = /^12;([^;]+)/.exec(alice.say('34;secret-a;x\n')[0]!)!
    expect(alice.say(`9;${token}\n30;${token};QUJD\n9;x\n`)).toEqual(Array(3).fill(error('denied')))
  })

  it('overwrites the secret, in one chunk or many', () => {
    for (const cut of [1, 5, 99]) {
      const chunks: Uint8Array[] = []
      const text = Buffer.from('34;secret-a;x\n7\n')
      for (let at = 0; at < text.length; at += cut) chunks.push(new Uint8Array(text.subarray(at, at + cut)))
      expect(world.open().feed(chunks)).toEqual([TOKEN, '17'])
      for (const chunk of chunks) expect(chunk.every((byte) => byte === 0)).toBe(true)
    }
  })

  it('reads the mailbox of its secret, whoever claims it', () => {
    sendTo('a', 'QUJD')
    expect(masked(alice.say('34;secret-a\n4;\n'))).toEqual([TOKEN, '14;1;0', '20;#;QUJD'])
    sendTo('a', 'REVG')
    expect(masked(bob.say('34;secret-a;x\n4;x\n'))).toEqual([TOKEN, '14;1;0', '20;#;REVG'])
  })
})

describe('a label', () => {
  it('stands for its proof wherever a token can, on its connection only', () => {
    sendTo('a', 'QUJD')
    const lines = alice.say('34;secret-a;x\n3;x;key-b;QUJD\n4;x;lease\n6;x\n7\n9;x\n')
    expect(masked(lines)).toEqual([TOKEN, '13;#;604800', '14;1;0', '20;#;QUJD', '16;0', '17', '19;1'])
    expect(alice.say('5;x;abc\n30;x;QUJD\n32;x;key-a\n')).toEqual(['15;0', '31;1209600', '33;QUJD'])
    expect(bob.say('3;x;key-b;QUJD\n')).toEqual([error('bad-token')])
  })

  it('is given by VERIFY, too; without one, the last proof has the empty label', () => {
    alice.say('0;key-alice\n0;key-alice\n')
    expect(alice.say('2;100;!alice;x\n4;x\n4;\n')).toEqual([TOKEN, '14;0;0', error('bad-token')])
    expect(alice.say('2;101;!alice\n4;\n')).toEqual([TOKEN, '14;0;0'])
  })

  it('may have sixteen characters, in a proof and in a request', () => {
    const label = 'a'.repeat(16)
    expect(alice.say(`34;secret-a;${label}\n7\n3;${label};key-b;QUJD\n`)).toEqual([TOKEN, '17', expect.stringMatching(/^13;/)])
    expect(alice.say(`3;${label}a;key-b;QUJD\n`)).toEqual([error('bad-token')])
  })

  it.each(['A', 'a b', 'a_b', 'ä', '', '-'])('that nobody gave is bad-token: %j', (label) => {
    expect(alice.say(`34;secret-a;x\n4;${label}\n`)).toEqual([TOKEN, error('bad-token')])
  })

  it('is not taken by WIPE and PUBLISH if it is empty', () => {
    sendTo('a', 'QUJD')
    expect(alice.say('34;secret-a\n9;\n30;\n30;;QUJD\n')).toEqual([TOKEN, ...(Array(3).fill(error('bad-token')) as string[])])
    expect(alice.say('4;;lease\n')[0]).toBe('14;1;0')
  })

  it.each<[string, string, ErrorCode]>([
    ['its secret is malformed', '34;nothing;x\n', 'wrong-usage'],
    ['its handle is malformed', '2;abc;!alice;x\n', 'wrong-usage'],
    ['its handle is unknown', '2;1;!alice;x\n', 'auth-failed'],
    ['its key is not admitted', '34;secret-denied;x\n', 'denied'],
  ])('stands for nothing if %s, so a SEND behind it does not leave under the older proof', (_name, packet, code) => {
    world.admitted = (mailbox) => mailbox !== 'denied'
    alice.say('34;secret-a;x\n')
    expect(alice.say(`${packet}3;x;key-b;QUJD\n`)).toEqual([error(code), error('bad-token')])
  })

  it('stands for nothing if its CLAIM is rate-limited or its VERIFY fails, the empty one included', () => {
    alice.say('34;secret-a;x\n34;secret-a\n0;key-alice\n')
    expect(alice.say('2;100;!wrong\n3;;key-b;QUJD\n')).toEqual([error('auth-failed'), error('bad-token')])
    world.loginWait = 5
    expect(alice.say('34;secret-a;x\n3;x;key-b;QUJD\n')).toEqual([error('rate-limited', 5), error('bad-token')])
  })

  it('stays if a packet names it in a malformed way, and the handle stays good', () => {
    alice.say('34;secret-a;x\n0;key-alice\n')
    expect(alice.say('2;100;!alice;X\n34;secret-b;x;y\n4;x\n2;100;!alice\n')).toEqual([
      error('wrong-usage'),
      error('wrong-usage'),
      '14;0;0',
      TOKEN,
    ])
  })

  it('counts to 64 beside the empty one, and no further one uses a handle up', () => {
    const claims = Array.from({ length: 64 }, (_, n) => `34;secret-m${n};l${n}\n`).join('')
    expect(alice.say(claims)).toEqual(Array(64).fill(TOKEN))
    expect(alice.say('34;secret-a;more\n34;secret-a\n0;key-alice\n')).toEqual([error('wrong-usage'), TOKEN, '1;100;?alice@localhost'])
    expect(alice.say('2;100;!alice;more\n2;100;!alice;l0\n')).toEqual([error('wrong-usage'), TOKEN])
    // A label that stands for nothing does not count.
    expect(alice.say('34;nothing;l1\n34;secret-a;more\n34;secret-a;l1\n')).toEqual([error('wrong-usage'), TOKEN, error('wrong-usage')])
  })

  it("ends with its token's time; a subscription goes on, and a second label takes it over without a gap", () => {
    alice.say('34;secret-a;x\n6;x\n')
    world.now += world.limits.tokenSeconds * 1_000
    sendTo('a', 'QUJD')
    const [message] = alice.read()
    expect(message).toMatch(/^21;x;/)
    expect(alice.say('4;x\n')).toEqual([error('bad-token')])
    expect(alice.say('34;secret-a;y\n6;y\n')).toEqual([TOKEN, '16;0'])
    sendTo('a', 'REVG')
    expect(masked(alice.read())).toEqual(['21;y;#;REVG'])
    expect(alice.say(`5;y;${idsIn([message!]).join('')}\n`)).toEqual(['15;1'])
  })

  it('is relay-full if readers take too much memory, and none stays counted', () => {
    world = createWorld({}, 4 * 3 * 704)
    alice = world.open()
    const claims = (peer: Peer): string[] => peer.say([0, 1, 2, 3].map((n) => `34;secret-m${n};l${n}\n`).join(''))
    expect(claims(alice)).toEqual([TOKEN, TOKEN, TOKEN, error('relay-full')])
    expect(alice.say('3;l3;key-b;QUJD\n')).toEqual([error('bad-token')])
    // Claimed anew, a label takes its own place; a claim without a label needs no place.
    expect(alice.say('34;secret-a;l0\n34;secret-b\n')).toEqual([TOKEN, TOKEN])
    expect(world.mailboxes.size.bytes).toBe(3 * 704)
    alice.hangUp()
    expect(world.mailboxes.size.bytes).toBe(0)
  })

  it.each([
    ['right after its proof', 0],
    ['after many other proofs', 5],
  ])('ends its connection if its key is no longer admitted, %s', (_when, others) => {
    alice.say('34;secret-a;x\n')
    for (let n = 0; n < others; n++) alice.say(`34;secret-m${n}\n`)
    world.admitted = (mailbox) => mailbox !== 'a'
    alice.session.onAdmission(world.now)
    const bytes = alice.session.flush(world.now)!
    expect(Buffer.from(bytes).toString()).toBe(`${error('denied')}\n`)
  })
})

describe('subscriptions', () => {
  it('of several labels deliver beside each other, each with its label', () => {
    expect(alice.say('34;secret-a;x\n34;secret-b;y\n34;secret-c\n6;x\n6;y\n6;\n')).toEqual([TOKEN, TOKEN, TOKEN, '16;0', '16;0', '16;0'])
    sendTo('a', 'QUJD')
    sendTo('b', 'REVG')
    sendTo('c', 'R0hJ')
    expect(masked(alice.read())).toEqual(['21;x;#;QUJD', '21;y;#;REVG', '20;#;R0hJ'])
  })

  it('each have their own window: a full one does not hold up the others', () => {
    world = createWorld({ window: 2 })
    alice = world.open()
    alice.say('34;secret-a;x\n34;secret-b;y\n6;x\n6;y\n')
    sendTo('a', 'QUFB', 'QUFC', 'QUFD')
    sendTo('b', 'QkJC')
    const lines = alice.read()
    expect(masked(lines)).toEqual(['21;x;#;QUFB', '21;x;#;QUFC', '21;y;#;QkJC'])
    expect(masked(alice.say(`5;x;${idsIn(lines)[0]}\n`))).toEqual(['15;1', '21;x;#;QUFD'])
  })

  it('are served in turns', () => {
    alice.say('34;secret-a;x\n34;secret-b;y\n6;x\n6;y\n')
    const sender = world.open()
    sender.say(`34;secret-c\n${'3;;key-a;QUFB\n'.repeat(60)}3;;key-b;QkJC\n`)
    const lines = alice.read()
    expect(lines).toHaveLength(61)
    expect(lines.findIndex((line) => line.startsWith('21;y;'))).toBe(16)
  })

  it('are told apart when a newer subscriber takes one over; the others go on', () => {
    alice.say('34;secret-a;x\n34;secret-b;y\n34;secret-c\n6;x\n6;y\n6;\n')
    sendTo('a', 'QUJD')
    const [delivered] = alice.read()
    expect(masked(bob.say('34;secret-a;z\n6;z\n'))).toEqual([TOKEN, '16;1', '21;z;#;QUJD'])
    expect(idsIn([delivered!])).toHaveLength(1)
    expect(alice.read()).toEqual(['98;taken-over;x'])
    bob.say('34;secret-c\n6;\n')
    expect(alice.read()).toEqual(['98;taken-over'])
    sendTo('b', 'REVG')
    expect(masked(alice.read())).toEqual(['21;y;#;REVG'])
  })

  it('end with their label, and what they leased waits again', () => {
    sendTo('a', 'QUJD')
    alice.say('34;secret-a;x\n6;x\n')
    expect(world.mailboxes.waiting('a')).toBe(0)
    expect(alice.say('34;nothing;x\n')).toEqual([error('wrong-usage')])
    expect(world.mailboxes.waiting('a')).toBe(1)
    expect(masked(alice.say('34;secret-a;x\n6;x\n'))).toEqual([TOKEN, '16;1', '21;x;#;QUJD'])
    expect(world.mailboxes.size.subscribers).toBe(1)
  })

  it('that another connection took over deliver nothing more, even if messages were ready', () => {
    sendTo('a', ...Array.from({ length: 8 }, () => 'A'.repeat(30_000)))
    alice.stall()
    alice.say('34;secret-a\n6;\n')
    bob.stall()
    bob.say('34;secret-a;x\n6;x\n')
    const before = alice.drain()
    expect(before.length).toBeLessThan(9)
    expect(before.at(-1)).toBe('98;taken-over')
    expect(bob.drain().filter((line) => line.startsWith('21;x;'))).toHaveLength(8)
  })

  it('without a label outlive a new proof without one, as a token is renewed under them', () => {
    const token = alice.login('alice')
    sendTo('alice', 'QUJD')
    alice.say(`6;${token}\n`)
    alice.say('0;key-alice\n2;101;!alice\n')
    expect(world.mailboxes.waiting('alice')).toBe(0)
    sendTo('alice', 'REVG')
    expect(masked(alice.read())).toEqual(['20;#;REVG'])
  })

  it('without a label are one, by a token or the empty label', () => {
    const token = alice.login('alice')
    sendTo('alice', 'QUJD')
    expect(masked(alice.say(`6;${token}\n34;secret-a\n6;\n`))).toEqual(['16;1', '20;#;QUJD', TOKEN, '16;0'])
    expect(world.mailboxes.waiting('alice')).toBe(1)
    expect(world.mailboxes.size.subscribers).toBe(1)
  })

  it('of one mailbox under two labels come under the newer one, and nothing is delivered twice', () => {
    sendTo('a', 'QUJD')
    const lines = alice.say('34;secret-a;x\n34;secret-a;y\n6;x\n6;x\n6;y\n6;y\n')
    expect(masked(lines)).toEqual([TOKEN, TOKEN, '16;1', '21;x;#;QUJD', '16;0', '16;0', '16;0'])
    sendTo('a', 'REVG')
    expect(masked(alice.read())).toEqual(['21;y;#;REVG'])
    // The older label ends without effect on it.
    alice.say('34;secret-b;x\n')
    sendTo('a', 'R0hJ')
    expect(masked(alice.read())).toEqual(['21;y;#;R0hJ'])
  })

  it('keep leases by GET in a mailbox that was taken over, until the connection ends', () => {
    sendTo('a', 'QUJD')
    alice.say('34;secret-a;x\n4;x;lease\n6;x\n')
    expect(bob.say('34;secret-a\n6;\n')).toEqual([TOKEN, '16;0'])
    alice.hangUp()
    expect(masked(bob.read())).toEqual(['20;#;QUJD'])
  })

  it('leave the 16 mailboxes with leases by GET alone', () => {
    const labels = Array.from({ length: 30 }, (_, n) => n)
    for (const n of labels) sendTo(`m${n}`, 'QUJD')
    alice.say(labels.map((n) => `34;secret-m${n};l${n}\n6;l${n}\n`).join(''))
    expect(labels.every((n) => world.mailboxes.waiting(`m${n}`) === 0)).toBe(true)
    for (const n of labels) sendTo(`g${n}`, 'QUJD')
    alice.say(labels.map((n) => `34;secret-g${n}\n4;;lease\n`).join(''))
    expect(labels.filter((n) => world.mailboxes.waiting(`g${n}`) === 0)).toEqual(labels.slice(-16))
    expect(labels.every((n) => world.mailboxes.waiting(`m${n}`) === 0)).toBe(true)
  })

  it('to 64 empty mailboxes on many connections end at a quarter of the memory', () => {
    world = createWorld({}, 1e6)
    const peers = Array.from({ length: 8 }, () => world.open())
    const lines = peers.flatMap((peer, p) =>
      peer.say(Array.from({ length: 64 }, (_, n) => `34;secret-p${p}m${n};l${n}\n6;l${n}\n`).join('')),
    )
    const taken = world.mailboxes.size.bytes
    expect(lines.filter((line) => line === error('relay-full')).length).toBeGreaterThan(0)
    expect(taken).toBeLessThanOrEqual(250_000)
    expect(taken).toBeGreaterThan(248_000)
    sendTo('someone', 'QUJD')
    for (const peer of peers) peer.hangUp()
    expect(world.mailboxes.size).toMatchObject({ mailboxes: 1, subscribers: 0 })
  })

  it('mean the same, whole and byte by byte', () => {
    const text = '34;secret-a;x\n34;secret-b;y\n6;x\n6;y\n3;x;key-b;QUJD\n34;nothing;y\n3;y;key-a;QUJD\n3;x;key-a;REVG\n7\n'
    const whole = masked(alice.say(text))
    const other = createWorld().open()
    const bytes = masked(other.feed([...Buffer.from(text)].map((byte) => Uint8Array.of(byte))))
    expect(bytes).toEqual(whole)
    expect(whole).toContain('21;y;#;QUJD')
  })
})
