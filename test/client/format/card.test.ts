/** Cards (docs/protocol.md, section 11): each card has exactly one text and one link. */
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { AUTH_NAMESPACE } from '../../../src/auth/sshsig.ts'
import {
  type Card,
  type CardErrorCode,
  type CardVersion,
  findCard,
  isRecipient,
  makeCard,
  normalizeRelay,
  parseCard,
} from '../../../src/client/format/card.ts'
import { fingerprintOf, formatKey, formatTime, isName, NAME_CHARACTERS } from '../../../src/client/format/field.ts'
import { drawCode } from '../../../src/cli/program/qr.ts'
import { armor, split } from '../../../src/client/format/signed.ts'
import { buildCertificate, keygenVerifies, makeFolder, needs } from '../../auth/openssh.ts'
import { KINDS, makePerson, NOW, ONION, signText, withKey } from '../people.ts'

const alice = await makePerson('ed25519')
const carol = await makePerson('ecdsa256')
const everybody = new Map(await Promise.all(KINDS.map(async (kind) => [kind, await makePerson(kind)] as const)))
const facts = { name: 'Alice', relays: [ONION], time: NOW, version: 1 } as const
const inbox = (await makePerson('ed25519')).identity.key
const card = await makeCard(alice.identity, facts)
const certified = await makeCard(carol.identity, facts)

const header = (of: Card = card): string[] => of.text.slice(0, of.text.indexOf('-----BEGIN')).trimEnd().split('\n')
const sign = async (lines: readonly string[], namespace = 'asfaleia-card', by = alice): Promise<string> =>
  Buffer.from(await signText(by, namespace, `${lines.join('\n')}\n`)).toString()
const change = (from: RegExp, to: string, of: Card = card): string[] => {
  const lines = header(of).map((line) => line.replace(from, to))
  expect(lines).not.toEqual(header(of))
  return lines
}
/** Makes cards comparable: keys as text, whatever object holds their bytes. */
const plain = ({ key, inbox, ...others }: Card): object => ({
  key: formatKey(key),
  inbox: inbox === undefined ? undefined : formatKey(inbox),
  ...others,
})

