/**
 * Messages (docs/protocol.md, section 10): every verdict, every refusal, and no changed message is ever
 * genuine.
 */
import { createHash, randomBytes } from 'node:crypto'
import { Decrypter, Encrypter } from 'age-encryption'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { parsePublicKey } from '../../../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE } from '../../../src/auth/sshsig.ts'
import { makeCard } from '../../../src/client/format/card.ts'
import { seal } from '../../../src/client/format/envelope.ts'
import { encodeText, fingerprintOf, formatKey, formatTime, makeId } from '../../../src/client/format/field.ts'
import {
  type Content,
  countParts,
  HAVE_RANGES,
  PART_BYTES,
  PARTS,
  type PartRange,
  RECEIPT_IDS,
} from '../../../src/client/format/content.ts'
import {
  encodeMessage,
  type Envelope,
  FUTURE,
  judge,
  MessageError,
  type Opened,
  openMessage,
  PADDED_BYTES,
  roomFor,
  STALE,
  type Verdict,
} from '../../../src/client/format/message.ts'
import { Seen } from '../../../src/client/delivery/seen.ts'
import { armor, split } from '../../../src/client/format/signed.ts'
import { buildCertificate, certify, dearmor, makeFidoKey, makeFolder, makeKey, needs, run } from '../../auth/openssh.ts'
import { concat } from '../../../src/auth/ssh-wire.ts'
import { KINDS, makePerson, NOW, ONION, type Person, signText, withKey } from '../people.ts'

const [alice, bob, carol] = [await makePerson('ed25519'), await makePerson('ed25519'), await makePerson('ed25519')]
const everybody = new Map(await Promise.all(KINDS.map(async (kind) => [kind, await makePerson(kind)] as const)))
const ID = makeId()

/**
 * Returns the header lines of a text from Alice to Bob. `changes` replaces or adds a header, or removes it with
 * ''.
 */
function headerOf(changes: Readonly<Record<string, string>> = {}, from: Person = alice, to: Person = bob): string[] {
  const usual = { type: 'text', from: formatKey(from.identity.key), to: fingerprintOf(to.to.key), id: ID, time: formatTime(NOW) }
  const all = Object.entries({ ...usual, ...changes }).filter(([, value]) => value !== '')
  return ['asfaleia-message/1', ...all.map(([name, value]) => `${name}: ${value}`)]
}

const textOf = (lines: readonly string[], body = 'hello'): string => `${lines.join('\n')}\n\n${body}\n`
const make = (changes: Readonly<Record<string, string>> = {}, body = 'hello', from = alice): Promise<Uint8Array> =>
  signText(from, 'asfaleia-message', textOf(headerOf(changes, from), body))
const pad = (text: Uint8Array, size: number = PADDED_BYTES[0]): Uint8Array => concat(text, new Uint8Array(size - text.length).fill(0x0a))
const ask = (text: Uint8Array | string, options: { now?: number; seen?: Seen } = {}): Promise<Opened> =>
  judge(bob.identity.key, typeof text === 'string' ? encodeText(text) : text, { now: NOW, ...options })
const verdictOf = async (text: Uint8Array | string, options: { now?: number; seen?: Seen } = {}): Promise<Verdict> =>
  (await ask(text, options)).verdict

function seenWith(...messages: readonly (readonly [from: Person, id: string])[]): Seen {
  const seen = new Seen()
  for (const [from, id] of messages) seen.add({ from: from.identity.key, id, time: NOW }, NOW)
  return seen
}

/** Replaces some bytes of a text, read as latin1. */
function replace(text: Uint8Array, from: string | RegExp, to: string): Uint8Array {
  const before = Buffer.from(text).toString('latin1')
  const after = before.replace(from, to)
  expect(after).not.toBe(before)
  return Buffer.from(after, 'latin1')
}

