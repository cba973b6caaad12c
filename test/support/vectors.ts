/**
 * `node test/support/vectors.ts` writes test/vectors/message.json, card.json and group.json: signed texts by
 * the keys of test/vectors/example and by keys in message.json itself, all of them public, each with its
 * verdict or its refusal code. ECDSA and FIDO signatures differ each time.
 */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { identityToRecipient } from 'age-encryption'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { seedKey } from '../../src/auth/seed.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { makeCard } from '../../src/client/format/card.ts'
import { fingerprintOf, formatKey, formatTime } from '../../src/client/format/field.ts'
import { makeGroup } from '../../src/client/format/group.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import type { Content } from '../../src/client/format/content.ts'
import { encodeMessage } from '../../src/client/format/message.ts'
import { makeFidoKey } from '../auth/openssh.ts'
import { signText } from '../client/people.ts'
import { VECTORS } from './example.ts'

/** 2026-11-26T23:00:00Z */
const NOW = 1_795_734_000
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
const file = (name: string): string => join(VECTORS, '..', name)
const old = existsSync(file('message.json'))
  ? (JSON.parse(readFileSync(file('message.json'), 'utf8')) as { keys: Record<string, string> }).keys
  : {}
const write = (name: string, value: object): void => writeFileSync(file(name), `${JSON.stringify(value, undefined, 2)}\n`)
const PEM = { format: 'pem', type: 'pkcs8' } as const

const keys = {
  rsa: old['rsa'] ?? String(generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export(PEM)),
  ecdsa: old['ecdsa'] ?? String(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(PEM)),
  /** An age identity; messages to `ecdsa` are encrypted to its recipient. */
  age: old['age'] ?? 'AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX',
}
const recipient = await identityToRecipient(keys.age)
const fido = makeFidoKey('ed25519', 'ssh:asfaleia')
const people = {
  alice: identityOf(parsePrivateKey(readFileSync(join(VECTORS, 'alice')))),
  bob: identityOf(parsePrivateKey(readFileSync(join(VECTORS, 'bob')))),
  rsa: identityOf(parsePrivateKey(Buffer.from(keys.rsa))),
  ecdsa: { ...identityOf(parsePrivateKey(Buffer.from(keys.ecdsa))), opens: [keys.age], recipient },
  fido: {
    key: parsePublicKey(fido.line),
    sign: async (namespace: string, message: Uint8Array) => fido.sign(namespace, message),
    proof: 'sign',
    opens: [],
    recipient,
  },
} as const satisfies Record<string, Identity>
const { alice, bob, rsa, ecdsa } = people

/** Derives the same id from the same words. */
const idOf = (words: string): string => createHash('sha256').update(words).digest().subarray(0, 16).toString('base64url')
const sign = async (by: Identity, text: string, namespace = 'asfaleia-message'): Promise<string> =>
  Buffer.from(await signText({ identity: by, to: { key: by.key } }, namespace, text)).toString()

// Messages to Bob.
const lines = (headers: Readonly<Record<string, string>>, body: string, by: Identity = alice): string => {
  const usual = { type: 'text', from: formatKey(by.key), to: fingerprintOf(bob.key), id: idOf(body), time: formatTime(NOW) }
  const all = Object.entries({ ...usual, ...headers }).filter(([, value]) => value !== '')
  return `${['asfaleia-message/1', ...all.map(([name, value]) => `${name}: ${value}`)].join('\n')}\n\n${body}\n`
}
const seen = { from: formatKey(alice.key), id: idOf('seen before') }
const good = await sign(alice, lines({}, 'Hello Bob.'))
const fileHeaders = {
  type: 'file',
  file: idOf('a file'),
  name: 'picture.jpeg',
  total: '5',
  hash: createHash('sha256').update('12345').digest('hex'),
}

