import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BreachReason, BreachError } from '../../src/protocol/breach.ts'
import { ClientSession, type SessionEvent } from '../../src/protocol/client-session.ts'
import { CLIENT_CAPS } from '../../src/protocol/limits.ts'
import { chunksOf } from '../support/chunks.ts'

const NONCE = 'A'.repeat(43)
const LINE = `asfaleia/1 auth localhost 42 ${NONCE}`
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

function feed(session: ClientSession, said: string): SessionEvent[] {
  return [...session.onChunk(Buffer.from(said, 'latin1'))]
}

function loggedIn(): ClientSession {
  const session = new ClientSession('localhost')
  session.hello()
  feed(session, '18;asfaleia/1\n')
  session.auth('ssh-ed25519 AAAA', false)
  feed(session, `1;42;${base64('age')}\n`)
  session.checkChallenge(Buffer.from(LINE))
  session.verify(LINE)
  expect(feed(session, '12;a.b.c;3600\n')).toEqual([
    { kind: 'answer', answer: { name: 'VERIFY', value: { seconds: 3600, run: undefined } } },
  ])
  return session
}

test('each request is encoded as section 2 of the protocol specifies', () => {
  const session = loggedIn()
  expect(text(new ClientSession('x.onion').hello())).toBe('8;asfaleia/1;x.onion\n')
  expect(text(session.send('SHA256:x', Buffer.from('hi')))).toBe('3;a.b.c;SHA256:x;aGk=\n')
  expect(text(session.get(true))).toBe('4;a.b.c;lease\n')
  expect(text(session.get(false))).toBe('4;a.b.c\n')
  expect(text(session.ack(['1', '2']))).toBe('5;a.b.c;1;2\n')
  expect(text(session.subscribe())).toBe('6;a.b.c\n')
  expect(text(session.ping())).toBe('7\n')
  expect(text(session.wipe())).toBe('9;a.b.c\n')
  expect(text(session.auth('ssh-ed25519 AAAA', true))).toBe('0;ssh-ed25519 AAAA;sign\n')
  expect(session.openRequests).toBe(8)
})

test('answers are matched to requests in order, with messages and notices between them', () => {
  const session = loggedIn()
  session.subscribe()
  session.send('SHA256:x', Buffer.from('hi'))
  session.ping()
  session.get(true)
  session.ack(['m1'])
  expect(
    feed(session, '16;1\n20;m1;aGk=\n99;mailbox-full;text;ignored\n98;restarting;10;ignored\n17\n14;2;5\n20;m2;aGk=\n20;m3;aGk=\n15;1\n'),
  ).toEqual([
    { kind: 'answer', answer: { name: 'SUBSCRIBE', value: { waiting: 1 } } },
    { kind: 'message', message: { id: 'm1', payload: new Uint8Array([104, 105]) }, label: '' },
    { kind: 'refused', code: 'mailbox-full', seconds: undefined },
    { kind: 'notice', code: 'restarting', seconds: 10 },
    { kind: 'answer', answer: { name: 'PING', value: {} } },
    { kind: 'part' },
    { kind: 'part' },
    {
      kind: 'answer',
      answer: {
        name: 'GET',
        value: {
          messages: [
            { id: 'm2', payload: new Uint8Array([104, 105]) },
            { id: 'm3', payload: new Uint8Array([104, 105]) },
          ],
          waiting: 5,
        },
      },
    },
    { kind: 'answer', answer: { name: 'ACK', value: { erased: 1 } } },
  ])
  expect(session.openRequests).toBe(0)
})

test('error codes and notices of a later version neither end the session nor reach the user verbatim', () => {
  const session = loggedIn()
  session.ping()
  expect(feed(session, '98;new-thing;1\n99;new-code;text;7\n')).toEqual([{ kind: 'refused', code: 'unknown', seconds: 7 }])
  expect(feed(session, '99;timeout;text\n')).toEqual([{ kind: 'farewell', code: 'timeout', seconds: undefined }])
})