describe('a message', () => {
  const contents: readonly Content[] = [
    { type: 'text', text: 'hello' },
    { type: 'text', text: '', replyTo: makeId() },
    { type: 'text', text: '\ufeffwith a mark, \u0000, \r\n and an end\n\n' },
    { type: 'text', text: `quoted:\n${Buffer.from(armor(randomBytes(180))).toString()}` },
    { type: 'receipt', state: 'delivered', ids: [makeId()] },
    { type: 'receipt', state: 'read', ids: Array.from({ length: RECEIPT_IDS }, makeId) },
    filePart({ part: 0, total: 40_000 }),
    filePart({ part: 3, total: 40_000 }),
    filePart({ part: 1, total: 0 }),
    filePart({ part: PARTS, total: PARTS * PART_BYTES }),
    { type: 'have', file: makeId(), parts: [] },
    {
      type: 'have',
      file: makeId(),
      parts: [
        [1, 12],
        [14, 14],
      ],
    },
    { type: 'have', file: makeId(), parts: 'done' },
    { type: 'have', file: makeId(), parts: 'refused' },
    { type: 'edit', of: makeId(), text: 'better' },
    { type: 'remove', of: makeId() },
    { type: 'card', card: 'a card' },
    { type: 'group', card: 'a group' },
    { type: 'leave' },
    { type: 'unknown', name: 'dance', body: new Uint8Array(randomBytes(20)) },
  ]

  it.each(contents)('reads back as it was made: %j', async (content) => {
    const message = { id: makeId(), time: NOW, after: makeId(), group: makeId(), content }
    const payload = await encodeMessage(alice.identity, { ...message, to: bob.to })
    const opened = await openMessage(bob.identity, payload, { now: NOW })
    expect(opened.verdict).toBe('genuine')
    const { from, to, ...others } = (opened as { envelope: Envelope }).envelope
    expect(plain(others)).toEqual(plain(message))
    expect([fingerprintOf(from), to]).toEqual([fingerprintOf(alice.identity.key), fingerprintOf(bob.identity.key)])
  })

  it("reads back as it was made, for any content, size, sender's key and receiver's key", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...KINDS), fc.constantFrom(...KINDS), arbitraryMessage(), async (sender, receiver, message) => {
        const [from, to] = [everybody.get(sender)!, everybody.get(receiver)!]
        const payload = await encodeMessage(from.identity, { ...message, to: to.to })
        const opened = await openMessage(to.identity, payload, { now: NOW })
        expect(opened.verdict).toBe('genuine')
        const { from: key, to: fingerprint, ...others } = (opened as { envelope: Envelope }).envelope
        expect(plain(others)).toEqual(plain(message))
        expect([formatKey(key), fingerprint]).toEqual([formatKey(from.identity.key), fingerprintOf(to.to.key)])
        const plaintext = await decrypt(to, payload)
        expect(PADDED_BYTES).toContain(plaintext.length)
        // Messages of one size look alike to an observer of the payload.
        expect(payload.length - plaintext.length).toBe((await encryptTo(to, plaintext)).length - plaintext.length)
        expect(Math.ceil(payload.length / 3) * 4).toBeLessThanOrEqual(32_768)
      }),
      { numRuns: 150 },
    )
  })

  it.each(KINDS)('with a full part of a file and every header fits, signed by %s', { timeout: 60_000 }, async (kind) => {
    const from = everybody.get(kind)!
    const content = { ...filePart({ part: 1, total: PARTS * PART_BYTES }), name: `${'ä'.repeat(125)}.jpeg` }
    const message = { to: bob.to, id: makeId(), after: makeId(), group: makeId(), time: NOW, content }
    const opened = await openMessage(bob.identity, await encodeMessage(from.identity, message), { now: NOW })
    expect(opened).toMatchObject({ verdict: 'genuine', envelope: { content: { part: 1 } } })
  })

  it.each(KINDS)('has the room that roomFor reports, signed by %s', async (kind) => {
    const from = everybody.get(kind)!
    const room = roomFor(from.identity.key)
    expect(room).toBeGreaterThan(PART_BYTES)
    const message = { to: bob.to, id: makeId(), after: makeId(), group: makeId(), time: NOW }
    await encodeMessage(from.identity, { ...message, content: { type: 'text', text: 'x'.repeat(room), replyTo: makeId() } })
    const more = encodeMessage(from.identity, { ...message, content: { type: 'text', text: 'x'.repeat(room + 1_024) } })
    await expect(more).rejects.toMatchObject({ name: 'MessageError', code: 'too-large' })
  })

  it("is not made larger than the relay's payload limit", async () => {
    const message = { to: bob.to, id: makeId(), time: NOW, content: { type: 'text', text: 'hello' } } as const
    const { length } = await encodeMessage(alice.identity, message)
    await encodeMessage(alice.identity, { ...message, most: length })
    await expect(encodeMessage(alice.identity, { ...message, most: length - 1 })).rejects.toThrow(new MessageError('too-large'))
  })

  it.each([5, 3_600, 7_776_000])('that shall disappear %i s after it was read says so', async (expires) => {
    const content = { type: 'text', text: 'hello' } as const
    const payload = await encodeMessage(alice.identity, { to: bob.to, id: makeId(), time: NOW, content, expires })
    const opened = await openMessage(bob.identity, payload, { now: NOW })
    expect(opened).toMatchObject({ verdict: 'genuine', envelope: { content, expires } })
  })

  it('is not made for a receiver without a recipient whose key cannot decrypt', async () => {
    const to = { key: everybody.get('ecdsa256')!.identity.key }
    const made = encodeMessage(alice.identity, { to, id: makeId(), time: NOW, content: { type: 'text', text: 'hello' } })
    await expect(made).rejects.toThrow(new MessageError('no-recipient'))
  })

  it('is encrypted to the recipient instead of the key if there is one', async () => {
    const [rsa, other] = [everybody.get('rsa2048')!, everybody.get('ecdsa256')!]
    const to = { key: rsa.to.key, recipient: other.to.recipient! }
    const payload = await encodeMessage(alice.identity, { to, id: makeId(), time: NOW, content: { type: 'text', text: 'hello' } })
    expect(await openMessage(rsa.identity, payload, { now: NOW })).toEqual({ verdict: 'unreadable' })
    expect((await openMessage({ ...rsa.identity, opens: other.identity.opens }, payload, { now: NOW })).verdict).toBe('genuine')
  })

  it.each([
    ['a malformed id', { id: 'x' }],
    ['a malformed predecessor', { after: 'x' }],
    ['a malformed group', { group: 'x' }],
    ['a lifetime of 4 s', { expires: 4 }],
    ['a lifetime of 91 days', { expires: 91 * 86_400 }],
    ['a fractional lifetime', { expires: 60.5 }],
    ['a fractional time', { time: NOW + 0.5 }],
    ['a malformed reply', { content: { type: 'text', text: '', replyTo: 'x' } }],
    ['no group', { content: { type: 'leave' } }],
    ['lone surrogates', { content: { type: 'remove', of: '\ud800'.repeat(22) } }],
    ['a line break', { content: { type: 'edit', of: `${makeId()}\nto: x`, text: '' } }],
    ['no ids', { content: { type: 'receipt', state: 'read', ids: [] } }],
    ['257 ids', { content: { type: 'receipt', state: 'read', ids: Array.from({ length: 257 }, makeId) } }],
    ['a path', { content: { ...filePart({ part: 0, total: 1 }), name: '../x' } }],
    ['a part too far', { content: { ...filePart({ part: 1, total: 1 }), part: 2 } }],
    ['a part that is too short', { content: { ...filePart({ part: 1, total: 2 }), bytes: new Uint8Array(1) } }],
    [
      'unsorted ranges',
      {
        content: {
          type: 'have',
          file: makeId(),
          parts: [
            [2, 2],
            [1, 1],
          ],
        },
      },
    ],
    ['a malformed type', { content: { type: 'unknown', name: 'A', body: new Uint8Array() } }],
  ] as const)('is not made with %s', async (_, wrong) => {
    const message = { to: bob.to, id: makeId(), time: NOW, content: { type: 'text', text: '' }, ...wrong } as const
    await expect(encodeMessage(alice.identity, message)).rejects.toThrow(TypeError)
  })

  it('is not made if the signature is of another key', async () => {
    const sign = carol.identity.sign
    const made = encodeMessage({ key: alice.identity.key, sign }, { to: bob.to, id: ID, time: NOW, content: { type: 'text', text: '' } })
    await expect(made).rejects.toThrow(TypeError)
  })
})