const texts: { name: string; verdict: string; text: string; padding?: number; content?: Content | { type: 'file'; bytes: string } }[] = [
  { name: 'a text', verdict: 'genuine', text: good, content: { type: 'text', text: 'Hello Bob.' } },
  {
    name: 'padded to 4,096 bytes',
    verdict: 'genuine',
    text: good,
    padding: 4_096 - good.length,
    content: { type: 'text', text: 'Hello Bob.' },
  },
]
for (const [name, by] of Object.entries(people)) {
  texts.push({
    name: `signed by ${by.key.type}`,
    verdict: 'genuine',
    text: await sign(by, lines({}, name, by)),
    content: { type: 'text', text: name },
  })
}
const contents: readonly (readonly [headers: Record<string, string>, body: string, content: Content | { type: 'file'; bytes: string }])[] =
  [
    [{ 'reply-to': idOf('x') }, 'an answer', { type: 'text', text: 'an answer', replyTo: idOf('x') }],
    [
      { type: 'receipt', state: 'delivered' },
      `${idOf('x')}\n${idOf('y')}`,
      { type: 'receipt', state: 'delivered', ids: [idOf('x'), idOf('y')] },
    ],
    [
      { type: 'have', file: idOf('a file') },
      '1-12 14',
      {
        type: 'have',
        file: idOf('a file'),
        parts: [
          [1, 12],
          [14, 14],
        ],
      },
    ],
    [{ type: 'have', file: idOf('a file') }, 'done', { type: 'have', file: idOf('a file'), parts: 'done' }],
    [{ type: 'edit', of: idOf('x') }, 'better', { type: 'edit', of: idOf('x'), text: 'better' }],
    [{ type: 'remove', of: idOf('x') }, '', { type: 'remove', of: idOf('x') }],
    [{ type: 'leave', group: idOf('g') }, '', { type: 'leave' }],
    [
      { ...fileHeaders, part: '0/1' },
      '',
      { type: 'file', file: idOf('a file'), name: 'picture.jpeg', total: 5, hash: fileHeaders.hash, part: 0, bytes: '' },
    ],
    [
      { ...fileHeaders, part: '1/1' },
      '12345',
      { type: 'file', file: idOf('a file'), name: 'picture.jpeg', total: 5, hash: fileHeaders.hash, part: 1, bytes: 'MTIzNDU=' },
    ],
    [{ type: 'dance' }, 'a waltz', { type: 'unknown', name: 'dance', body: 'YSB3YWx0eg==' as never }],
  ]
for (const [headers, body, content] of contents) {
  texts.push({ name: `of type ${content.type}: ${body}`, verdict: 'genuine', text: await sign(alice, lines(headers, body)), content })
}
const quoted = `${good}and that was it`
texts.push(
  {
    name: 'a body with a signature in it',
    verdict: 'genuine',
    text: await sign(alice, lines({}, quoted)),
    content: { type: 'text', text: quoted },
  },
  { name: 'ten minutes ahead', verdict: 'genuine', text: await sign(alice, lines({ time: formatTime(NOW + 600) }, 'early')) },
  { name: 'fourteen days ago', verdict: 'genuine', text: await sign(alice, lines({ time: formatTime(NOW - 14 * 86_400) }, 'late')) },
  { name: 'a text of nobody', verdict: 'unsigned', text: 'Hello Bob.' },
  { name: 'version 2', verdict: 'unknown-version', text: await sign(alice, lines({}, 'Hello Bob.').replace('/1', '/2')) },
  { name: 'cut off', verdict: 'truncated', text: good.slice(0, -30) },
  { name: 'no signature', verdict: 'truncated', text: lines({}, 'Hello Bob.') },
  { name: 'spaces for padding', verdict: 'truncated', text: `${good}  \n` },
  { name: 'line ends with CR', verdict: 'truncated', text: good.replaceAll('\n', '\r\n') },
  {
    name: 'a header twice',
    verdict: 'malformed',
    text: await sign(alice, lines({}, 'Hello').replace('type: text\n', 'type: text\ntype: text\n')),
  },
  { name: 'no id', verdict: 'malformed', text: await sign(alice, lines({ id: '' }, 'Hello')) },
  { name: 'an escape in a header', verdict: 'malformed', text: await sign(alice, lines({ note: 'a\u001b[2Jb' }, 'Hello')) },
  {
    name: 'the name of a file is a path',
    verdict: 'malformed',
    text: await sign(alice, lines({ ...fileHeaders, part: '1/1', name: '../picture.jpeg' }, '12345')),
  },
  { name: 'part 2 of 1', verdict: 'malformed', text: await sign(alice, lines({ ...fileHeaders, part: '2/1' }, '12345')) },
  { name: 'part 0 of 0', verdict: 'malformed', text: await sign(alice, lines({ ...fileHeaders, total: '0', part: '0/0' }, '')) },
  { name: 'a part of another length', verdict: 'malformed', text: await sign(alice, lines({ ...fileHeaders, part: '1/1' }, '1234')) },
  { name: 'another body', verdict: 'forged', text: good.replace('Hello', 'Hallo') },
  { name: 'another sender', verdict: 'forged', text: await sign(bob, lines({}, 'Hello')) },
  { name: "a card's namespace", verdict: 'forged', text: await sign(alice, lines({}, 'Hello'), 'asfaleia-card') },
  { name: "a login's namespace", verdict: 'forged', text: await sign(alice, lines({}, 'Hello'), 'asfaleia-auth') },
  { name: 'to somebody else', verdict: 'readdressed', text: await sign(alice, lines({ to: fingerprintOf(rsa.key) }, 'Hello')) },
  { name: 'seen before', verdict: 'replayed', text: await sign(alice, lines({}, 'seen before')) },
  { name: 'eleven minutes ahead', verdict: 'future', text: await sign(alice, lines({ time: formatTime(NOW + 660) }, 'early')) },
  { name: 'fifteen days ago', verdict: 'stale', text: await sign(alice, lines({ time: formatTime(NOW - 15 * 86_400) }, 'late')) },
)