describe('a card', () => {
  it.each(KINDS.flatMap((kind) => [1, 2].map((version) => [version as CardVersion, kind] as const)))(
    'of version %i is the same as text and as link: %s',
    async (version, kind) => {
      const { identity } = everybody.get(kind)!
      const relays = [`${ONION}:9`, ONION, 'localhost:4000']
      const made = await makeCard(identity, { name: 'Zoë & Co', relays, time: NOW, version, inbox })
      expect(made.key.fingerprint).toEqual(identity.key.fingerprint)
      expect(made.encrypt).toBe(identity.recipient)
      expect(made.inbox).toBe(version === 1 ? undefined : inbox)
      expect(plain(await parseCard(made.text))).toEqual(plain(made))
      expect(plain(await parseCard(made.link))).toEqual(plain(made))
      expect(made.link).toMatch(version === 1 ? /^asfaleia:card\/1\?[A-Za-z0-9._~:=&%-]+$/ : /^asfaleia:card\/2:[A-Za-z0-9._~:=,%-]+$/)
      expect(header(made).map((line) => line.split(':')[0])).toEqual([
        `asfaleia-card/${version}`,
        'name',
        'key',
        ...(version === 1 ? [] : ['inbox']),
        'relay',
        'relay',
        'relay',
        ...(identity.key.canDecrypt ? [] : ['encrypt']),
        'time',
      ])
    },
  )

  it('reads back as it was made, for any key, name, relays and time', async () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
      .map((each) => each.normalize('NFC'))
      .filter(isName)
    const relay = fc
      .tuple(fc.constantFrom(ONION, 'localhost'), fc.integer({ min: 1, max: 65_535 }))
      .map(([host, port]) => (port === 3308 ? host : `${host}:${port}`))
    const relays = fc.uniqueArray(relay, { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...KINDS),
        name,
        relays,
        fc.integer({ min: 0, max: 4e9 }),
        fc.constantFrom(1, 2),
        fc.boolean(),
        async (kind, name, relays, time, version, hasInbox) => {
          const made = await makeCard(everybody.get(kind)!.identity, { name, relays, time, version, ...(hasInbox && { inbox }) })
          expect(made).toMatchObject({ name, relays, time })
          expect(plain(await parseCard(made.text))).toEqual(plain(made))
          expect(plain(await parseCard(made.link))).toEqual(plain(made))
        },
      ),
    )
  })

  it('normalizes its relays', async () => {
    const made = await makeCard(alice.identity, { ...facts, relays: [ONION.toUpperCase(), `${ONION}:0443`, 'LocalHost:03308'] })
    expect(made.relays).toEqual([ONION, `${ONION}:443`, 'localhost'])
  })

  it('may name a recipient although its key can decrypt', async () => {
    const { encrypt } = certified
    const made = await makeCard({ ...alice.identity, recipient: encrypt! }, facts)
    expect(plain(await parseCard(made.link))).toEqual(plain(made))
    expect(made.encrypt).toBe(encrypt)
  })

  it('may have other percent encodings in its link', async () => {
    const spaced = await makeCard(alice.identity, { ...facts, name: 'Älice A' })
    const spellings = [
      spaced.link.replace('Alice', '%41lice'),
      spaced.link.replace('%C3%84', '%c3%84'),
      spaced.link.replace('%C3%84', 'Ä'),
      spaced.link.replaceAll(':0', '%3A0'),
      spaced.link.replace('%20', ' '),
    ]
    for (const link of spellings) expect(plain(await parseCard(link))).toEqual(plain(spaced))
  })

  it.each([
    ['an empty name', { name: '' }, 'bad-name'],
    ['a leading space in the name', { name: ' Alice' }, 'bad-name'],
    ['a name of 65 characters', { name: 'x'.repeat(NAME_CHARACTERS + 1) }, 'bad-name'],
    ['no relay', { relays: [] }, 'bad-relay'],
    ['nine relays', { relays: Array.from({ length: 9 }, (_, n) => `localhost:${n + 1}`) }, 'bad-relay'],
    ['a repeated relay', { relays: ['localhost', 'localhost:3308'] }, 'bad-relay'],
    ['a relay by its IP address', { relays: ['127.0.0.1:3308'] }, 'bad-relay'],
    ['a relay on the open network', { relays: ['relay.example.org'] }, 'bad-relay'],
    ['a unix socket', { relays: ['unix:relay'] }, 'bad-relay'],
    ['a mistyped onion address', { relays: [ONION.replace('2', '3')] }, 'bad-relay'],
    ['a time with fractions', { time: NOW + 0.5 }, 'bad-time'],
    ['a time after the year 9999', { time: 1e12 }, 'bad-time'],
  ] as const)('is not made with %s', async (_, wrong, code) => {
    await expect(makeCard(alice.identity, { ...facts, ...wrong })).rejects.toMatchObject({ name: 'CardError', code })
  })

  it('is not made for a key that cannot decrypt without a recipient', async () => {
    const { key, sign } = carol.identity
    await expect(makeCard({ key, sign }, facts)).rejects.toMatchObject({ code: 'bad-recipient' })
  })

  it('is not made if the signature is of another key', async () => {
    await expect(makeCard({ key: alice.identity.key, sign: carol.identity.sign }, facts)).rejects.toThrow(TypeError)
  })
})

