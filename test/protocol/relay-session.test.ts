import { constant, assert as check, infiniteStream, integer, oneof, array, property, constantFrom, record } from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts'
import { chunksOf } from '../support/chunks.ts'
import { createWorld, type Peer, type World } from '../support/session.ts'

const error = (code: ErrorCode, detail?: number): string => `99;${code};${ERRORS[code].text}${detail === undefined ? '' : `;${detail}`}`

/** Replaces message ids, which are random, by `#`. */
const masked = (lines: string[]): string[] => lines.map((line) => line.replace(/\b[0-9a-f]{16}\b/g, '#'))

let world: World
let alice: Peer

beforeEach(() => {
  world = createWorld()
  alice = world.open()
})

describe('before login, a relay session answers', () => {
  it.each<[string, string, string[]]>([
    ['PING', '7\n', ['17']],
    ['pipelined', '7\r\n7\n', ['17', '17']],
    ['HELLO without a name', '8;asfaleia/1\n', [expect.stringMatching(/^18;asfaleia\/1;payload=32768;line=36864;/) as unknown as string]],
    ['HELLO with its name', '8;asfaleia/1;localhost\n', [expect.stringMatching(/^18;asfaleia\/1;/) as unknown as string]],
    ['HELLO with the name of another relay', '8;asfaleia/1;example.onion\n', [error('wrong-usage')]],
    ['HELLO of another version', '8;asfaleia/2\n', [error('wrong-usage')]],
    ['AUTH', '0;key-alice\n', ['1;100;?alice@localhost']],
    ['AUTH by signature', '0;key-alice;sign\n', ['1;100;?alice@localhost']],
    ['AUTH with another word', '0;key-alice;decrypt\n', [error('wrong-usage')]],
    ['AUTH without a key', '0\n0;\n', [error('wrong-usage'), error('wrong-usage')]],
    ['AUTH with a key that does not parse', '0;nonsense\n', [error('bad-key')]],
    ['VERIFY without AUTH', '2;1;!alice\n', [error('auth-failed')]],
    ['VERIFY with a handle that is no number', '2;x;!alice\n', [error('wrong-usage')]],
    ['SEND without a token', '3;;key-bob;QUJD\n', [error('bad-token')]],
    ['GET with a token of another relay', '4;token/bob/other.onion/9999999999999\n', [error('bad-token')]],
    ['GET with an expired token', '4;token/bob/localhost/999999\n', [error('bad-token')]],
    ['GET without the field', '4\n', [error('wrong-usage')]],
    ['GET with another word', '4;token;leased\n', [error('wrong-usage')]],
    ['packets with too many fields', '7;\n6;a;b\n', [error('wrong-usage'), error('wrong-usage')]],
    ['packets without a number', ';\n\nx\n', [error('wrong-usage'), error('wrong-usage'), error('wrong-usage')]],
    ['a leading zero', '07\n', [error('wrong-usage')]],
    ['unassigned packet numbers', '10\n35\n100\n99999999999999999999\n', Array(4).fill(error('unknown-packet')) as string[]],
    ['a packet that only a relay sends', '13;x;1\n', [error('unknown-packet')]],
    ['ten mistakes', '07\n'.repeat(11), [...(Array(10).fill(error('wrong-usage')) as string[]), '<end>']],
    ['ten unknown packets', '10\n'.repeat(11), [...(Array(10).fill(error('unknown-packet')) as string[]), '<end>']],
    ['ten tokens of another relay', '6;forged\n'.repeat(11), [...(Array(10).fill(error('bad-token')) as string[]), '<end>']],
    ['a line over the limit', `7\n${'x'.repeat(8_193)}\n7\n`, ['17', error('too-large'), '<end>']],
    ['an endless line', 'x'.repeat(8_194), [error('too-large'), '<end>']],
  ])('%s', (_name, text, expected) => {
    expect(alice.say(text)).toEqual(expected)
  })

  it('not-ready while the relay has no name', () => {
    world.names = []
    expect(alice.say('0;key-alice\n8;asfaleia/1;localhost\n7\n')).toEqual([error('not-ready'), error('not-ready'), '17'])
    world.names = ['localhost']
    expect(alice.say('0;key-alice\n')).toEqual(['1;100;?alice@localhost'])
  })

  it('AUTH with a challenge under the dialled name, or under the first name without HELLO', () => {
    world.names = ['first.onion', 'second.onion']
    expect(alice.say('0;key-alice\n')).toEqual(['1;100;?alice@first.onion'])
    alice.say('8;asfaleia/1;second.onion\n')
    expect(alice.say('0;key-alice\n')).toEqual(['1;101;?alice@second.onion'])
  })

  it('HELLO to a name that is being replaced with WELCOME and the new name', () => {
    world.names = ['new.onion', 'old.onion']
    world.moved = { 'old.onion': 'new.onion' }
    const welcome = expect.stringMatching(/^18;/) as unknown as string
    expect(alice.say('8;asfaleia/1;old.onion\n7\n')).toEqual([welcome, '98;moved;new.onion', '17'])
    expect(alice.say('0;key-alice\n')).toEqual(['1;100;?alice@old.onion'])
    // Without a name in HELLO the relay cannot tell which name the client dialled.
    expect(alice.say('8;asfaleia/1\n8;asfaleia/1;new.onion\n')).toEqual([welcome, welcome])
  })

  it('AUTH over the login rate limit with the seconds to wait', () => {
    world.loginWait = 7
    expect(alice.say('0;key-alice\n')).toEqual([error('rate-limited', 7)])
  })

  it('VERIFY over the same limit, and the handle stays open', () => {
    alice.say('0;key-alice\n')
    world.loginWait = 7
    expect(alice.say('2;100;!alice\n')).toEqual([error('rate-limited', 7)])
    world.loginWait = 0
    expect(alice.say('2;100;!alice\n')).toEqual([expect.stringMatching(/^12;/)])
  })

  it('VERIFY by paying one try, whether its handle is open or not', () => {
    alice.say('0;key-alice\n')
    expect(world.counts.filter((what) => what === 'try')).toHaveLength(1)
    alice.say('2;999;!alice\n2;100;!bob\n')
    expect(world.counts.filter((what) => what === 'try')).toHaveLength(3)
    alice.say('2;x;!alice\n')
    expect(world.counts.filter((what) => what === 'try')).toHaveLength(3)
  })

  it('VERIFY for the oldest of too many open challenges with auth-failed', () => {
    const { handles } = world.limits
    const first = 100
    expect(alice.say('0;key-alice\n'.repeat(handles + 1))).toHaveLength(handles + 1)
    expect(alice.say(`2;${first};!alice\n`)).toEqual([error('auth-failed')])
    expect(alice.say(`2;${first + 1};!alice\n`)).toEqual([expect.stringMatching(/^12;/)])
    expect(alice.say(`2;${first + handles};!alice\n`)).toEqual([expect.stringMatching(/^12;/)])
  })
})