const payloads: { name: string; to: string; payload: string }[] = []
for (const to of ['bob', 'rsa', 'ecdsa'] as const) {
  const { key, ...more }: Identity = people[to]
  const receiver = more.recipient === undefined ? { key } : { key, recipient: more.recipient }
  const payload = await encodeMessage(alice, { to: receiver, id: idOf(to), time: NOW, content: { type: 'text', text: `Hello ${to}.` } })
  payloads.push({ name: more.recipient === undefined ? key.type : 'age', to, payload: Buffer.from(payload).toString('base64') })
}
write('message.json', {
  about:
    'Messages to test/vectors/example/bob, docs/protocol.md section 10: what an age file says, with its verdict at `now`; and age files by Alice. `padding` line feeds follow a text; bytes are base64.',
  now: NOW,
  keys,
  seen: [seen],
  texts,
  payloads,
})

// Cards.
const facts = { name: 'Alice', relays: [ONION], time: NOW, version: 1 } as const
const card = await makeCard(alice, facts)
const cards = [
  card,
  await makeCard(rsa, { name: 'Zoë & Co', relays: [`${ONION}:443`, 'localhost'], time: NOW, version: 1 }),
  await makeCard(ecdsa, { name: '愛', relays: [ONION], time: NOW, version: 1 }),
]
const second = [
  await makeCard(alice, { ...facts, version: 2 }),
  await makeCard(rsa, { name: 'Zoë & Co', relays: [`${ONION}:443`, 'localhost'], time: NOW, version: 2 }),
  await makeCard(ecdsa, { name: '愛', relays: [ONION], time: NOW, version: 2 }),
]
const inbox = seedKey(new Uint8Array(32).fill(7)).public
const withInbox = [
  await makeCard(alice, { ...facts, version: 2, inbox }),
  await makeCard(rsa, { name: 'Zoë & Co', relays: [`${ONION}:443`, 'localhost'], time: NOW, inbox }),
  await makeCard(ecdsa, { name: '愛', relays: [ONION], time: NOW, inbox }),
]
const inboxText = withInbox[0]!.text.slice(0, withInbox[0]!.text.indexOf('-----BEGIN'))
const inboxLine = (key: Identity): string => inboxText.replace(/^inbox: .*/m, `inbox: ${formatKey(key.key)}`)
const cardText = card.text.slice(0, card.text.indexOf('-----BEGIN'))
const refused = [
  { name: 'nothing', code: 'not-a-card', card: '' },
  { name: 'version 3', code: 'unknown-version', card: await sign(alice, cardText.replace('/1', '/3'), 'asfaleia-card') },
  {
    name: 'a link of version 2 with the whole key',
    code: 'malformed',
    card: second[0]!.link.replace(/key=[^,]+/, `key=${Buffer.from(alice.key.blob).toString('base64url')}`),
  },
  { name: 'a link of version 2 with another name', code: 'forged', card: second[0]!.link.replace('Alice', 'Malice') },
  { name: 'an inbox in version 1', code: 'malformed', card: await sign(alice, inboxText.replace('/2', '/1'), 'asfaleia-card') },
  {
    name: 'an inbox after the relay',
    code: 'malformed',
    card: await sign(alice, inboxText.replace(/(inbox: .*\n)(relay: .*\n)/, '$2$1'), 'asfaleia-card'),
  },
  { name: 'two inboxes', code: 'malformed', card: await sign(alice, inboxText.replace(/inbox: .*\n/, '$&$&'), 'asfaleia-card') },
  { name: 'an inbox that is an RSA key', code: 'bad-inbox', card: await sign(alice, inboxLine(rsa), 'asfaleia-card') },
  { name: 'the key itself as the inbox', code: 'bad-inbox', card: await sign(alice, inboxLine(alice), 'asfaleia-card') },
  {
    name: 'an inbox of small order in a link',
    code: 'bad-inbox',
    card: withInbox[0]!.link.replace(/inbox=[^,]+/, `inbox=${'A'.repeat(43)}`),
  },
  {
    name: 'a link with the whole inbox key',
    code: 'malformed',
    card: withInbox[0]!.link.replace(/inbox=[^,]+/, `inbox=${Buffer.from(inbox.blob).toString('base64url')}`),
  },
  {
    name: 'a link with another inbox',
    code: 'forged',
    card: withInbox[0]!.link.replace(/inbox=[^,]+/, `inbox=${Buffer.from(bob.key.blob.subarray(-32)).toString('base64url')}`),
  },
  { name: 'a link without its inbox', code: 'forged', card: withInbox[0]!.link.replace(/inbox=[^,]+,/, '') },
  { name: 'something after it', code: 'truncated', card: `${card.text}\n` },
  { name: 'an unknown header', code: 'malformed', card: await sign(alice, `${cardText}colour: red\n`, 'asfaleia-card') },
  {
    name: 'a name that turns around',
    code: 'bad-name',
    card: await sign(alice, cardText.replace('Alice', 'Ali\u202ece'), 'asfaleia-card'),
  },
  { name: 'a key with a comment', code: 'bad-key', card: await sign(alice, cardText.replace(/^(key: .*)/m, '$1 alice'), 'asfaleia-card') },
  { name: 'the usual port', code: 'bad-relay', card: await sign(alice, cardText.replace(ONION, `${ONION}:3308`), 'asfaleia-card') },
  {
    name: 'no recipient',
    code: 'bad-recipient',
    card: await sign(ecdsa, cards[2]!.text.replace(/^encrypt.*\n|-----[^]*/gm, ''), 'asfaleia-card'),
  },
  { name: 'a time that is none', code: 'bad-time', card: await sign(alice, cardText.replace(/Z$/m, ''), 'asfaleia-card') },
  { name: 'another name', code: 'forged', card: card.text.replace('Alice', 'Malice') },
  { name: 'another name in the link', code: 'forged', card: card.link.replace('Alice', 'Malice') },
  { name: "a message's namespace", code: 'forged', card: await sign(alice, cardText) },
  { name: 'a link in another order', code: 'malformed', card: card.link.replace(/(name=.*?)&(key=.*?)&/, '$2&$1&') },
]
write('card.json', {
  about: 'Cards, docs/protocol.md section 11: as text and as link, and what is refused, with the code.',
  cards: [...cards, ...second, ...withInbox].map(({ version, name, key, inbox: given, relays, encrypt, time, text, link }) => ({
    version,
    name,
    key: formatKey(key),
    inbox: given === undefined ? undefined : formatKey(given),
    relays,
    encrypt,
    time,
    text,
    link,
  })),
  refused,
})