test('a moved notice gives the new onion name, and is ignored if it holds anything else', () => {
  const session = loggedIn()
  const name = `${'a'.repeat(56)}.onion`
  expect(feed(session, `98;moved;${name};ignored\n`)).toEqual([{ kind: 'moved', name }])
  const others = ['', `;${name.toUpperCase()}`, `;x${name}`, `;${name}.`, ';example.org', `;${'a'.repeat(55)}\u001b.onion`, ';']
  for (const other of others) expect(feed(session, `98;moved${other}\n`)).toEqual([])
})

describe('labels', () => {
  const SECRET = new Uint8Array(32).fill(0xfb)
  const SECRET_TEXT = `${'-_v7'.repeat(10)}-_s`

  test('name the proof of each request, before the TOKEN came', () => {
    const session = new ClientSession('localhost')
    expect(text(session.claim(SECRET, 'a-1'))).toBe(`34;${SECRET_TEXT};a-1\n`)
    expect(text(session.claim(SECRET))).toBe(`34;${SECRET_TEXT}\n`)
    expect(text(session.send('SHA256:x', Buffer.from('hi'), ''))).toBe('3;;SHA256:x;aGk=\n')
    expect(text(session.get(true, 'a-1'))).toBe('4;a-1;lease\n')
    expect(text(session.ack(['1'], 'a-1'))).toBe('5;a-1;1\n')
    expect(text(session.subscribe('a-1'))).toBe('6;a-1\n')
    expect(text(session.wipe('a-1'))).toBe('9;a-1\n')
    expect(text(session.publish(Buffer.from('hi'), 'a-1'))).toBe('30;a-1;aGk=\n')
    expect(text(session.publish(undefined, 'a-1'))).toBe('30;a-1\n')
    expect(text(session.fetch('SHA256:x', ''))).toBe('32;;SHA256:x\n')
    expect(() => session.send('SHA256:x', Buffer.alloc(6_200), '')).toThrow('must wait for the TOKEN')
    expect(session.hasToken).toBe(false)
    feed(session, '12;a.b.c;3600\n')
    expect(text(session.send('SHA256:x', Buffer.alloc(6_200), ''))).toHaveLength(8_281)
    expect(session.hasToken).toBe(false)
    feed(session, '12;d.e.f;3600\n')
    expect(session.token).toBe('d.e.f')
  })

  test('are refused before they leave, as secrets and bundles of another form are', () => {
    const session = loggedIn()
    for (const label of ['A', 'a b', 'a.b', 'a;b', 'a\n', 'a'.repeat(17)]) {
      expect(() => session.claim(SECRET, label)).toThrow(TypeError)
      expect(() => session.subscribe(label)).toThrow(TypeError)
    }
    expect(() => session.claim(new Uint8Array(31))).toThrow(TypeError)
    expect(() => session.wipe('')).toThrow(TypeError)
    expect(() => session.publish(Buffer.from('hi'), '')).toThrow(TypeError)
    expect(() => session.publish(Buffer.alloc(6_145))).toThrow(TypeError)
    expect(() => session.publish(Buffer.alloc(0))).toThrow(TypeError)
    expect(session.openRequests).toBe(0)
    expect(text(session.publish(Buffer.alloc(6_144)))).toHaveLength(8_202)
  })

  test('tell subscriptions apart, and end them', () => {
    const session = new ClientSession('localhost')
    session.claim(SECRET, 'a')
    session.subscribe('a')
    const message = { id: 'm1', payload: new Uint8Array([104, 105]) }
    expect(feed(session, '12;a.b.c;3600\n16;1\n21;a;m1;aGk=\n98;taken-over;a\n98;taken-over\n').slice(2)).toEqual([
      { kind: 'message', message, label: 'a' },
      { kind: 'taken-over', label: 'a' },
      { kind: 'taken-over', label: '' },
    ])
    session.claim(SECRET, 'a')
    // A message may cross the CLAIM that ends its subscription.
    expect(feed(session, '21;a;m1;aGk=\n99;rate-limited;text;7\n')).toEqual([
      { kind: 'message', message, label: 'a' },
      { kind: 'refused', code: 'rate-limited', seconds: 7 },
    ])
    expect(feed(session, '21;a;m1;aGk=\n')).toEqual([{ kind: 'broken', reason: 'unasked-packet' }])
  })

  test('do not raise the bound on unacknowledged messages', () => {
    const session = new ClientSession('localhost')
    for (const label of ['a', 'b']) {
      session.claim(SECRET, label)
      session.subscribe(label)
      feed(session, '12;a.b.c;3600\n16;1\n')
    }
    const half = CLIENT_CAPS.messages / 2
    for (let n = 0; n < half; n++) feed(session, `21;a;a${n};aGk=\n21;b;b${n};aGk=\n`)
    session.ack(['a0'], 'a')
    expect(feed(session, '21;a;m;aGk=\n')).toHaveLength(1)
    expect(feed(session, '21;b;m;aGk=\n')).toEqual([{ kind: 'broken', reason: 'too-much' }])
  })
})