describe('VERIFY', () => {
  it('gives a token and counts the login', () => {
    alice.say('0;key-alice;sign\n')
    const expires = world.now + 3_600_000
    expect(alice.say('2;100;!alice\n')).toEqual([`12;token/alice/localhost/${expires};3600`])
    expect(world.counts).toEqual(['try', 'try', 'sign'])
  })

  it.each([
    ['a wrong answer', '2;100;!bob\n'],
    ['an unknown handle', '2;101;!alice\n'],
    ['a handle with a leading zero', '2;0100;!alice\n'],
    ['an empty answer', '2;100;\n'],
  ])('refuses %s', (_name, text) => {
    alice.say('0;key-alice\n')
    expect(alice.say(text)).toEqual([error('auth-failed')])
  })

  it('accepts each handle once, whether the answer was right or wrong', () => {
    alice.say('0;key-alice\n0;key-alice\n')
    alice.say('2;100;!wrong\n')
    expect(alice.say('2;100;!alice\n')).toEqual([error('auth-failed')])
    expect(alice.say('2;101;!alice\n')).toHaveLength(1)
    expect(alice.say('2;101;!alice\n')).toEqual([error('auth-failed'), '<end>'])
  })

  it('refuses a handle of another connection', () => {
    alice.say('0;key-alice\n')
    expect(world.open().say('2;100;!alice\n')).toEqual([error('auth-failed')])
  })

  it('expires handles exactly after 60 seconds', () => {
    alice.say('0;key-alice\n0;key-alice\n')
    world.now += 59_999
    expect(alice.say('2;100;!alice\n')).toEqual([expect.stringMatching(/^12;/)])
    world.now += 1
    expect(alice.say('2;101;!alice\n')).toEqual([error('auth-failed')])
  })

  it('ends the connection after three failures', () => {
    expect(alice.say('2;1;x\n2;1;x\n2;1;x\n7\n')).toEqual([...(Array(3).fill(error('auth-failed')) as string[]), '<end>'])
  })

  it('answers denied only to a client that proved its key, if the key is not admitted', () => {
    world.admitted = (mailbox) => mailbox !== 'alice'
    alice.say('0;key-alice\n')
    expect(alice.say('2;100;!wrong\n')).toEqual([error('auth-failed')])
    alice.say('0;key-alice\n')
    expect(alice.say('2;101;!alice\n')).toEqual([error('denied')])
  })

  it('holds later answers back while a proof is computed, so that they keep the order of the requests', () => {
    world.eager = false
    expect(alice.say('7\n0;key-alice\n7\n')).toEqual(['17'])
    expect(alice.session.reading).toBe(false)
    expect(alice.say('7\n')).toEqual([])
    expect(alice.settle()).toEqual(['1;100;?alice@localhost', '17', '17'])
    expect(alice.session.reading).toBe(true)
  })

  it('answers everything a peer asked before it closed its side, then ends the connection', () => {
    world.eager = false
    alice.say('0;key-alice\n7\nunfinished')
    expect(alice.finish()).toEqual([])
    expect(alice.settle()).toEqual(['1;100;?alice@localhost', '17', '<end>'])
  })
})