describe('a text in an age file to Bob has the verdict', async () => {
  const good = await make()
  const card = await makeCard(alice.identity, { name: 'Alice', relays: [ONION], time: NOW })
  const signature = (text: Uint8Array): string => Buffer.from(text).toString('latin1').slice(Buffer.from(text).indexOf('-----BEGIN'))
  const rows: Readonly<Record<Exclude<Verdict, 'unreadable' | 'unverifiable'>, Readonly<Record<string, Uint8Array | string>>>> = {
    unsigned: {
      nothing: '',
      'a text': 'hello',
      bytes: randomBytes(500),
      'a card': card.text,
      'our first word without a version': 'asfaleia-message',
      'a leading space': concat(encodeText(' '), good),
      'a leading empty line': concat(encodeText('\n'), good),
      'a leading byte order mark': concat(encodeText('\ufeff'), good),
      'capital letters': replace(good, 'asfaleia', 'Asfaleia'),
    },
    'unknown-version': {
      'version 2, signed': await signText(alice, 'asfaleia-message', textOf(headerOf()).replace('/1', '/2')),
      'version 999999999': 'asfaleia-message/999999999\n',
      'only the first line of version 2': 'asfaleia-message/2',
    },
    truncated: {
      'only the first line': 'asfaleia-message/1\n',
      'an incomplete first line': 'asfaleia-message/',
      'only the first line of version 1.5': 'asfaleia-message/1.5\n',
      'no signature': textOf(headerOf()),
      'no last ten bytes': good.subarray(0, -10),
      'no last line end': good.subarray(0, -1),
      'an appended byte': concat(good, encodeText('x')),
      'appended white space': concat(good, encodeText('\n \n')),
      'an appended NUL': concat(good, Uint8Array.of(0)),
      'CR LF line ends': replace(good, /\n/g, '\r\n'),
      'a signature that is not base64': replace(good, /U1NIU0lH/, 'U1NI!0lH'),
      'base64 with stray bits': concat(
        encodeText(textOf(headerOf())),
        encodeText('-----BEGIN SSH SIGNATURE-----\nAB==\n-----END SSH SIGNATURE-----\n'),
      ),
      'lines of 77': replace(good, /(U1NI.{66})\n(.{7})/, '$1$2\n'),
      'an empty line in the signature': replace(good, /U1NIU0lH/, '\nU1NIU0lH'),
      'an endless signature': concat(encodeText(textOf(headerOf())), armor(randomBytes(100_000))),
      'binary zeros': concat(encodeText('asfaleia-message/1\n'), new Uint8Array(4_000)),
    },
    malformed: await malformed(),
    forged: {
      'a changed body': replace(good, 'hello', 'hallo'),
      'a changed time': replace(good, /time: .*/, `time: ${formatTime(NOW + 1)}`),
      'a changed sender': replace(good, /from: .*/, `from: ${formatKey(carol.identity.key)}`),
      'a changed receiver': replace(good, /to: .*/, `to: ${fingerprintOf(carol.identity.key)}`),
      'the signature of another person': await signText(carol, 'asfaleia-message', textOf(headerOf())),
      'the signature of another message': concat(encodeText(textOf(headerOf({ id: makeId() }))), encodeText(signature(good))),
      "a login's signature": await signText(alice, AUTH_NAMESPACE, textOf(headerOf())),
      "a card's signature": await signText(alice, 'asfaleia-card', textOf(headerOf())),
      "a group's signature": await signText(alice, 'asfaleia-group', textOf(headerOf())),
      'a signature with a foreign namespace': await signText(alice, 'file', textOf(headerOf())),
      'a random signature': concat(encodeText(textOf(headerOf())), armor(randomBytes(183))),
      'a byte after the signature': concat(encodeText(textOf(headerOf())), armor(concat(split(good)!.blob, Uint8Array.of(0)))),
      "another person's signature after the sender's": await signText(carol, 'asfaleia-message', good),
      'only a signature inside the body': textOf(headerOf(), Buffer.from(good).toString()),
      'a certificate of the key': concat(encodeText(textOf(headerOf())), armor(withCertificate(split(good)!.blob))),
    },
    readdressed: {
      'to Carol': await signText(alice, 'asfaleia-message', textOf(headerOf({}, alice, carol))),
      'to the sender': await signText(alice, 'asfaleia-message', textOf(headerOf({}, alice, alice))),
    },
    replayed: { 'seen before': await make({ id: 'AAAAAAAAAAAAAAAAAAAAAA' }) },
    future: {
      'eleven minutes ahead': await make({ time: formatTime(NOW + FUTURE + 1) }),
      'in the year 9999': await make({ time: '9999-12-31T23:59:59Z' }),
    },
    stale: {
      'fifteen days ago': await make({ time: formatTime(NOW - STALE - 1) }),
      'in the year 0': await make({ time: '0000-01-01T00:00:00Z' }),
    },
    genuine: {
      unchanged: good,
      padded: pad(good),
      'padded to an unusual size': pad(good, 5_000),
      'with short signature lines': replace(good, /(U1NI.{6})(.{60})\n/, '$1\n$2\n'),
      'with signature lines of 76 characters': replace(good, /(U1NI.{66})\n(.{6})/, '$1$2\n'),
      'with unknown headers': await make({ 'x-later': 'some', zzz: '\u202eturned', 'to-be': 'ignored' }),
      'with headers in another order': await signText(
        alice,
        'asfaleia-message',
        textOf([headerOf()[0]!, ...headerOf().slice(1).toReversed()]),
      ),
      'with 64 headers': await make(
        Object.fromEntries(Array.from({ length: 59 }, (_, n) => [`x${'a'.repeat(1 + (n % 30))}${'b'.repeat(Math.floor(n / 30))}`, '1'])),
      ),
      'with a body of signatures': await make({}, `${Buffer.from(good).toString()}\n${signature(good)}`),
      'with a body that begins a signature': await make({}, '-----BEGIN SSH SIGNATURE-----'),
      'with an empty body': await make({}, ''),
      'ten minutes ahead': await make({ time: formatTime(NOW + FUTURE) }),
      'fourteen days ago': await make({ time: formatTime(NOW - STALE) }),
    },
  }
  const cases = Object.entries(rows).flatMap(([verdict, texts]) =>
    Object.entries(texts).map(([what, text]) => [verdict, what, text] as const),
  )
  const seen = seenWith([alice, 'AAAAAAAAAAAAAAAAAAAAAA'], [bob, ID], [alice, makeId()])

  it.each(cases)('%s: %s', async (verdict, _, text) => {
    const plaintext = typeof text === 'string' ? encodeText(text) : text
    const opened = await openMessage(bob.identity, await seal(bob.to.key, plaintext), { now: NOW, seen })
    expect(opened.verdict).toBe(verdict)
    switch (opened.verdict) {
      case 'unsigned':
        expect(Buffer.from(opened.text).equals(plaintext)).toBe(true)
        break
      case 'unreadable':
      case 'unknown-version':
      case 'truncated':
      case 'malformed':
        expect(Object.keys(opened)).toEqual(['verdict'])
        break
      case 'forged':
      case 'readdressed':
      case 'replayed':
      case 'future':
      case 'stale':
      case 'genuine':
        expect(opened.envelope.content.type).toBe('text')
        break
    }
  })

  it.each([
    ['an empty payload', () => new Uint8Array()],
    ['random bytes', () => randomBytes(4_308)],
    ['an age file to another person', () => seal(carol.to.key, good)],
    ['a changed byte', async () => (await seal(bob.to.key, good)).map((byte, n) => (n === 400 ? byte ^ 1 : byte))],
    ['a truncated file', async () => (await seal(bob.to.key, good)).subarray(0, -1)],
    ['an unencrypted message', () => good],
    ['a payload over the size limit', () => seal(bob.to.key, new Uint8Array(1_048_576))],
  ])('unreadable for %s', async (_, payload) => {
    expect(await openMessage(bob.identity, await payload(), { now: NOW, seen })).toEqual({ verdict: 'unreadable' })
  })

  it('of the first check that fails', async () => {
    const bad = { to: fingerprintOf(carol.identity.key), time: formatTime(NOW + 10_000) }
    const seen = seenWith([alice, ID])
    expect(await verdictOf(replace(await make(bad), 'hello', 'hallo'), { seen })).toBe('forged')
    expect(await verdictOf(replace(await make({ ...bad, id: 'x' }), 'hello', 'hallo'), { seen })).toBe('malformed')
    expect(await verdictOf(await make(bad), { seen })).toBe('readdressed')
    expect(await verdictOf(await make({ time: bad.time }), { seen })).toBe('replayed')
    expect(await verdictOf(await make({ time: bad.time }))).toBe('future')
    expect(await verdictOf(await make({ time: formatTime(NOW - 10 * STALE) }), { seen })).toBe('replayed')
  })

  it('stale if its time is before the oldest seen message that was dropped', async () => {
    const seen = new Seen(8)
    for (let n = 0; n < 20; n++) seen.add({ from: carol.identity.key, id: makeId(), time: NOW - 100 + n }, NOW - 100 + n)
    expect(seen.since).toBeGreaterThan(NOW - 100)
    expect(await verdictOf(await make({ time: formatTime(seen.since - 1) }), { seen })).toBe('stale')
    expect(await verdictOf(await make({ time: formatTime(seen.since) }), { seen })).toBe('genuine')
  })
})