describe('parseCard refuses', async () => {
  const blob = split(Buffer.from(card.text))!.blob
  const other = await makeCard((await makePerson('ed25519')).identity, facts)
  const recipient = certified.encrypt!
  const { material } = alice.identity.key
  const certificate = buildCertificate('ssh-ed25519-cert-v01@openssh.com', [material.kind === 'ed25519' ? material.point : ''])
  const rows: readonly (readonly [what: string, text: string, code: CardErrorCode])[] = [
    ['an empty text', '', 'not-a-card'],
    ['a public key', formatKey(alice.identity.key), 'not-a-card'],
    ['a leading empty line', `\n${card.text}`, 'not-a-card'],
    ['capital letters', card.text.replace('asf', 'Asf'), 'not-a-card'],
    ['version 3', await sign(change(/\/1$/, '/3')), 'unknown-version'],
    ['only the first line of version 3', 'asfaleia-card/3', 'unknown-version'],
    ['a trailing empty line', `${card.text}\n`, 'truncated'],
    ['an appended line', `${card.text}verified: yes\n`, 'truncated'],
    ['no last line end', card.text.slice(0, -1), 'truncated'],
    ['no signature', `${header().join('\n')}\n`, 'truncated'],
    ['CR LF', card.text.replaceAll('\n', '\r\n'), 'truncated'],
    ['a changed name', card.text.replace('Alice', 'Malice'), 'forged'],
    ['a changed relay', card.text.replace(ONION, 'localhost'), 'forged'],
    ['a changed key', card.text.replace(formatKey(card.key), formatKey(other.key)), 'forged'],
    ['an added recipient', card.text.replace('time:', `encrypt: ${recipient}\ntime:`), 'forged'],
    ["a message's signature", await sign(header(), 'asfaleia-message'), 'forged'],
    ["a group's signature", await sign(header(), 'asfaleia-group'), 'forged'],
    ["a login's signature", await sign(header(), AUTH_NAMESPACE), 'forged'],
    ["another person's signature", await sign(header(), 'asfaleia-card', carol), 'forged'],
    [
      'a certificate of the key in its signature',
      `${header().join('\n')}\n${Buffer.from(armor(withKey(blob, certificate))).toString()}`,
      'forged',
    ],
    ['two signatures', await sign(card.text.trimEnd().split('\n')), 'malformed'],
    ['an unknown header', await sign([...header(), 'colour: red']), 'malformed'],
    ['a repeated header', await sign([...header(), header().at(-1)!]), 'malformed'],
    ['another order', await sign([header()[0]!, ...header().slice(1).toReversed()]), 'malformed'],
    ['no time', await sign(header().slice(0, -1)), 'malformed'],
    ['no key', await sign([...header().slice(0, 2), ...header().slice(3)]), 'malformed'],
    ['no name', await sign([header()[0]!, ...header().slice(2)]), 'malformed'],
    ['an empty line', await sign([...header(), '']), 'malformed'],
    ['a NUL', await sign(change(/Alice/, 'Al\0ice')), 'malformed'],
    ['more than 8 KiB', await sign(change(/Alice/, 'A'.repeat(8_192))), 'malformed'],
    ['a text of a megabyte', 'asfaleia-card/1\n'.padEnd(1_000_000, 'x'), 'malformed'],
    ['a lone surrogate', card.text.replace('Alice', '\ud800'), 'malformed'],
    ['a signature with other line breaks', card.text.replace(/(-----BEGIN[^\n]*\n.{70})\n(.{6})/, '$1$2\n'), 'malformed'],
    ['a name with a bidi override', await sign(change(/Alice/, 'Ali\u202ece')), 'bad-name'],
    ['a name with a zero-width space', await sign(change(/Alice/, 'Ali\u200bce')), 'bad-name'],
    ['a name that is not in NFC', await sign(change(/Alice/, 'A\u0308lice')), 'bad-name'],
    ['a name with a trailing space', await sign(change(/Alice/, 'Alice ')), 'bad-name'],
    ['a name of 65 characters', await sign(change(/Alice/, 'x'.repeat(65))), 'bad-name'],
    ['a key with a comment', await sign(change(/^(key: .*)/, '$1 alice@home')), 'bad-key'],
    [
      'a certificate instead of a key',
      await sign(change(/^key: .*/, `key: ssh-ed25519-cert-v01@openssh.com ${certificate.toString('base64')}`)),
      'bad-key',
    ],
    ['a malformed key', await sign(change(/^key: .*/, 'key: ssh-ed25519 AAAA')), 'bad-key'],
    ['a relay in capitals', await sign(change(/^relay: .*/, `relay: ${ONION.toUpperCase()}`)), 'bad-relay'],
    ['an explicit default port', await sign(change(/^(relay: .*)/, '$1:3308')), 'bad-relay'],
    ['port 0', await sign(change(/^(relay: .*)/, '$1:0')), 'bad-relay'],
    ['port 65536', await sign(change(/^(relay: .*)/, '$1:65536')), 'bad-relay'],
    ['a mistyped onion address', await sign(change(/^relay: 2/, 'relay: 3')), 'bad-relay'],
    ['a subdomain', await sign(change(/^relay: /, 'relay: www.')), 'bad-relay'],
    ['a host on the open network', await sign(change(/^relay: .*/, 'relay: example.org')), 'bad-relay'],
    ['no relay', await sign([...header().slice(0, 3), header().at(-1)!]), 'bad-relay'],
    ['a repeated relay', await sign([...header().slice(0, 4), ...header().slice(3)]), 'bad-relay'],
    [
      'nine relays',
      await sign([...header().slice(0, 3), ...Array.from({ length: 9 }, (_, n) => `relay: localhost:${n + 1}`), header().at(-1)!]),
      'bad-relay',
    ],
    ['a mistyped recipient', await sign(change(/^(encrypt: age1)(.)(.)/, '$1b$3', certified), 'asfaleia-card', carol), 'bad-recipient'],
    [
      'a recipient of another type',
      await sign(change(/^encrypt: age1/, 'encrypt: age1pq1', certified), 'asfaleia-card', carol),
      'bad-recipient',
    ],
    [
      'no recipient for a key that cannot decrypt',
      await sign(
        header(certified).filter((line) => !line.startsWith('encrypt')),
        'asfaleia-card',
        carol,
      ),
      'bad-recipient',
    ],
    ['a time without a zone', await sign(change(/^(time: .*)Z$/, '$1')), 'bad-time'],
    ['a malformed time', await sign(change(/^time: .*/, 'time: now')), 'bad-time'],

    ['another link of the scheme', 'asfaleia:', 'not-a-card'],
    ['a link of version 3', card.link.replace('/1?', '/3?'), 'unknown-version'],
    ['a link in capitals', card.link.replace('asfaleia:', 'ASFALEIA:'), 'not-a-card'],
    ['a link without its signature', card.link.replace(/&sig=.*/, ''), 'truncated'],
    ['a link with an appended field', `${card.link}&x=y`, 'malformed'],
    ['a link with a line end', `${card.link}\n`, 'truncated'],
    ['a link in another order', card.link.replace(/(name=.*?)&(key=.*?)&/, '$2&$1&'), 'malformed'],
    ['a link with a repeated field', card.link.replace('&key', '&name=Alice&key'), 'malformed'],
    ['a link with a bad percent sign', card.link.replace('Alice', '%ZZ'), 'malformed'],
    ['a link that is not UTF-8', card.link.replace('Alice', '%FF'), 'malformed'],
    ['a link with a field without a value', card.link.replace('&key', '&x&key'), 'malformed'],
    ['a link with a changed name', card.link.replace('Alice', 'Malice'), 'forged'],
    ['a link with a plus for a space', (await makeCard(alice.identity, { ...facts, name: 'A B' })).link.replace('%20', '+'), 'forged'],
    ['a link with padding', card.link.replace(/(key=[^&]*)/, '$1='), 'bad-key'],
    ['a link with base64 instead of base64url', card.link.replace(/key=AAAA/, 'key=+AAA'), 'bad-key'],
    ['a link with a certificate', card.link.replace(/key=[^&]*/, `key=${certificate.toString('base64url')}`), 'malformed'],
    ['an endless link', card.link.padEnd(100_000, 'A'), 'malformed'],
  ]

  it.each(rows)('%s', async (_, text, code) => {
    await expect(parseCard(text)).rejects.toMatchObject({ name: 'CardError', code })
  })

  it('any truncated text and link', async () => {
    for (const whole of [card.text, card.link]) {
      for (let length = 0; length < whole.length; length++)
        await expect(parseCard(whole.slice(0, length))).rejects.toMatchObject({ name: 'CardError' })
    }
  })

  it('a text or link with any character changed', { timeout: 60_000 }, async () => {
    for (const whole of [card.text, card.link]) {
      for (let at = 0; at < whole.length; at++) {
        const code = whole.charCodeAt(at) ^ (1 << (at % 7))
        const changed = whole.slice(0, at) + String.fromCharCode(code) + whole.slice(at + 1)
        await expect(parseCard(changed), `${at}`).rejects.toMatchObject({ name: 'CardError' })
      }
    }
  })

  it('random texts', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary' }),
        fc.constantFrom('', 'asfaleia:card/1?', 'asfaleia-card/1\n', `${card.link}&`),
        async (text, begun) => {
          await expect(parseCard(begun + text)).rejects.toMatchObject({ name: 'CardError' })
        },
      ),
    )
  })
})