describe('messages', () => {
  let token: string
  beforeEach(() => {
    token = alice.login('alice')
    world.counts.length = 0
  })

  it('go from a SEND to a GET, once', () => {
    const [sent] = alice.say(`3;${token};key-alice;QUJD\n`)
    const id = sent!.split(';')[1]
    expect(sent).toMatch(/^13;[0-9a-f]{16};604800$/)
    expect(alice.say(`4;${token}\n4;${token}\n`)).toEqual(['14;1;0', `20;${id};QUJD`, '14;0;0'])
    expect(world.counts).toEqual(['stored', 'delivered'])
  })

  it('stay under a lease until ACK, and are delivered again if the connection ends', () => {
    const [sent] = alice.say(`3;${token};key-alice;QUJD\n`)
    const id = sent!.split(';')[1]
    expect(alice.say(`4;${token};lease\n4;${token};lease\n`)).toEqual(['14;1;0', `20;${id};QUJD`, '14;0;0'])
    const other = world.open()
    expect(other.say(`4;${token}\n`)).toEqual(['14;0;0'])
    alice.hangUp()
    expect(other.say(`4;${token};lease\n`)).toEqual(['14;1;0', `20;${id};QUJD`])
    expect(other.say(`5;${token};${id};${id};ffffffffffffffff\n5;${token};${id}\n`)).toEqual(['15;1', '15;0'])
  })

  it('with forged tokens end no connection that proved a key: a client may have pipelined a window of them', () => {
    expect(alice.say('6;forged\n'.repeat(64))).toEqual(Array(64).fill(error('bad-token')))
    expect(alice.say('7\n')).toEqual(['17'])
  })

  it.each<[string, (token: string) => string, ErrorCode]>([
    ['a payload that is not base64', (t) => `3;${t};key-alice;QUJ\n`, 'wrong-usage'],
    ['base64url', (t) => `3;${t};key-alice;QU_D\n`, 'wrong-usage'],
    ['padding within', (t) => `3;${t};key-alice;QQ==QUJD\n`, 'wrong-usage'],
    ['padding alone', (t) => `3;${t};key-alice;====\n`, 'wrong-usage'],
    ['an empty payload', (t) => `3;${t};key-alice;\n`, 'wrong-usage'],
    ['one field too many', (t) => `3;${t};key-alice;QUJD;QUJD\n`, 'wrong-usage'],
    ['one field too few', (t) => `3;${t};key-alice\n`, 'wrong-usage'],
    ['a NUL', (t) => `3;${t};key-alice;QU\0D\n`, 'wrong-usage'],
    ['a receiver that is not a key', (t) => `3;${t};nobody;QUJD\n`, 'bad-key'],
    ['a forged token', (t) => `3;x${t};key-alice;QUJD\n`, 'bad-token'],
    ['an ACK without an id', (t) => `5;${t}\n`, 'wrong-usage'],
    ['an ACK with an empty id', (t) => `5;${t};\n`, 'wrong-usage'],
  ])('with %s are refused, and the connection stays open', (_name, text, code) => {
    expect(alice.say(text(token))).toEqual([error(code)])
    expect(alice.say('7\n')).toEqual(['17'])
    expect(world.mailboxes.size.messages).toBe(0)
  })

  it('are accepted up to the payload limit and end the connection above it', () => {
    const { payload } = world.limits
    expect(alice.say(`3;${token};key-alice;${'A'.repeat(payload)}\n`)).toEqual([expect.stringMatching(/^13;/)])
    expect(alice.say(`3;${token};key-alice;${'A'.repeat(payload + 4)}\n7\n`)).toEqual([error('too-large'), '<end>'])
  })

  it('are accepted in full length only on a connection that proved a key', () => {
    const other = world.open()
    expect(other.say(`3;${token};key-alice;${'A'.repeat(9_000)}\n`)).toEqual([error('too-large'), '<end>'])
    const third = world.open()
    expect(third.say(`4;${token}\n3;${token};key-alice;${'A'.repeat(12_000)}\n`)).toHaveLength(2)
  })

  it('to a full mailbox or a full relay are refused, and no stored message is lost', () => {
    world = createWorld({ mailboxMessages: 1 }, 2_000)
    alice = world.open()
    token = alice.login('alice')
    expect(masked(alice.say(`3;${token};key-a;QUJD\n3;${token};key-a;QUJD\n3;${token};key-b;${'QUJD'.repeat(400)}\n`))).toEqual([
      '13;#;604800',
      error('mailbox-full'),
      error('relay-full'),
    ])
    expect(world.mailboxes.size.messages).toBe(1)
  })

  it('over the send rate limit are refused with the seconds to wait, and stored messages stay', () => {
    alice.say(`3;${token};key-alice;QUJD\n`)
    world.sendWait = 30
    expect(alice.say(`3;${token};key-alice;QUJD\n`)).toEqual([error('rate-limited', 30)])
    expect(world.mailboxes.size.messages).toBe(1)
  })

  it('of a few characters count as much against the send rate limit as the smallest message of a client', () => {
    alice.say(`3;${token};key-alice;QUJD\n3;${token};key-alice;${'QUJD'.repeat(2_000)}\n`)
    expect(world.charged).toEqual([5_744, 8_000])
  })

  it('of a newcomer are refused if they would fill more than the newcomers’ part of the memory', () => {
    world = createWorld({}, 100_000)
    alice = world.open()
    token = alice.login('alice')
    world.memoryShare = 0.5
    const send = `3;${token};key-alice;${'QUJD'.repeat(5_000)}\n`
    expect(masked(alice.say(send + send + send))).toEqual(['13;#;604800', '13;#;604800', error('relay-full')])
    world.memoryShare = 1
    expect(masked(alice.say(send))).toEqual(['13;#;604800'])
  })

  it('come in bounded batches that say how many messages still wait', () => {
    world = createWorld({ batchMessages: 2, batchBytes: 10 })
    alice = world.open()
    token = alice.login('alice')
    for (const text of ['AAAA', 'BBBB', 'CCCC', 'DDDDDDDD', 'EEEE']) alice.say(`3;${token};key-alice;${text}\n`)
    expect(masked(alice.say(`4;${token}\n4;${token}\n4;${token}\n`))).toEqual([
      '14;2;3',
      '20;#;AAAA',
      '20;#;BBBB',
      '14;1;2',
      '20;#;CCCC',
      '14;1;1',
      '20;#;DDDDDDDD',
    ])
  })

  it('of a plain GET wait again if the connection ends before they are written out', () => {
    alice.say(`3;${token};key-alice;QUJD\n`)
    alice.stall()
    alice.say(`4;${token}\n`)
    alice.hangUp()
    expect(masked(world.open().say(`4;${token}\n`))).toEqual(['14;1;0', '20;#;QUJD'])
  })

  it('of a plain GET are erased once written out, even if the connection then ends', () => {
    alice.say(`3;${token};key-alice;QUJD\n`)
    alice.say(`4;${token}\n`)
    alice.hangUp()
    expect(world.open().say(`4;${token}\n`)).toEqual(['14;0;0'])
  })

  it('are wiped, leased or not', () => {
    alice.say(`3;${token};key-alice;QUJD\n`.repeat(3))
    world.open().say(`4;${token};lease\n`)
    alice.say(`3;${token};key-alice;QUJD\n`)
    expect(alice.say(`9;${token}\n9;${token}\n`)).toEqual(['19;4', '19;0'])
  })

  it('are fetched with a token that is verified once on a connection, while its expiry is checked each time', () => {
    const other = world.open()
    other.say(`4;${token}\n4;${token}\n`)
    expect(world.counts).toEqual(['verify-token'])
    world.now += 3_600_000
    expect(other.say(`4;${token}\n`)).toEqual([error('bad-token')])
  })

  it("are refused if the receiver's or the sender's key is no longer admitted", () => {
    world.admitted = (mailbox) => mailbox !== 'bob'
    expect(alice.say(`3;${token};key-bob;QUJD\n`)).toEqual([error('denied')])
    world.admitted = () => false
    expect(alice.say(`4;${token}\n`)).toEqual([error('bad-token')])
  })
})