/** Returns malformed texts, each with a valid signature. */
async function malformed(): Promise<Record<string, Uint8Array>> {
  const key = formatKey(alice.identity.key)
  const lines = headerOf()
  const file = { type: 'file', file: makeId(), name: 'a', total: '1', hash: 'a'.repeat(64), part: '1/1' }
  const part = (changes: Readonly<Record<string, string>>, body = 'x'): Promise<Uint8Array> => make({ ...file, ...changes }, body)
  const raw = (text: string | Uint8Array): Promise<Uint8Array> => signText(alice, 'asfaleia-message', text)
  const have = (body: string): Promise<Uint8Array> => make({ type: 'have', file: makeId() }, body)
  const receipt = (body: string, state = 'read'): Promise<Uint8Array> => make({ type: 'receipt', state }, body)
  // Prove that these texts are good without the changes below.
  expect(await verdictOf(await part({}))).toBe('genuine')
  expect(await verdictOf(await have('1-2 4'))).toBe('genuine')
  expect(await verdictOf(await receipt(`${makeId()}\n${makeId()}`))).toBe('genuine')
  return {
    'version 01': await raw(textOf(lines).replace('/1', '/01')),
    'version 1.5': await raw(textOf(lines).replace('/1', '/1.5')),
    'version 1 with a space': await raw(textOf(lines).replace('/1', '/1 ')),
    'an endless version': await raw(textOf(lines).replace('/1', `/${'1'.repeat(200_000)}`)),
    'no empty line': await raw(`${lines.join('\n')}\n`),
    'no line end after its body': await raw(`${lines.join('\n')}\n\n`),
    'no header': await raw('asfaleia-message/1\n\nhello\n'),
    ...Object.fromEntries(
      await Promise.all(['type', 'from', 'to', 'id', 'time'].map(async (name) => [`no ${name}`, await make({ [name]: '' })])),
    ),
    ...Object.fromEntries(
      await Promise.all(
        [...lines.slice(1), 'x-later: 1'].map(async (line) => [
          `${line.split(':')[0]} twice`,
          await raw(textOf([...lines, line, 'x-later: 1'])),
        ]),
      ),
    ),
    '65 headers': await make(
      Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`x${'a'.repeat(1 + (n % 30))}${'b'.repeat(Math.floor(n / 30))}`, '1'])),
    ),
    'a header of 8 KiB': await make({ x: 'y'.repeat(8_192) }),
    'an endless header': await make({ x: 'y'.repeat(500_000) }),
    'a control character': await make({ x: 'a\u001b[2Jb' }),
    'a NUL': await make({ x: 'a\u0000b' }),
    'a tab': await make({ x: 'a\tb' }),
    'a CR': await make({ x: 'a\r' }),
    'a C1 control': await make({ x: 'a\u009bb' }),
    'a header that is not UTF-8': await raw(Buffer.from(textOf([...lines, 'x: \xff']), 'latin1')),
    'a header without a value': await raw(textOf([...lines, 'x: '])),
    'a header without a space': await raw(textOf([...lines, 'x:y'])),
    'a header without a name': await raw(textOf([...lines, ': y'])),
    'a line without a colon': await raw(textOf([...lines, 'hello'])),
    'a header name in upper case': await raw(textOf([...lines, 'X: y'])),
    'a header name of 33 characters': await raw(textOf([...lines, `${'x'.repeat(33)}: y`])),
    'a header with a leading space': await raw(textOf([...lines, ' x: y'])),
    'a key with its comment': await make({ from: `${key} alice@home` }),
    'a key with two spaces': await make({ from: key.replace(' ', '  ') }),
    'a malformed key': await make({ from: key.slice(0, -8) }),
    'a key of an unknown type': await make({ from: key.replaceAll('ed25519', 'ed25518') }),
    'a small-order point': await make({
      from: `ssh-ed25519 ${Buffer.concat([Buffer.from('0000000b7373682d6564323535313900000020', 'hex'), Buffer.alloc(32)]).toString('base64')}`,
    }),
    'a certificate': await make({ from: `ssh-ed25519-cert-v01@openssh.com ${certificateOf(alice).toString('base64')}` }),
    'a fingerprint of MD5': await make({ to: 'MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff' }),
    'a fingerprint with padding': await make({ to: `${fingerprintOf(bob.identity.key)}=` }),
    'a fingerprint with stray bits': await make({ to: `SHA256:${'A'.repeat(42)}B` }),
    'an id of 21 characters': await make({ id: 'A'.repeat(21) }),
    'an id of 23 characters': await make({ id: 'A'.repeat(23) }),
    'an id with stray bits': await make({ id: `${'A'.repeat(21)}B` }),
    'an id in base64': await make({ id: `+${'A'.repeat(21)}` }),
    'a time without zone': await make({ time: '2026-11-26T23:00:00' }),
    'a time with fractions': await make({ time: '2026-11-26T23:00:00.5Z' }),
    'a time of another zone': await make({ time: '2026-11-26T23:00:00+01:00' }),
    'the 30th of February': await make({ time: '2026-02-30T23:00:00Z' }),
    'a leap second': await make({ time: '2016-12-31T23:59:60Z' }),
    'a number instead of a time': await make({ time: String(NOW) }),
    'a malformed predecessor': await make({ after: 'x' }),
    'a malformed group': await make({ group: 'x' }),
    'a malformed reply': await make({ 'reply-to': 'x' }),
    ...Object.fromEntries(
      await Promise.all(
        ['4', '7776001', '060', '1h', '6e1', '-60', '60 '].map(async (expires) => [`expires: ${expires}`, await make({ expires })]),
      ),
    ),
    'a type in capitals': await make({ type: 'Text' }),
    'a type with a space': await make({ type: 'a b' }),
    'a type of 33 characters': await make({ type: 'a'.repeat(33) }),
    'a text that is not UTF-8': await raw(Buffer.from(textOf(lines, '\xff'), 'latin1')),
    'a text with a lone surrogate': await raw(Buffer.from(textOf(lines, '\xed\xa0\x80'), 'latin1')),
    'a receipt of another state': await receipt(makeId(), 'eaten'),
    'a receipt without a state': await receipt(makeId(), ''),
    'a receipt without ids': await receipt(''),
    'a receipt with an empty line': await receipt(`${makeId()}\n`),
    'a receipt with spaces': await receipt(`${makeId()} ${makeId()}`),
    'a receipt of 257 ids': await receipt(Array.from({ length: 257 }, makeId).join('\n')),
    'a receipt of 10,000 ids': await receipt(Array.from({ length: 10_000 }, makeId).join('\n')),
    'a part 0/0': await part({ total: '0', part: '0/0' }, ''),
    'a part 1/0': await part({ total: '0', part: '1/0' }, ''),
    'a part 2/1': await part({ part: '2/1' }),
    'a part -1/1': await part({ part: '-1/1' }),
    'a part 01/1': await part({ part: '01/1' }),
    'a part 1': await part({ part: '1' }),
    'a part 1/1/1': await part({ part: '1/1/1' }),
    'a part 1/2 of one': await part({ part: '1/2' }),
    'a part 1/1 of two': await part({ total: String(PART_BYTES + 1) }, 'x'.repeat(PART_BYTES)),
    'a part 1/65537': await part({ total: String(PARTS * PART_BYTES + 1), part: '1/65537' }, 'x'.repeat(PART_BYTES)),
    'a part of 1e99': await part({ total: '1e99' }),
    'a negative total': await part({ total: '-1' }),
    'a total with a leading zero': await part({ total: '01' }),
    'a total beyond the safe integers': await part({ total: '9007199254740993' }),
    'an offer with bytes': await part({ part: '0/1' }, 'x'),
    'a part without bytes': await part({}, ''),
    'a part with one byte too many': await part({}, 'xx'),
    'a first part with one byte too few': await part({ total: '20000', part: '1/2' }, 'x'.repeat(PART_BYTES - 1)),
    'a last part with one byte too few': await part({ total: '20000', part: '2/2' }, 'x'.repeat(20_000 - PART_BYTES - 1)),
    'a hash in capitals': await part({ hash: 'A'.repeat(64) }),
    'a short hash': await part({ hash: 'a'.repeat(63) }),
    'a malformed file id': await part({ file: 'x' }),
    'a file name with a path': await part({ name: '../../.ssh/authorized_keys' }),
    'a file without a name': await part({ name: '' }),
    'ranges that touch': await have('1-2 3'),
    'ranges that overlap': await have('1-5 3-7'),
    'unsorted ranges': await have('5 3'),
    'a range backwards': await have('5-3'),
    'a range of one part in the long form': await have('3-3'),
    'a range from 0': await have('0-3'),
    'a range beyond the last part': await have('65537'),
    'a range without its end': await have('3-'),
    'two spaces': await have('1  3'),
    'a space at the end': await have('1 '),
    'a line end': await have('1\n'),
    'another word': await have('gone'),
    'too many ranges': await have(Array.from({ length: HAVE_RANGES + 1 }, (_, n) => 2 * n + 1).join(' ')),
    'a have without a file': await make({ type: 'have' }, ''),
    'an edit without an id': await make({ type: 'edit' }),
    'a removal without an id': await make({ type: 'remove' }, ''),
    'a removal with a body': await make({ type: 'remove', of: makeId() }),
    'a group without its id': await make({ type: 'group' }),
    'a leave without a group': await make({ type: 'leave' }, ''),
    'a leave with a body': await make({ type: 'leave', group: makeId() }),
    'a card that is not UTF-8': await raw(Buffer.from(textOf(headerOf({ type: 'card' }), '\xff'), 'latin1')),
  }
}