test('a bundle is read, or is absent', () => {
  const session = loggedIn()
  session.fetch('SHA256:x')
  session.fetch('SHA256:x')
  session.publish(Buffer.from('hi'))
  expect(feed(session, '33\n33;aGk=\n31;1209600\n')).toEqual([
    { kind: 'answer', answer: { name: 'FETCH', value: { bundle: undefined } } },
    { kind: 'answer', answer: { name: 'FETCH', value: { bundle: new Uint8Array([104, 105]) } } },
    { kind: 'answer', answer: { name: 'PUBLISH', value: { seconds: 1_209_600 } } },
  ])
  session.fetch('SHA256:x')
  expect(feed(session, `33;${'A'.repeat(8_196)}\n`)).toEqual([{ kind: 'broken', reason: 'too-much' }])
})

describe('WELCOME', () => {
  test('gives no labels if it has no such key, and no more than the client uses', () => {
    expect(limits('18;asfaleia/1\n').labels).toBe(0)
    expect(limits('18;asfaleia/1;labels=9\n').labels).toBe(9)
    expect(limits('18;asfaleia/1;labels=9999\n').labels).toBe(64)
  })

  const limits = (said: string) => {
    const session = new ClientSession('localhost')
    session.hello()
    feed(session, said)
    return session.limits
  }
  test('sets the limits that are valid and keeps the defaults for the others', () => {
    expect(limits('18;asfaleia/1;payload=100;junk;x=1;hold=60;idle=-1;window=;token=1e9\n')).toMatchObject({
      payload: 100,
      hold: 60,
      idle: 900,
      window: 64,
      token: 3600,
      batch: 128,
    })
  })
  test("cannot raise a limit above the client's cap", () => {
    expect(limits('18;asfaleia/1;payload=999999999999999;batch=999999999999999\n')).toMatchObject({
      payload: CLIENT_CAPS.payload,
      batch: CLIENT_CAPS.messages,
    })
  })
})

test('a payload of exactly the limit is read', () => {
  const session = loggedIn()
  session.get(true)
  expect(feed(session, `14;1;0\n20;m1;${'A'.repeat(32_768)}\n`).at(-1)).toMatchObject({ kind: 'answer', answer: { name: 'GET' } })
})

test('a session that has ended has no token', () => {
  const ends: ((session: ClientSession) => unknown)[] = [(session) => session.onEnd(), (session) => feed(session, 'junk\n')]
  for (const end of ends) {
    const session = loggedIn()
    expect(session.token).toBe('a.b.c')
    end(session)
    expect([session.hasToken, session.token]).toEqual([false, undefined])
  }
})