describe('subscription', () => {
  let token: string
  let bob: Peer
  beforeEach(() => {
    token = alice.login('alice')
    bob = world.open()
    bob.login('bob')
  })
  const send = (peer: Peer, payload: string): string =>
    peer.say(`3;token/bob/localhost/9999999999999;key-alice;${payload}\n`)[0]!.split(';')[1]!

  it('delivers the waiting messages, then new ones, within its window', () => {
    world = createWorld({ window: 2 })
    alice = world.open()
    bob = world.open()
    token = alice.login('alice')
    bob.login('bob')
    const first = send(bob, 'AAAA')
    expect(masked(alice.say(`6;${token}\n`))).toEqual(['16;1', '20;#;AAAA'])
    for (const payload of ['BBBB', 'CCCC', 'DDDD']) send(bob, payload)
    expect(masked(alice.read())).toEqual(['20;#;BBBB'])
    expect(masked(alice.say(`5;${token};${first}\n`))).toEqual(['15;1', '20;#;CCCC'])
    expect(world.mailboxes.size).toMatchObject({ messages: 3, subscribers: 1 })
    alice.hangUp()
    expect(masked(world.open().say(`4;${token}\n`))).toEqual(['14;3;0', '20;#;BBBB', '20;#;CCCC', '20;#;DDDD'])
  })

  it('moves to the newest subscriber, and the older one gets a taken-over notice', () => {
    send(bob, 'AAAA')
    expect(alice.say(`6;${token}\n`)).toHaveLength(2)
    const newer = world.open()
    expect(masked(newer.say(`6;${token}\n`))).toEqual(['16;1', '20;#;AAAA'])
    expect(alice.read()).toEqual(['98;taken-over'])
    send(bob, 'BBBB')
    expect(masked(newer.read())).toEqual(['20;#;BBBB'])
    expect(alice.read()).toEqual([])
  })

  it('stays a single one if requested twice', () => {
    send(bob, 'AAAA')
    expect(masked(alice.say(`6;${token}\n6;${token}\n`))).toEqual(['16;1', '20;#;AAAA', '16;0'])
  })

  it.each([
    ['ACK', (own: string, id: string) => `5;${own};${id}\n`, '15;1'],
    ['WIPE', (own: string) => `9;${own}\n`, '19;1'],
  ])('leaves %s to the mailbox of its token, if the connection has another token', (_name, packet, answer) => {
    send(bob, 'AAAA')
    bob.say(`3;token/bob/localhost/9999999999999;key-carol;BBBB\n`)
    expect(alice.say(`6;${token}\n`)).toHaveLength(2)
    const carol = alice.login('carol')
    const [, delivered] = alice.say(`4;${carol};lease\n`)
    expect(alice.say(packet(carol, delivered!.split(';')[1]!))).toEqual([answer])
    expect([world.mailboxes.waiting('carol'), world.mailboxes.size.messages]).toEqual([0, 1])
    alice.hangUp()
    expect([world.mailboxes.waiting('alice'), world.mailboxes.waiting('carol')]).toEqual([1, 0])
  })

  it('never delivers between the messages of a batch', () => {
    // The batch is too large for one write and its reader stalls.
    const payload = 'A'.repeat(30_000)
    for (let i = 0; i < 8; i++) send(bob, payload)
    const reader = world.open()
    reader.say(`6;token/none/localhost/9999999999999\n`)
    alice.say('7\n')
    reader.stall()
    reader.say(`4;${token};lease\n`)
    world.open().say(`6;token/none/localhost/9999999999999\n`)
    const kinds = reader.drain().map((line) => line.split(';')[0])
    expect(kinds).toEqual(['14', ...(Array(8).fill('20') as string[]), '98'])
  })
})

describe('a batch of GET', () => {
  it('ends the connection if one of its messages is erased before it is sent, and the others wait again', () => {
    const token = alice.login('alice')
    const payload = 'A'.repeat(30_000)
    const ids = Array.from({ length: 8 }, () => alice.say(`3;${token};key-alice;${payload}\n`)[0]!.split(';')[1]!)
    const reader = world.open()
    reader.stall()
    reader.say(`4;${token};lease\n`)
    expect(alice.say(`5;${token};${ids[7]}\n`)).toEqual(['15;1'])
    const read = reader.drain()
    expect(read[0]).toBe('14;8;0')
    expect(read.slice(1).map((line) => line.split(';')[1])).toEqual([...ids.slice(0, 7), undefined])
    expect(read.at(-1)).toBe('<end>')
    reader.hangUp()
    expect(alice.say(`4;${token};lease\n`)[0]).toBe('14;7;0')
  })
})

