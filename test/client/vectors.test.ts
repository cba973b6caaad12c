/** test/vectors/message.json, card.json, group.json and bundle.json: fixed texts with their expected content or refusal. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { judgeBundle, parseBundle } from '../../src/client/format/bundle.ts'
import { parseCard } from '../../src/client/format/card.ts'
import { encodeText, formatKey } from '../../src/client/format/field.ts'
import { parseGroup } from '../../src/client/format/group.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import { judge, openMessage } from '../../src/client/format/message.ts'
import { Seen } from '../../src/client/delivery/seen.ts'
import { split } from '../../src/client/format/signed.ts'
import { keygenVerifies, makeFolder, needs } from '../auth/openssh.ts'
import { VECTORS } from '../support/example.ts'

interface Named {
  readonly name: string
  readonly code?: string
}

const read = <T>(name: string): T => JSON.parse(readFileSync(join(VECTORS, '..', name), 'utf8')) as T
const messages = read<{
  now: number
  keys: { rsa: string; ecdsa: string; age: string }
  seen: { from: string; id: string }[]
  texts: { name: string; verdict: string; text: string; padding?: number; content?: object }[]
  payloads: { name: string; to: 'bob' | 'rsa' | 'ecdsa'; payload: string }[]
}>('message.json')
const cards = read<{
  cards: { version: number; name: string; key: string; inbox?: string; text: string; link: string }[]
  refused: (Named & { card: string })[]
}>('card.json')
const groups = read<{ groups: { maker: string; members: string[]; text: string }[]; refused: (Named & { group: string })[] }>('group.json')

const bundles = read<{
  inbox: string
  bundles: { encrypt: string; time: number; until: number; text: string }[]
  times: { now: number; verdict: string }[]
  refused: (Named & { bundle: string })[]
}>('bundle.json')

const bob = identityOf(parsePrivateKey(readFileSync(join(VECTORS, 'bob'))))
const people: Record<'bob' | 'rsa' | 'ecdsa', Identity> = {
  bob,
  rsa: identityOf(parsePrivateKey(Buffer.from(messages.keys.rsa))),
  ecdsa: { ...identityOf(parsePrivateKey(Buffer.from(messages.keys.ecdsa))), opens: [messages.keys.age] },
}
const { now } = messages
const seen = new Seen()
for (const { from, id } of messages.seen) seen.add({ from: parsePublicKey(from), id, time: now }, now)

/** Converts a value to JSON and back, with bytes as base64. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, each: unknown) => (each instanceof Uint8Array ? Buffer.from(each).toString('base64') : each)))

describe('the message vectors', () => {
  it.each(messages.texts)('have the verdict $verdict: $name', async ({ verdict, text, padding = 0, content }) => {
    const opened = await judge(bob.key, encodeText(text + '\n'.repeat(padding)), { now, seen })
    expect(opened.verdict).toBe(verdict)
    if (content !== undefined) expect(plain('envelope' in opened && opened.envelope.content)).toEqual(content)
  })

  it.each(messages.payloads)("open only with their receiver's key: $name", async ({ to, payload }) => {
    const opened = await openMessage(people[to], Buffer.from(payload, 'base64'), { now, seen })
    expect(opened).toMatchObject({ verdict: 'genuine', envelope: { content: { type: 'text', text: `Hello ${to}.` } } })
    const [other] = (['bob', 'rsa'] as const).filter((name) => name !== to)
    expect(await openMessage(people[other!], Buffer.from(payload, 'base64'), { now, seen })).toEqual({ verdict: 'unreadable' })
  })

  it('cover each verdict that a text can have', () => {
    const verdicts = new Set(messages.texts.map(({ verdict }) => verdict))
    expect([...verdicts].toSorted()).toEqual([
      'forged',
      'future',
      'genuine',
      'malformed',
      'readdressed',
      'replayed',
      'stale',
      'truncated',
      'unknown-version',
      'unsigned',
    ])
  })
})

describe('the card vectors', () => {
  it.each(cards.cards)('of version $version parse as text and as link: $name', async (card) => {
    for (const spelling of [card.text, card.link]) {
      const { key, inbox, ...others } = await parseCard(spelling)
      expect({ key: formatKey(key), ...(inbox !== undefined && { inbox: formatKey(inbox) }), ...others }).toEqual(card)
    }
  })

  it.each(cards.refused)('fail with $code: $name', async ({ card, code }) => {
    await expect(parseCard(card)).rejects.toMatchObject({ name: 'CardError', code })
  })
})

describe('the group vectors', () => {
  it.each(groups.groups)('parse: $name', async (group) => {
    const { maker, members, ...others } = await parseGroup(group.text)
    expect({ maker: formatKey(maker), members: members.map(({ link }) => link), ...others }).toEqual(group)
  })

  it.each(groups.refused)('fail with $code: $name', async ({ group, code }) => {
    await expect(parseGroup(group)).rejects.toMatchObject({ name: 'GroupError', code })
  })
})

describe('the bundle vectors', () => {
  const inbox = parsePublicKey(bundles.inbox)

  it('parse, and have their verdicts about time', async () => {
    for (const bundle of bundles.bundles) {
      const parsed = await parseBundle(inbox, encodeText(bundle.text))
      expect({ ...parsed, text: Buffer.from(parsed.text).toString() }).toEqual(bundle)
      for (const { now: at, verdict } of bundles.times) expect(judgeBundle(parsed, at)).toBe(verdict)
    }
  })

  it.each(bundles.refused)('fail with $code: $name', async ({ bundle, code }) => {
    await expect(parseBundle(inbox, encodeText(bundle))).rejects.toMatchObject({ name: 'BundleError', code })
  })
})

describe('ssh-keygen on the vectors', () => {
  beforeEach(needs('ssh-keygen'))

  it('verifies every genuine message, card, group and bundle, and no forged message', () => {
    const folder = makeFolder()
    const judged = messages.texts.filter(({ verdict }) => verdict === 'genuine' || verdict === 'forged')
    for (const { name, verdict, text } of judged) {
      const { signed, blob } = split(encodeText(text))!
      const line = /^from: (.*)$/m.exec(text)![1]!
      const good = keygenVerifies(folder, { line, blob, namespace: 'asfaleia-message', message: signed })
      expect([name, good]).toEqual([name, verdict === 'genuine'])
    }
    const signedBy = (text: string, line: string, namespace: string): boolean => {
      const { signed, blob } = split(encodeText(text))!
      return keygenVerifies(folder, { line, blob, namespace, message: signed })
    }
    for (const { text, key } of cards.cards) expect(signedBy(text, key, 'asfaleia-card')).toBe(true)
    for (const { text, maker } of groups.groups) expect(signedBy(text, maker, 'asfaleia-group')).toBe(true)
    for (const { text } of bundles.bundles) expect(signedBy(text, bundles.inbox, 'asfaleia-bundle')).toBe(true)
  })
})