describe('the session ends if the relay sends', () => {
  const ask = {
    nothing: () => {},
    ping: (session: ClientSession) => void session.ping(),
    get: (session: ClientSession) => void session.get(true),
    subscribe: (session: ClientSession) => void session.subscribe(),
    send: (session: ClientSession) => void session.send('SHA256:x', Buffer.from('hi')),
    login: (session: ClientSession) => void session.auth('ssh-ed25519 AAAA', false),
    hello: (session: ClientSession) => void session.hello(),
  }
  const cases: [name: string, asked: keyof typeof ask, said: string, reason: BreachReason][] = [
    ['an answer without a request', 'nothing', '17\n', 'unasked-packet'],
    ['a message without a subscription', 'nothing', '20;m1;aGk=\n', 'unasked-packet'],
    ['a challenge without a request', 'nothing', '1;42;aGk=\n', 'unasked-packet'],
    ['a second challenge', 'login', '1;42;aGk=\n1;43;aGk=\n', 'unasked-packet'],
    ['a challenge as the answer to something else', 'ping', '1;42;aGk=\n', 'wrong-answer'],
    ['the answer to another request', 'ping', '13;m1;60\n', 'wrong-answer'],
    ['a client’s packet', 'ping', '7\n', 'unknown-packet'],
    ['an unknown packet number', 'ping', '22\n', 'unknown-packet'],
    ['a message of a subscription that does not exist', 'subscribe', '16;0\n21;a;m1;aGk=\n', 'unasked-packet'],
    ['a label of another form', 'subscribe', '16;0\n21;A;m1;aGk=\n', 'malformed-packet'],
    ['an empty line', 'ping', '\n', 'malformed-packet'],
    ['a leading zero', 'ping', '017\n', 'malformed-packet'],
    ['too many fields', 'ping', '17;more\n', 'malformed-packet'],
    ['too few fields', 'send', '13;m1\n', 'malformed-packet'],
    ['a gigantic number', 'get', '14;9999999999999999;0\n', 'malformed-packet'],
    ['a negative number', 'get', '14;-1;0\n', 'malformed-packet'],
    ['a gigantic count', 'get', '14;999999999999999;0\n', 'too-much'],
    ['a count over the batch limit that it announced', 'get', '14;129;0\n', 'too-much'],
    ['an answer inside a batch', 'get', '14;2;0\n20;m1;aGk=\n17\n', 'wrong-batch'],
    ['an error inside a batch', 'get', '14;2;0\n20;m1;aGk=\n99;timeout;text\n', 'wrong-batch'],
    ['a notice inside a batch', 'get', '14;1;0\n98;taken-over\n', 'wrong-batch'],
    ['one message more than the batch announced', 'get', '14;1;0\n20;m1;aGk=\n20;m2;aGk=\n', 'unasked-packet'],
    ['a payload that is not base64', 'get', '14;1;0\n20;m1;aGk\n', 'malformed-packet'],
    ['an empty payload', 'get', '14;1;0\n20;m1;\n', 'malformed-packet'],
    ['a payload over the limit', 'get', `14;1;0\n20;m1;${'A'.repeat(32_772)}\n`, 'too-much'],
    ['an id with an escape sequence', 'get', '14;1;0\n20;\u{1b}[2J;aGk=\n', 'malformed-packet'],
    ['an id over the length limit', 'get', `14;1;0\n20;${'1'.repeat(65)};aGk=\n`, 'malformed-packet'],
    ['a handle that is not a number', 'login', '1;x42;aGk=\n', 'malformed-packet'],
    ['a challenge that is not base64', 'login', '1;42;<age>\n', 'malformed-packet'],
    ['another version', 'hello', '18;asfaleia/2\n', 'wrong-version'],
    ['more notices than the cap', 'nothing', '98;x\n'.repeat(CLIENT_CAPS.notices + 1), 'too-many-notices'],
    ['an endless line', 'ping', 'x'.repeat(40_000), 'line-too-long'],
  ]
  test.each(cases)('%s', (_name, asked, said, reason) => {
    const session = loggedIn()
    ask[asked](session)
    expect(feed(session, said).at(-1)).toEqual({ kind: 'broken', reason })
    expect(feed(session, '17\n')).toEqual([])
    expect(() => session.ping()).toThrow(TypeError)
  })

  test.each(['junk', 'a.b', 'a.b.c.d', 'a.b.\u{1b}', `a.b.${'c'.repeat(CLIENT_CAPS.token)}`])(
    'a token that is not a JWT or is too long (%#)',
    (token) => {
      const session = new ClientSession('localhost')
      session.auth('ssh-ed25519 AAAA', false)
      feed(session, '1;42;aGk=\n')
      session.checkChallenge(Buffer.from(LINE))
      session.verify(LINE)
      expect(feed(session, `12;${token};3600\n`)).toMatchObject([{ kind: 'broken' }])
      expect(session.hasToken).toBe(false)
    },
  )

  test('a line before login that is as long as only a later line may be', () => {
    const session = new ClientSession('localhost')
    session.hello()
    expect(feed(session, `18;asfaleia/1;${'x'.repeat(8_192)}\n`)).toEqual([{ kind: 'broken', reason: 'line-too-long' }])
  })

  test('more unacknowledged messages than a window can hold', () => {
    const session = loggedIn()
    session.subscribe()
    feed(session, '16;0\n')
    for (let i = 0; i < CLIENT_CAPS.messages; i++) expect(feed(session, `20;m${i};aGk=\n`)).toHaveLength(1)
    session.ack(['m0'])
    expect(feed(session, '20;n;aGk=\n')).toMatchObject([{ kind: 'message' }])
    expect(feed(session, '20;o;aGk=\n')).toEqual([{ kind: 'broken', reason: 'too-much' }])
  })

  test('one message repeated more often than it is acknowledged', () => {
    const session = loggedIn()
    session.subscribe()
    feed(session, '16;0\n')
    for (let i = 0; i < CLIENT_CAPS.messages; i++) expect(feed(session, '20;m;aGk=\n')).toHaveLength(1)
    // Each acknowledged id frees one place, even if it is the same id.
    session.ack(['m', 'm'])
    for (let i = 0; i < 2; i++) expect(feed(session, '20;m;aGk=\n')).toMatchObject([{ kind: 'message' }])
    expect(feed(session, '20;m;aGk=\n')).toEqual([{ kind: 'broken', reason: 'too-much' }])
  })

  test('more bytes than a client holds', () => {
    const session = new ClientSession('localhost')
    session.hello()
    feed(session, `18;asfaleia/1;payload=${CLIENT_CAPS.payload};batch=4096\n`)
    session.auth('ssh-ed25519 AAAA', false)
    feed(session, '1;42;aGk=\n')
    session.checkChallenge(Buffer.from(LINE))
    session.verify(LINE)
    feed(session, '12;a.b.c;3600\n')
    session.get(true)
    feed(session, '14;4096;0\n')
    const events: SessionEvent[] = []
    const payload = 'A'.repeat(CLIENT_CAPS.payload)
    for (let sent = 0; sent <= CLIENT_CAPS.bytes && events.at(-1)?.kind !== 'broken'; sent += (CLIENT_CAPS.payload / 4) * 3) {
      events.push(...feed(session, `20;m1;${payload}\n`))
    }
    expect(events.at(-1)).toEqual({ kind: 'broken', reason: 'too-much' })
  })
})