describe('a batch that is not complete', () => {
  const payload = 'A'.repeat(30_000)
  /** A reader that has got a part of a batch, and reads no further for now. */
  function begin(): { readonly reader: Peer; readonly token: string } {
    const token = alice.login('alice')
    for (let n = 0; n < 8; n++) alice.say(`3;${token};key-alice;${payload}\n`)
    const reader = world.open()
    reader.stall()
    reader.say(`4;${token};lease\n`)
    return { reader, token }
  }

  it.each<[string, (peer: Peer) => void]>([
    ['a restart', ({ session }) => void session.onRestarting(10, world.now)],
    [
      'the removal of its key',
      ({ session }) => {
        world.admitted = () => false
        session.onAdmission(world.now)
      },
    ],
  ])('ends at %s without another packet between its messages', (_name, end) => {
    const { reader, token } = begin()
    end(reader)
    const lines = reader.drain()
    expect(lines[0]).toBe('14;8;0')
    expect(lines.slice(1, -1).every((line) => line.startsWith('20;'))).toBe(true)
    expect(lines.length).toBeLessThan(10)
    expect(lines.at(-1)).toBe('<end>')
    reader.hangUp()
    world.admitted = () => true
    expect(world.open().say(`4;${token};lease\n`)[0]).toBe('14;8;0')
  })
})

it('ACK takes no longer field for an id, and no shorter one', () => {
  const token = alice.login('alice')
  const [, id] = alice.say(`3;${token};key-alice;QUJD\n`)[0]!.split(';')
  expect(alice.say(`4;${token};lease\n`)).toHaveLength(2)
  for (const wrong of [`${id}0`, id!.slice(0, 15), `0${id}`]) expect(alice.say(`5;${token};${wrong}\n`)).toEqual(['15;0'])
  expect(alice.say(`5;${token};${id}\n`)).toEqual(['15;1'])
})

describe('time limits', () => {
  it.each<[string, (peer: Peer) => void, number]>([
    ['no packet for 30 seconds', () => {}, 30_000],
    ['an unfinished packet for 30 seconds', (peer) => peer.say('8;asf'), 30_000],
    ['no token for 2 minutes', (peer) => peer.say('7\n'), 120_000],
    ['a proved key and silence for 15 minutes', (peer) => peer.login('alice'), 900_000],
  ])('end a connection with %s', (_name, prepare, ms) => {
    prepare(alice)
    world.now += ms - 1
    expect(alice.tick()).toEqual([])
    world.now += 1
    expect(alice.tick()).toEqual([error('timeout'), '<end>'])
  })

  it('start again with each packet of an idle peer', () => {
    alice.login('alice')
    for (let i = 0; i < 5; i++) {
      world.now += 800_000
      expect(alice.say('7\n')).toEqual(['17'])
    }
  })

  it('destroy the connection of a stalled reader without an error packet', () => {
    alice.login('alice')
    alice.stall()
    alice.say('7\n')
    world.now += 120_000
    expect(alice.tick()).toEqual(['<destroy>'])
  })

  it('do not delay a restart: the notice is written and the connection ends', () => {
    alice.session.onRestarting(10, world.now)
    const bob = world.open()
    expect(bob.session.onRestarting(10, world.now)).toEqual([])
    expect(Buffer.from(bob.session.flush(world.now)!).toString()).toBe('98;restarting;10\n')
    expect(bob.session.onWritten(world.now)).toEqual([{ kind: 'end' }])
  })
})

describe('a reader that stalls', () => {
  it('is no longer read from until it reads again, and then gets every answer', () => {
    const token = alice.login('alice')
    alice.stall()
    const pings = alice.say('7\n'.repeat(40_000))
    expect(pings).toEqual([])
    expect(alice.session.reading).toBe(false)
    expect(alice.drain()).toHaveLength(40_000)
    expect(alice.session.reading).toBe(true)
    expect(alice.say(`4;${token}\n`)).toEqual(['14;0;0'])
  })
})