describe('a genuine message', () => {
  it('is no longer genuine if truncated anywhere', { timeout: 60_000 }, async () => {
    const text = await make({}, Buffer.from(await make()).toString())
    const verdicts = new Set<Verdict>()
    for (let length = 0; length < text.length; length++) verdicts.add(await verdictOf(text.subarray(0, length)))
    expect([...verdicts].toSorted()).toEqual(['forged', 'truncated', 'unsigned'])
    expect(await verdictOf(text)).toBe('genuine')
  })

  it.each(['ed25519', 'rsa2048', 'ecdsa256', 'sk-ed25519'] as const)(
    'is no longer genuine with any byte changed, signed by %s',
    { timeout: 120_000 },
    async (kind) => {
      const text = pad(await make({}, 'hello', everybody.get(kind)), 2_048)
      expect(await verdictOf(text)).toBe('genuine')
      const verdicts = new Set<Verdict>()
      for (let at = 0; at < text.length; at++) {
        // Change one bit, or to any other byte.
        for (const change of [1 << (at % 8), 1 + ((at * 37) % 255)]) {
          const changed = Uint8Array.from(text)
          changed[at]! ^= change
          verdicts.add(await verdictOf(changed))
        }
      }
      expect(verdicts).not.toContain('genuine')
      expect([...verdicts]).toEqual(expect.arrayContaining(['unsigned', 'truncated', 'malformed', 'forged']))
    },
  )

  it('by a security key is forged without a touch', async () => {
    const fido = makeFidoKey('ed25519')
    const person = { ...alice, identity: { ...alice.identity, key: parsePublicKey(fido.line) } }
    const text = encodeText(textOf(headerOf({}, person)))
    expect(await verdictOf(concat(text, armor(fido.sign('asfaleia-message', text))))).toBe('genuine')
    expect(await verdictOf(concat(text, armor(fido.sign('asfaleia-message', text, 0))))).toBe('forged')
  })

  it('cannot be made of random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, begun) => {
        const text = begun ? concat(encodeText('asfaleia-message/1\n'), bytes) : bytes
        expect(['unsigned', 'truncated', 'malformed', 'unknown-version']).toContain(await verdictOf(text))
      }),
    )
  })
})