// Groups.
const group = await makeGroup(alice, { id: idOf('a group'), name: 'Friends', version: 1, time: NOW, members: cards })
const groupText = group.text.slice(0, group.text.indexOf('-----BEGIN'))
write('group.json', {
  about: 'Groups, docs/protocol.md section 12, and what is refused, with the code.',
  groups: [
    {
      id: group.id,
      name: group.name,
      maker: formatKey(group.maker),
      version: 1,
      time: NOW,
      members: cards.map(({ link }) => link),
      text: group.text,
    },
  ],
  refused: [
    { name: 'a card', code: 'not-a-group', group: card.text },
    { name: 'cut off', code: 'truncated', group: group.text.slice(0, -30) },
    { name: 'an unknown header', code: 'malformed', group: await sign(alice, `${groupText}colour: red\n`, 'asfaleia-group') },
    {
      name: 'no maker among them',
      code: 'bad-members',
      group: await sign(alice, groupText.replace(`member: ${card.link}\n`, ''), 'asfaleia-group'),
    },
    {
      name: "a member's card that was changed",
      code: 'bad-card',
      group: await sign(alice, groupText.replace('name=Alice', 'name=Malice'), 'asfaleia-group'),
    },
    { name: 'another name', code: 'forged', group: group.text.replace('Friends', 'Enemies') },
  ],
})