describe("a receiver's key", () => {
  let token: string
  beforeEach(() => {
    token = alice.login('alice')
  })
  const checks = (): number => world.keys.filter((what) => what === 'check').length
  const send = (receiver: string, payload = 'QUJD'): string => `3;${token};${receiver};${payload}\n`

  it('is checked once on a connection, whatever comments it comes with', () => {
    const all = ['key-bob', 'key-bob', 'key-bob one', 'key-bob two', 'key-carol', 'key-bob three']
      .map((receiver) => send(receiver))
      .join('')
    expect(alice.say(all)).toEqual(Array(6).fill(expect.stringMatching(/^13;/)))
    expect(checks()).toBe(2)
  })

  it('is checked once more on each connection: no connection learns whether another one named the key', () => {
    for (const peer of [alice, world.open(), world.open()]) expect(peer.say(send('key-bob'))).toHaveLength(1)
    expect(checks()).toBe(3)
  })

  it('is checked again only after 32 others', () => {
    const name = (n: number): string => send(`key-${n}`)
    for (let n = 0; n < 32; n++) alice.say(name(n))
    for (let n = 0; n < 32; n++) alice.say(name(n))
    expect(checks()).toBe(32)
    alice.say(name(32) + name(0))
    expect(checks()).toBe(34)
  })

  it('is not checked for a token that is not good, nor for a payload that is not base64', () => {
    alice.say(`3;forged;key-bob;QUJD\n3;${token};key-bob;QUJ\n`)
    expect(world.keys).toEqual([])
  })

  it('that is off its curve is refused each time, and nothing is stored', () => {
    const bad = error('bad-key')
    expect(alice.say(send('key-off-curve') + send('key-bob') + send('key-off-curve') + '7\n')).toEqual([
      bad,
      expect.stringMatching(/^13;/),
      bad,
      '17',
    ])
    expect(world.mailboxes.size).toMatchObject({ messages: 1 })
  })

  it('makes later answers wait, so that they keep the order of the requests', () => {
    world.eager = false
    expect(alice.say(`7\n${send('key-bob')}7\n`)).toEqual(['17'])
    expect(alice.session.reading).toBe(false)
    expect(alice.say('7\n')).toEqual([])
    expect(alice.settle()).toEqual([expect.stringMatching(/^13;/), '17', '17'])
    expect(alice.session.reading).toBe(true)
  })

  it('is waited for by a peer that has ended its side', () => {
    world.eager = false
    alice.say(send('key-bob') + '7\nunfinished')
    expect(alice.finish()).toEqual([])
    expect(alice.settle()).toEqual([expect.stringMatching(/^13;/), '17', '<end>'])
  })

  it('that the relay has no time to check is rate-limited, and the next one is checked', () => {
    world.busy = true
    expect(alice.say(send('key-bob') + '7\n')).toEqual([error('rate-limited', 1), '17'])
    world.busy = false
    expect(alice.say(send('key-bob'))).toEqual([expect.stringMatching(/^13;/)])
  })

  it('does not delay messages of others to the connection, and its own message is stored after the check', () => {
    world.eager = false
    const bob = world.open()
    bob.say('0;key-bob\n')
    bob.settle()
    bob.say('2;101;!bob\n')
    const [answer] = bob.settle()
    const own = answer!.split(';')[1]!
    bob.say(`6;${own}\n${send('key-alice')}`)
    alice.say(send('key-bob'))
    alice.settle()
    expect(bob.read()).toEqual([expect.stringMatching(/^20;/)])
    expect(bob.settle()).toEqual([expect.stringMatching(/^13;/)])
  })

  it('may come in any chunks, and its payload is stored whole', () => {
    const payload = 'QUJD'.repeat(3_000)
    const bytes = Buffer.from(`7\r\n${send('key-bob', payload)}${send('key-carol', payload).replace('\n', '\r\n')}7\n`)
    for (const cuts of [[bytes.length], [5, 300], infinite(1), infinite(7), [3, bytes.length - 10, 1, 1]]) {
      const peer = world.open()
      peer.login('dave')
      expect(masked(peer.feed(chunksOf(bytes, cuts)))).toEqual(['17', '13;#;604800', '13;#;604800', '17'])
      for (const name of ['bob', 'carol']) {
        const [, message] = world.open().say(`4;token/${name}/localhost/9999999999999\n`)
        expect(message?.split(';')[2]).toBe(payload)
      }
    }
  })
})

describe('a turn', () => {
  /** Says all at once, and returns the lines that each turn answered with. */
  const turnsOf = (peer: Peer, text: string): string[][] => {
    world.restless = false
    const turns = [peer.say(text)]
    while (peer.session.isResting) {
      expect(peer.session.reading).toBe(false)
      turns.push(peer.turn())
    }
    world.restless = true
    return turns
  }

  const ID = 'f'.repeat(16)
  it.each<[string, (token: string, n: number) => string, number]>([
    ['PING', () => '7', 100],
    ['HELLO', () => '8;asfaleia/1', 50],
    ['GET of an empty mailbox', (token) => `4;${token}`, 190],
    ['SUBSCRIBE', (token) => `6;${token}`, 100],
    ['WIPE', (token) => `9;${token}`, 100],
    ['forged tokens', (_token, n) => `6;forged ${n}`, 32],
    ['SENDs to one key with a fresh comment each', (token, n) => `3;${token};key-bob ${n};QUJD`, 32],
    ['SENDs to nonsense', (token, n) => `3;${token};nonsense ${n};QUJD`, 19],
    ['ACKs of 500 unknown ids', (token) => `5;${token}${`;${ID}`.repeat(500)}`, 3],
    ['SENDs of 16 KiB', (token) => `3;${token};key-bob;${'A'.repeat(16_384)}`, 13],
    ['SENDs to a full mailbox', (token) => `3;${token};key-full;QUJD`, 50],
  ])("does a bounded part of a peer's pipelined packets: %s", (_name, packet, most) => {
    world = createWorld({ mailboxMessages: 2 ** 20 }, 2 ** 30)
    world.admitted = (mailbox) => mailbox !== 'full'
    const bob = world.open()
    const token = bob.login('bob')
    const turns = turnsOf(bob, Array.from({ length: 1_000 }, (_, n) => `${packet(token, n)}\n`).join(''))
    expect(turns.flat()).toHaveLength(1_000)
    for (const answers of turns) expect(answers.length).toBeLessThanOrEqual(most)
    // No turn but the first and the last does much less than the others.
    for (const answers of turns.slice(1, -1)) expect(answers.length).toBeGreaterThan(most / 2)
    expect(bob.session.reading).toBe(true)
  })

  it('has room for a window of ordinary messages, sent or received', () => {
    const token = alice.login('alice')
    const send = `3;${token};key-alice ${'A'.repeat(68)};${'A'.repeat(1_368)}\n`
    alice.say(send)
    alice.session.beginTurn()
    world.restless = false
    const sent = alice.say(send.repeat(64))
    expect(sent.filter((line) => line.startsWith('13;'))).toHaveLength(64)
    expect(alice.session.isResting).toBe(false)
    expect(alice.say('7\n')).toEqual(['17'])
  })

  it('bounds the messages that one packet makes the relay write: SUBSCRIBE to two mailboxes by turns', () => {
    const [one, two] = [alice.login('alice'), alice.login('bob')]
    const payload = 'A'.repeat(4_096)
    for (const name of ['alice', 'bob']) for (let n = 0; n < 64; n++) alice.say(`3;${one};key-${name};${payload}\n`)
    const turns = turnsOf(alice, `6;${one}\n6;${two}\n`.repeat(20))
    const bytes = turns.map((lines) => lines.reduce((sum, line) => sum + line.length, 0))
    // Forty times 64 messages, and no turn with more than its budget and one message.
    expect(bytes.reduce((sum, each) => sum + each)).toBeGreaterThan(40 * 64 * 4_096)
    for (const each of bytes) expect(each).toBeLessThan(260_000)
  })

  it('is owed: a packet that cost more than a budget costs later turns', () => {
    const token = alice.login('alice')
    const ack = `5;${token}${`;${ID}`.repeat(2_000)}\n`
    expect(turnsOf(alice, `${ack}${ack}${ack}7\n`)).toEqual([['15;0'], ['15;0'], ['15;0'], [], ['17']])
  })

  it('is used up by frames that complete no packet', () => {
    world.restless = false
    alice.session.onIdleFrames(2_000)
    expect(alice.session.isResting).toBe(true)
    expect(alice.say('7\n')).toEqual([])
    const turns: string[][] = []
    while (alice.session.isResting) turns.push(alice.turn())
    expect(turns.flat()).toEqual(['17'])
    expect(turns).toHaveLength(2)
  })

  it('ends, and the peer that has ended its side still gets every answer', () => {
    world.restless = false
    alice.say('7\n'.repeat(500))
    const answers = alice.finish()
    while (alice.session.isResting) answers.push(...alice.turn())
    expect(answers.at(-1)).toBe('<end>')
    expect(answers.filter((line) => line === '17').length).toBeGreaterThan(300)
  })

  it('passes without another packet: a session that does not rest begins each turn with its whole budget', () => {
    world.restless = false
    for (let n = 0; n < 50; n++) {
      expect(alice.say('7\n'.repeat(50))).toHaveLength(50)
      expect(alice.session.isResting).toBe(false)
      alice.session.beginTurn()
    }
  })
})