describe('ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  it.each(KINDS)('verifies the signature of a card: %s', async (kind) => {
    const { identity } = everybody.get(kind)!
    const { text } = await makeCard(identity, facts)
    const { signed, blob } = split(Buffer.from(text))!
    expect(keygenVerifies(makeFolder(), { line: formatKey(identity.key), blob, namespace: 'asfaleia-card', message: signed })).toBe(true)
  })
})

describe('normalizeRelay', () => {
  it.each([
    ['localhost', 'localhost'],
    ['LOCALHOST:3308', 'localhost'],
    [`${ONION}:3309`, `${ONION}:3309`],
    ['', undefined],
    ['localhost:', undefined],
    ['localhost:65536', undefined],
    ['localhost:1:2', undefined],
    ['user@localhost', undefined],
    [`${ONION}.`, ONION],
    [`${ONION.replace('.', '\u{3002}')}`, ONION],
    [`${ONION}..`, undefined],
    [`${ONION.replace('2', '3')}.`, undefined],
    ['[::1]', undefined],
    [ONION.replace('.onion', '.anion'), undefined],
  ])('of %j returns %j', (relay, normal) => {
    expect(normalizeRelay(relay)).toBe(normal)
  })
})

it('isRecipient checks the checksum', () => {
  const recipient = certified.encrypt!
  expect(isRecipient(recipient)).toBe(true)
  for (const wrong of [recipient.toUpperCase(), recipient.slice(0, -1), `${recipient}q`, `age1${'q'.repeat(58)}`, '', 'age1'])
    expect(isRecipient(wrong)).toBe(false)
})