describe('with ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  it.each([
    ['ed25519', ['-t', 'ed25519']],
    ['rsa', ['-t', 'rsa', '-b', '2048']],
    ['ecdsa', ['-t', 'ecdsa', '-b', '384']],
  ] as const)('a signature by either hash is accepted: %s', async (_, args) => {
    const folder = makeFolder()
    const files = makeKey(folder, 'key', args)
    const text = textOf([
      'asfaleia-message/1',
      'type: text',
      `from: ${files.line.split(' ').slice(0, 2).join(' ')}`,
      ...headerOf().slice(3),
    ])
    for (const hash of ['sha256', 'sha512']) {
      const signature = run('ssh-keygen', ['-q', '-Y', 'sign', '-n', 'asfaleia-message', '-O', `hashalg=${hash}`, '-f', files.path], text)
      expect(await verdictOf(concat(encodeText(text), signature))).toBe('genuine')
      expect(await verdictOf(pad(concat(encodeText(text), signature)))).toBe('genuine')
    }
  })

  it('a signature that carries a certificate is forged', async () => {
    const folder = makeFolder()
    const [authority, files] = [makeKey(folder, 'authority', ['-t', 'ed25519']), makeKey(folder, 'key', ['-t', 'ed25519'])]
    const certificate = Buffer.from(certify(authority, files).split(' ')[1]!, 'base64')
    const text = textOf([
      'asfaleia-message/1',
      'type: text',
      `from: ${files.line.split(' ').slice(0, 2).join(' ')}`,
      ...headerOf().slice(3),
    ])
    const blob = dearmor(run('ssh-keygen', ['-q', '-Y', 'sign', '-n', 'asfaleia-message', '-f', files.path], text).toString())
    expect(await verdictOf(concat(encodeText(text), armor(blob)))).toBe('genuine')
    expect(await verdictOf(concat(encodeText(text), armor(withKey(blob, certificate))))).toBe('forged')
  })
})