describe('a peer that does not read', () => {
  const SHORT = 4_096
  /** Packets of a stranger that fill a read, and the longest line that it may send. */
  const key = `0;key-alice${' '.repeat(8_100)}\n`
  it.each<[string, string]>([
    ['HELLO', '8;asfaleia/1\n'],
    ['PING', '7\n'],
    ['mistakes', '10\n'],
    ['AUTH', '0;key-alice\n'],
    ['AUTH with a long key', key],
    ['VERIFY', `2;100;${'x'.repeat(8_000)}\n`],
    ['an endless line', 'x'.repeat(8_190)],
  ])('and proves no key makes the relay hold 20 KiB of buffers at most: %s', (_name, packet) => {
    for (const eager of [true, false]) {
      world = createWorld({ handles: 16 })
      world.eager = eager
      const stranger = world.open()
      stranger.stall()
      const bytes = Buffer.from(packet.repeat(Math.ceil(40_000 / packet.length)), 'latin1')
      let most = 0
      for (const chunk of chunksOf(bytes, infinite(SHORT))) {
        if (!stranger.session.reading) break
        stranger.feed([chunk])
        most = Math.max(most, stranger.session.held)
      }
      expect(most).toBeLessThanOrEqual(20 * 1_024)
    }
  })

  it('is read from no more before its proof as soon as one write waits, and gets every answer once it reads', () => {
    alice.stall()
    alice.say('8;asfaleia/1\n'.repeat(100))
    expect(alice.session.reading).toBe(false)
    const welcome = expect.stringMatching(/^18;/) as unknown as string
    expect(alice.drain()).toEqual(Array(100).fill(welcome))
    expect(alice.session.reading).toBe(true)
  })

  it('costs few bytes before its proof, whatever it pipelines', () => {
    alice.stall()
    for (let n = 0; n < 50 && alice.session.reading; n++) alice.say('8;asfaleia/1\n'.repeat(300))
    expect(alice.session.reading).toBe(false)
    // The first chunk of 3,900 bytes, and output of at most 8 KiB beside the write that waits.
    expect(alice.session.held).toBeLessThan(16_384)
  })

  it('holds nothing once everything is taken and processed', () => {
    const token = alice.login('alice')
    alice.say('7\n'.repeat(500) + `3;${token};key-alice;${'QUJD'.repeat(4_000)}\n4;${token}\n`)
    expect(alice.session.held).toBe(0)
    alice.say('3;unfinished')
    expect(alice.session.held).toBeGreaterThan(0)
    alice.hangUp()
    expect(alice.session.held).toBe(0)
  })
})

describe('the mailboxes of one connection', () => {
  it('are 16 at most: beyond that, the messages leased from the one used longest ago wait again', () => {
    const tokens = Array.from({ length: 17 }, (_, n) => `token/box-${n}/localhost/9999999999999`)
    for (const [n, token] of tokens.entries()) alice.say(`3;${token};key-box-${n};QUJD\n`)
    const get = (peer: Peer, n: number): string => peer.say(`4;${tokens[n]};lease\n`)[0]!
    for (let n = 0; n < 16; n++) expect(get(alice, n)).toBe('14;1;0')
    get(alice, 0)
    const other = world.open()
    expect(get(other, 1)).toBe('14;0;0')
    expect(get(alice, 16)).toBe('14;1;0')
    expect(get(other, 1)).toBe('14;1;0')
    for (const n of [0, 2, 15, 16]) expect(get(other, n)).toBe('14;0;0')
  })

  it('include the one that it subscribes to, which stays', () => {
    const own = alice.login('alice')
    expect(alice.say(`6;${own}\n`)).toEqual(['16;0'])
    for (let n = 0; n < 40; n++) alice.say(`4;token/box-${n}/localhost/9999999999999;lease\n`)
    expect(alice.say(`3;${own};key-alice;QUJD\n`)).toEqual([expect.stringMatching(/^13;/), expect.stringMatching(/^20;/)])
  })
})