it('a card has the fingerprint of its key and a readable time', () => {
  expect(fingerprintOf(card.key)).toBe(fingerprintOf(alice.identity.key))
  expect(formatTime(card.time)).toBe('2026-11-18T11:06:40Z')
})

describe('a card of version 2', async () => {
  const made = await makeCard(alice.identity, { ...facts, version: 2 })

  it('has a link of at most 340 characters for an ed25519 key, one onion relay and a name of 32 letters', async () => {
    const { link } = await makeCard(alice.identity, { ...facts, name: 'A'.repeat(32), version: 2, inbox })
    expect(link.length).toBeLessThanOrEqual(340)
    const short = await makeCard(alice.identity, { ...facts, version: 2, inbox })
    expect(short.link).toHaveLength(310)
    const fields = /^asfaleia:card\/2:name=Alice,key=[\w-]{43},inbox=[\w-]{43},relay=[a-z2-7]{56}\.onion,time=[^,]{20},sig=[\w-]{86}$/
    expect(short.link).toMatch(fields)
    expect(made.link).toMatch(/^asfaleia:card\/2:name=Alice,key=[\w-]{43},relay=[a-z2-7]{56}\.onion,time=[^,]{20},sig=[\w-]{86}$/)
  })

  it('has a QR code that fits a terminal of 80 columns', async () => {
    const { link } = await makeCard(alice.identity, { ...facts, name: 'A'.repeat(32), version: 2, inbox })
    const code = await drawCode(link, { stdout: new PassThrough() })
    expect(Math.max(...code.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80)
  })

  it('is read without an inbox, as this program made it before', async () => {
    expect(plain(await parseCard(made.link))).toEqual(plain(made))
    expect('inbox' in (await parseCard(made.text))).toBe(false)
  })

  it('is not made with an inbox of another type, or with the key itself', async () => {
    for (const wrong of [carol.identity.key, (await makePerson('rsa2048')).identity.key, alice.identity.key])
      await expect(makeCard(alice.identity, { ...facts, version: 2, inbox: wrong })).rejects.toMatchObject({ code: 'bad-inbox' })
  })

  const point = /key=[\w-]{43}/.exec(made.link)![0]
  const signature = /sig=[\w-]{86}$/.exec(made.link)![0]
  it.each([
    ['with the whole key', made.link.replace(point, `key=${Buffer.from(alice.identity.key.blob).toString('base64url')}`), 'malformed'],
    [
      'with the whole signature',
      made.link.replace(signature, `sig=${Buffer.from(split(Buffer.from(made.text))!.blob).toString('base64url')}`),
      'malformed',
    ],
    ['with a signature that is cut off', made.link.slice(0, -2), 'truncated'],
    ['with a changed signature', made.link.replace(/sig=(.)/, (_, first) => `sig=${first === 'A' ? 'B' : 'A'}`), 'forged'],
    ['with the separators of version 1', made.link.replaceAll(',', '&'), 'truncated'],
    ['with the start of version 1', made.link.replace('card/2:', 'card/2?'), 'malformed'],
    ['with a small-order point as its key', made.link.replace(point, `key=${'A'.repeat(43)}`), 'bad-key'],
    ['of version 3', made.link.replace('card/2', 'card/3'), 'unknown-version'],
  ])('is refused %s', async (_, link, code) => {
    await expect(parseCard(link)).rejects.toMatchObject({ name: 'CardError', code })
  })

  it('is refused with a signature over SHA-256, which the link cannot carry', async () => {
    const text = made.text.slice(0, made.text.indexOf('-----BEGIN'))
    const blob = split(Buffer.from(made.text))!.blob
    const other = Buffer.from(blob)
    other.write('sha256', other.indexOf('sha512'))
    await expect(parseCard(`${text}${Buffer.from(armor(other)).toString()}`)).rejects.toMatchObject({ code: 'malformed' })
  })

  it('has another text than the same card of version 1', async () => {
    expect(made.text.replace('card/2', 'card/1').slice(0, 100)).toBe(card.text.slice(0, 100))
    await expect(parseCard(made.text.replace('card/2', 'card/1'))).rejects.toMatchObject({ code: 'forged' })
  })
})

describe('findCard', async () => {
  const made = await makeCard(alice.identity, { ...facts, version: 2 })
  const long = await makeCard(alice.identity, facts)
  const broken = (link: string, by: string): string => link.replace(/.{60}/g, `$&${by}`)

  it.each([
    ['alone', (link: string) => link],
    ['with a line feed', (link: string) => `${link}\n`],
    ['among words', (link: string) => `Hi Bob, my card is ${link}. Write to me!`],
    ['in angle brackets', (link: string) => `<${link}>`],
    ['in brackets with a full stop', (link: string) => `(see ${link}).`],
    ['broken over lines', (link: string) => `my card: ${broken(link, '\n')}\n`],
    ['broken over lines with CR LF, indented', (link: string) => `    ${broken(link, '\r\n    ')}\r\n`],
    ['broken by blanks', (link: string) => broken(link, ' ')],
    ['quoted', (link: string) => `> my card:\n> ${broken(link, '\n> ')}\n> Alice`],
    ['quoted twice', (link: string) => `>> ${broken(link, '\n>> ')}\n>> Alice`],
  ])('finds a link that is %s', async (_, spread) => {
    for (const { link } of [made, long]) expect((await findCard(spread(link)))?.link).toBe(link)
  })

  // Quadratic, each would take eight seconds of a processor.
  it.each(['one', 'another', 'a third', 'a fourth'])('takes little time for a long run of dots before many words: %s', async (word) => {
    const text = `asfaleia:card/2:${'.'.repeat(12_000)}${word} ${'b '.repeat(63)}`
    const before = process.threadCpuUsage()
    await expect(findCard(text)).rejects.toMatchObject({ code: 'malformed' })
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1e6).toBeLessThan(4)
  })

  it('finds none in a text without a link, and reports why a link is not valid', async () => {
    expect(await findCard('no card here')).toBeUndefined()
    await expect(findCard(`x ${made.link.replace('Alice', 'Malice')} y`)).rejects.toMatchObject({ code: 'forged' })
    await expect(findCard(`asfaleia:card/2:${'a '.repeat(100_000)}`)).rejects.toMatchObject({ name: 'CardError' })
  })
})