describe('checkChallenge', () => {
  function challenged(): ClientSession {
    const session = new ClientSession('localhost')
    session.auth('ssh-ed25519 AAAA', false)
    feed(session, '1;42;aGk=\n')
    return session
  }

  test('accepts a challenge of the dialled relay with its own handle, once', () => {
    const session = challenged()
    expect(session.checkChallenge(Buffer.from(LINE))).toBe(LINE)
    expect(text(session.verify(LINE))).toBe(`2;42;${LINE}\n`)
    expect(() => session.verify(LINE)).toThrow(TypeError)
    expect(() => session.checkChallenge(Buffer.from(LINE))).toThrow(TypeError)
  })

  test.each([
    ['a text that is not a challenge', 'meet me at noon'],
    ['an empty challenge', ''],
    ['a challenge of another relay', LINE.replace('localhost', 'other.onion')],
    ['another handle', LINE.replace('42', '43')],
    ['the handle with a leading zero', LINE.replace('42', '042')],
    ['a byte after it', `${LINE}x`],
    ['a byte before it', `x${LINE}`],
    ['a line feed after it', `${LINE}\n`],
    ['a carriage return after it', `${LINE}\r\n`],
    ['a second line', `${LINE}\nmeet me at noon`],
    ['a first line', `meet me at noon\n${LINE}`],
    ['upper case', LINE.toUpperCase()],
    ['the relay in upper case', LINE.replace('localhost', 'LOCALHOST')],
    ['two spaces', LINE.replace(' 42', '  42')],
    ['a nonce that is too short', LINE.slice(0, -1)],
    ['a nonce outside the alphabet', LINE.replace(NONCE, '+'.repeat(43))],
    ['a nonce with a non-canonical last letter', LINE.replace(NONCE, `${'A'.repeat(42)}B`)],
    ['a letter beyond latin1 that would truncate to an expected one', LINE.replace('l', '\u{16c}')],
    ['a NUL', LINE.replace('auth', 'auth\0')],
    ['another version', LINE.replace('/1', '/2')],
  ])('refuses %s', (_name, served) => {
    const session = challenged()
    const error = catchError(() => session.checkChallenge(Buffer.from(served)))
    expect(error).toBeInstanceOf(BreachError)
    expect({ ...(error as BreachError), message: (error as BreachError).message }).toEqual({
      name: 'BreachError',
      reason: 'foreign-challenge',
      message: 'foreign-challenge',
    })
    expect(() => session.verify(served)).toThrow(TypeError)
    expect(() => session.ping()).toThrow(TypeError)
  })

  test('verify refuses a challenge that was not checked', () => {
    expect(() => challenged().verify(LINE)).toThrow(TypeError)
    expect(() => new ClientSession('localhost').verify(LINE)).toThrow(TypeError)
  })

  test('a second AUTH is refused while one is open, and allowed after the relay refused the first', () => {
    const session = new ClientSession('localhost')
    session.auth('ssh-ed25519 AAAA', false)
    expect(() => session.auth('ssh-ed25519 AAAA', false)).toThrow(TypeError)
    feed(session, '99;bad-key;text\n')
    session.auth('ssh-ed25519 AAAA', false)
    feed(session, '1;42;aGk=\n')
    expect(() => session.auth('ssh-ed25519 AAAA', false)).toThrow(TypeError)
  })
})