describe('the bytes of a relay session', () => {
  const packets = [
    '7\n',
    '7\r\n',
    '8;asfaleia/1\n',
    '0;key-alice\n',
    '0;bad\n',
    '2;100;!alice\n',
    '2;101;!alice\n',
    '2;102;!bob\n',
    '2;100;?\n',
    '3;token/alice/localhost/9999999999999;key-alice;QUJD\n',
    '3;;key-alice;QUJD\n',
    '3;token/alice/localhost/9999999999999;key-bob;QUJD\n',
    '3;token/alice/localhost/9999999999999;key-off-curve;QUJD\n',
    '4;token/alice/localhost/9999999999999\n',
    '4;token/alice/localhost/9999999999999;lease\n',
    '5;token/alice/localhost/9999999999999;0000000000000000\n',
    '6;token/alice/localhost/9999999999999\n',
    '9;token/alice/localhost/9999999999999\n',
    '\n',
    ';\n',
    '77\n',
    '07\n',
    'junk',
    '7\n'.repeat(150),
    '6;token/alice/localhost/9999999999999\n6;token/bob/localhost/9999999999999\n'.repeat(60),
    `3;token/alice/localhost/9999999999999;key-alice;${'QUJD'.repeat(2_500)}\n`,
    `${'x'.repeat(9_000)}\n`,
  ]
  const stream = array(oneof({ weight: 20, arbitrary: constantFrom(...packets) }, { weight: 1, arbitrary: constant('\0\xff\n') }), {
    maxLength: 30,
  })

  it('mean the same whole, in chunks and byte by byte', () => {
    check(
      property(record({ sent: stream, cuts: infiniteStream(integer({ min: 1, max: 700 })) }), ({ sent, cuts }) => {
        const all = Buffer.from(sent.join(''), 'latin1')
        const answers = [[Uint8Array.from(all)], chunksOf(all, cuts), chunksOf(all, infinite(1))].map((chunks) =>
          masked(createWorld().open().feed(chunks)),
        )
        expect(answers[1]).toEqual(answers[0])
        expect(answers[2]).toEqual(answers[0])
      }),
      { numRuns: 300 },
    )
  })

  it('mean the same whether requests are pipelined or not, even if they erase and count', () => {
    const token = 'token/alice/localhost/9999999999999'
    const sent = [`3;${token};key-alice;QUJD`, `4;${token}`, `9;${token}`, `6;${token}`, `3;${token};key-alice;QUJD`, `4;${token}`, '7']
    const all = sent.map((packet) => `${packet}\n`)
    const expected = ['13;#;604800', '14;1;0', '20;#;QUJD', '19;0', '16;0', '13;#;604800', '20;#;QUJD', '14;0;0', '17']
    expect(masked(alice.say(all.join('')))).toEqual(expected)
    const bob = createWorld().open()
    expect(masked(all.flatMap((packet) => bob.say(packet)))).toEqual(expected)
  })

  it('of any number have a check of a receiver each', () => {
    const sends = Array.from({ length: 5_000 }, (_, n) => `3;token/alice/localhost/9999999999999;key-${n};QUJD\n`)
    expect(alice.say(sends.join(''))).toHaveLength(5_000)
  })

  it('give the same answers in lines and in frames, for every length of frame head', () => {
    const limits = { payload: 70_000, batchBytes: 200_000 }
    const all = (framing: 'line' | 'message'): string[] => {
      const peer = createWorld(limits).open(framing)
      const said = peer.say('7\n8;asfaleia/1\n0;key-alice\n2;100;!alice\n')
      const token = said.at(-1)!.split(';')[1]!
      for (const length of [4, 92, 96, 100, 104, 108, 1_000, 65_516, 65_520, 65_524])
        said.push(...peer.say(`3;${token};key-alice;${'A'.repeat(length)}\n`))
      return masked([...said, ...peer.say(`4;${token};lease\n${'x'.repeat(80_000)}\n`)])
    }
    expect(all('message')).toEqual(all('line'))
    expect(all('message').slice(-2)).toEqual([error('too-large'), '<end>'])
  })

  it('are copied if they must wait for a proof: the chunk goes back overwritten', () => {
    world.eager = false
    const chunk = new Uint8Array(Buffer.from('0;key-alice\n7\n8;asfaleia/1\n'))
    expect(alice.feed([chunk])).toEqual([])
    expect(chunk.every((byte) => byte === 0)).toBe(true)
    expect(alice.settle().map((line) => line.split(';')[0])).toEqual(['1', '17', '18'])
  })

  it('are overwritten, and not read, if they come to a session that is closing or over', () => {
    alice.stall()
    alice.say(`7\n${'x'.repeat(80_000)}\n`)
    const closing = new Uint8Array(Buffer.from('7\n'))
    alice.feed([closing])
    expect(closing.every((byte) => byte === 0)).toBe(true)
    expect(alice.drain()).toEqual(['17', error('too-large'), '<end>'])
    const over = new Uint8Array(Buffer.from('7\n'))
    expect(alice.feed([over])).toEqual([])
    expect(over.every((byte) => byte === 0)).toBe(true)
  })

  it('are forgotten when the stream ends: unread input, gathered output and the copy of a login', () => {
    world.eager = false
    const { session } = alice
    session.onChunk(new Uint8Array(Buffer.from('7\n7\n0;key-alice\n7')), world.now)
    expect([session.hasOutput, session.held > 0]).toEqual([true, true])
    session.onEnd()
    expect(session.held).toBe(0)
  })

  it('are overwritten once read', () => {
    const token = alice.login('alice')
    const chunk = new Uint8Array(Buffer.from(`3;${token};key-alice;QUJD\n3;${token};key-al`))
    alice.feed([chunk])
    expect(chunk.every((byte) => byte === 0)).toBe(true)
  })
})

function* infinite(length: number): Generator<number> {
  for (;;) yield length
}