function certificateOf(person: Person): Buffer {
  const { material } = person.identity.key
  if (material.kind !== 'ed25519') throw new Error(material.kind)
  return buildCertificate('ssh-ed25519-cert-v01@openssh.com', [material.point])
}

function withCertificate(blob: Uint8Array): Uint8Array {
  return withKey(blob, certificateOf(alice))
}

/** Makes a part of a file with as many bytes as it must have. */
function filePart({ part, total }: { part: number; total: number }) {
  const count = countParts(total)
  const length = part === 0 ? 0 : part < count ? PART_BYTES : total - (count - 1) * PART_BYTES
  const hash = createHash('sha256').update(String(total)).digest('hex')
  return { type: 'file', file: makeId(), name: 'a picture.jpeg', total, hash, part, bytes: new Uint8Array(randomBytes(length)) } as const
}

/** Makes values comparable: Buffers are Uint8Arrays. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, each: unknown) => (each instanceof Uint8Array ? Buffer.from(each).toString('base64') : each)))
}

function arbitraryMessage(): fc.Arbitrary<Omit<Envelope, 'from' | 'to'>> {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.string({ unit: 'binary', maxLength: 200 }).map((each) => each.toWellFormed()),
    fc.nat(17_000).map((length) => 'x'.repeat(length)),
    fc.constant('-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n'),
  )
  const ranges = fc.array(fc.tuple(fc.integer({ min: 2, max: 60 }), fc.nat(3)), { maxLength: HAVE_RANGES }).map((steps) => {
    const found: PartRange[] = []
    for (const [step, more] of steps) {
      const first = (found.at(-1)?.[1] ?? -1) + step
      if (first + more <= PARTS) found.push([first, first + more])
    }
    return found
  })
  const content: fc.Arbitrary<Content> = fc.oneof(
    fc.record({ type: fc.constant('text' as const), text, replyTo: id }, { requiredKeys: ['type', 'text'] }),
    fc.record({
      type: fc.constant('receipt' as const),
      state: fc.constantFrom('delivered' as const, 'read' as const),
      ids: fc.array(id, { minLength: 1, maxLength: RECEIPT_IDS }),
    }),
    fc.nat(PARTS * PART_BYTES).chain((total) => fc.nat(countParts(total)).map((part) => filePart({ part, total }))),
    fc.record({
      type: fc.constant('have' as const),
      file: id,
      parts: fc.oneof(ranges, fc.constantFrom('done' as const, 'refused' as const)),
    }),
    fc.record({ type: fc.constant('edit' as const), of: id, text }),
    fc.record({ type: fc.constant('remove' as const), of: id }),
    fc.record({ type: fc.constantFrom('card' as const, 'group' as const), card: text }),
    fc.record({ type: fc.constant('leave' as const) }),
    fc.record({ type: fc.constant('unknown' as const), name: fc.constant('dance'), body: fc.uint8Array({ maxLength: 17_000 }) }),
  )
  const time = fc.integer({ min: NOW - STALE, max: NOW + FUTURE })
  return fc.record({ id, time, after: id, group: id, content }, { requiredKeys: ['id', 'time', 'group', 'content'] })
}

async function decrypt(person: Person, payload: Uint8Array): Promise<Uint8Array> {
  const decrypter = new Decrypter()
  for (const each of person.identity.opens) decrypter.addIdentity(each)
  return decrypter.decrypt(payload)
}

async function encryptTo({ to }: Person, text: Uint8Array): Promise<Uint8Array> {
  if (to.recipient === undefined) return seal(to.key, text)
  const encrypter = new Encrypter()
  encrypter.addRecipient(to.recipient)
  return encrypter.encrypt(text)
}