test('the session overwrites a chunk that comes after its end', () => {
  const session = new ClientSession('localhost')
  expect(feed(session, '17\n')).toEqual([{ kind: 'broken', reason: 'unasked-packet' }])
  const late = Buffer.from('20;m1;aGk=\n')
  expect([...session.onChunk(late)]).toEqual([])
  expect(late.every((byte) => byte === 0)).toBe(true)
})

test('the session yields the same events however the bytes are cut into chunks', () => {
  const packet = fc.constantFrom(
    '17',
    '16;1',
    '20;m1;aGk=',
    '14;2;0',
    '14;0;0',
    '13;m1;60',
    '15;1',
    '19;3',
    '99;denied;text',
    '98;taken-over',
    '98;x',
    '98;restarting;5',
    '',
    '21',
    '17;x',
    '20;m1;',
    '18;asfaleia/1;payload=4',
    '12;a.b.c;1',
    '1;42;aGk=',
    'x',
  )
  const lines = fc.array(fc.tuple(packet, fc.constantFrom('\n', '\r\n')), { maxLength: 20 })
  fc.assert(
    fc.property(lines, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (said, cuts) => {
      const bytes = Buffer.from(said.map((pair) => pair.join('')).join(''))
      const play = (chunks: Uint8Array[]): SessionEvent[] => {
        const session = loggedIn()
        session.ping()
        session.subscribe()
        session.get(true)
        session.send('SHA256:x', Buffer.from('hi'))
        session.get(true)
        session.ping()
        return chunks.flatMap((chunk) => [...session.onChunk(chunk)])
      }
      const whole = play([Uint8Array.from(bytes)])
      expect(play(chunksOf(bytes, cuts))).toEqual(whole)
      expect(
        play(
          chunksOf(
            bytes,
            [...bytes].map(() => 1),
          ),
        ),
      ).toEqual(whole)
    }),
  )
})

function catchError(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}
