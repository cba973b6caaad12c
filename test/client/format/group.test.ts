/** Groups (docs/protocol.md, section 12). */
import { describe, expect, it } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../../src/auth/private-key.ts'
import { type Card, makeCard } from '../../../src/client/format/card.ts'
import { encodeText, fingerprintOf, isId, makeId } from '../../../src/client/format/field.ts'
import {
  compareGroups,
  type Group,
  type GroupErrorCode,
  isSameGroup,
  makeGroup,
  makeGroupId,
  parseGroup,
} from '../../../src/client/format/group.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { encodeMessage, openMessage } from '../../../src/client/format/message.ts'
import { sign } from '../../../src/client/format/signed.ts'

const NOW = 1_795_000_000
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

interface Person {
  readonly identity: Identity
  readonly card: Card
}

async function person(name: string, relays: readonly string[] = [ONION]): Promise<Person> {
  const identity = identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))
  return { identity, card: await makeCard(identity, { name, relays, time: NOW }) }
}

const people = await Promise.all(Array.from({ length: 40 }, (_, n) => person(`Person ${n}`)))
const [alice, bob, carol, dave] = people as [Person, Person, Person, Person]
const cards = (...of: readonly Person[]): Card[] => of.map(({ card }) => card)
const facts = { id: makeId(), name: 'Friends', version: 1, time: NOW }
const make = (more: Partial<Parameters<typeof makeGroup>[1]> = {}, maker = alice): Promise<Group> =>
  makeGroup(maker.identity, { ...facts, members: cards(alice, bob, carol), ...more })

/** Joins the lines and appends Alice's signature. */
async function signLines(lines: readonly string[], namespace: 'asfaleia-group' | 'asfaleia-card' = 'asfaleia-group'): Promise<string> {
  return Buffer.from(await sign(alice.identity, namespace, encodeText(`${lines.join('\n')}\n`))).toString()
}

const header = (group: Group): string[] => group.text.slice(0, group.text.indexOf('-----BEGIN')).trimEnd().split('\n')

describe('a group', () => {
  it('reads back as it was made', async () => {
    const group = await make()
    expect(await parseGroup(group.text)).toEqual(group)
    expect(group.members.map(({ name }) => name)).toEqual(['Person 0', 'Person 1', 'Person 2'])
  })

  it('may have 32 members, and then still fits into one message', async () => {
    const group = await make({ members: cards(...people.slice(0, 32)) })
    const content = { type: 'group', card: group.text } as const
    const payload = await encodeMessage(alice.identity, {
      to: bob.card,
      id: makeId(),
      after: makeId(),
      time: NOW,
      group: group.id,
      content,
    })
    const opened = await openMessage(bob.identity, payload, { now: NOW })
    expect(opened).toMatchObject({ verdict: 'genuine', envelope: { group: group.id, content } })
    expect(await parseGroup(group.text)).toEqual(group)
  })

  it.each([
    ['one member', { members: cards(alice) }, 'bad-members'],
    ['33 members', { members: cards(...people.slice(0, 33)) }, 'bad-members'],
    ['a repeated member', { members: cards(alice, bob, bob) }, 'bad-members'],
    ['members without its maker', { members: cards(bob, carol) }, 'bad-members'],
    ['an empty name', { name: '' }, 'bad-name'],
    ['a name with a bidi override', { name: 'a\u202eb' }, 'bad-name'],
  ] as const)('is not made with %s', async (_, more, code) => {
    await expect(make(more)).rejects.toMatchObject({ name: 'GroupError', code })
  })

  it.each([{ id: 'short' }, { version: 0 }, { version: 1.5 }, { time: NOW + 0.5 }])(
    'is not made with the malformed field %j',
    async (more) => {
      await expect(make(more)).rejects.toThrow(TypeError)
    },
  )

  it('that is too large reports how many members would fit', async () => {
    const long = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        person(
          `Person ${n}`,
          Array.from({ length: 8 }, (_, port) => `${ONION}:${10_000 + port}`),
        ),
      ),
    )
    const maker = long[0]!
    const all = { ...facts, members: cards(...long) }
    const { fit } = (await makeGroup(maker.identity, all).catch((error: unknown) => error)) as { fit: number }
    expect(fit).toBeGreaterThan(2)
    const members = all.members.slice(0, fit)
    const group = await makeGroup(maker.identity, { ...all, members })
    await expect(makeGroup(maker.identity, { ...all, members: all.members.slice(0, fit + 1) })).rejects.toMatchObject({
      code: 'too-large',
      fit,
    })
    const message = { to: bob.card, id: makeId(), after: makeId(), time: NOW, group: group.id }
    await encodeMessage(maker.identity, { ...message, content: { type: 'group', card: group.text } })
  })
})

describe('the id of a group', () => {
  it('is bound to its maker: no one else can make, change or sign a group with it', async () => {
    const id = makeGroupId(alice.identity.key)
    expect(isId(id)).toBe(true)
    expect(makeGroupId(alice.identity.key)).not.toBe(id)
    const group = await make({ id })
    expect(await parseGroup(group.text)).toEqual(group)
    await expect(make({ id }, bob)).rejects.toMatchObject({ code: 'bad-id' })
    // Each part of it counts: the random bytes and the hash.
    for (const at of [4, 12, 20]) {
      const changed = id.slice(0, at) + (id[at] === 'A' ? 'B' : 'A') + id.slice(at + 1)
      await expect(make({ id: changed })).rejects.toMatchObject({ code: 'bad-id' })
      const lines = header(group).map((line) => line.replace(`id: ${id}`, `id: ${changed}`))
      await expect(parseGroup(await signLines(lines))).rejects.toMatchObject({ code: 'bad-id' })
    }
  })

  it('of an older version is bound to no one', async () => {
    const id = makeId()
    const [one, other] = [await make({ id }), await make({ id }, bob)]
    expect(isSameGroup(one, other)).toBe(false)
    expect(isSameGroup(one, await make({ id, version: 2 }))).toBe(true)
    expect(await parseGroup(other.text)).toEqual(other)
  })
})

describe('parseGroup refuses', async () => {
  const group = await make()
  const lines = header(group)
  const replace = (from: RegExp, to: string): string[] => lines.map((line) => line.replace(from, to))
  const rows: readonly (readonly [what: string, text: string, code: GroupErrorCode])[] = [
    ['an empty text', '', 'not-a-group'],
    ['a card', alice.card.text, 'not-a-group'],
    ['a later version', group.text.replace('/1\n', '/2\n'), 'unknown-version'],
    ['a header without a signature', `${lines.join('\n')}\n`, 'truncated'],
    ['a truncated text', group.text.slice(0, -100), 'truncated'],
    ['an appended line', `${group.text}\n`, 'truncated'],
    ['a leading empty line', `\n${group.text}`, 'not-a-group'],
    ['a changed name', group.text.replace('Friends', 'Enemies'), 'forged'],
    ['a removed member', group.text.replace(`member: ${bob.card.link}\n`, ''), 'forged'],
    ['a changed maker', group.text.replace(/maker: .*/, `maker: ${header(await make({}, bob))[3]!.slice(7)}`), 'forged'],
    ["a card's signature", await signLines(lines, 'asfaleia-card'), 'forged'],
    ['CR LF', group.text.replaceAll('\n', '\r\n'), 'truncated'],
    ['another order', await signLines([lines[0]!, lines[2]!, lines[1]!, ...lines.slice(3)]), 'malformed'],
    ['an unknown header', await signLines([...lines, 'colour: red']), 'malformed'],
    ['a repeated header', await signLines([...lines.slice(0, 3), lines[2]!, ...lines.slice(3)]), 'malformed'],
    ['version 0', await signLines(replace(/^version: 1/, 'version: 0')), 'malformed'],
    ['version 01', await signLines(replace(/^version: 1/, 'version: 01')), 'malformed'],
    ['a malformed id', await signLines(replace(/^id: .*/, `id: ${'x'.repeat(22)}`)), 'malformed'],
    ['a malformed time', await signLines(replace(/^time: .*/, 'time: 2026-11-18 11:06:40')), 'malformed'],
    ['one member', await signLines(lines.slice(0, 7)), 'bad-members'],
    ['a repeated member', await signLines([...lines, lines[7]!]), 'bad-members'],
    [
      '33 members',
      await signLines([...lines.slice(0, 6), ...people.slice(0, 33).map(({ card }) => `member: ${card.link}`)]),
      'bad-members',
    ],
    ['members without the maker', await signLines([...lines.slice(0, 6), ...lines.slice(7)]), 'bad-members'],
    ['a changed card of a member', await signLines(replace(/name=Person%201/, 'name=Person%209')), 'bad-card'],
    ["a member's card in another spelling", await signLines(replace(/name=Person%201/, 'name=%50erson%201')), 'bad-card'],
    ["a member's card as a text", await signLines(replace(/asfaleia:card.*/, 'asfaleia-card/1')), 'bad-card'],
    ['a name with a trailing space', await signLines(replace(/Friends/, 'Friends ')), 'bad-name'],
    ['65 headers', await signLines([...lines, ...Array.from({ length: 60 }, () => 'x: y')]), 'malformed'],
    ['more than 64 KiB', await signLines([...lines, `x: ${'y'.repeat(65_536)}`]), 'malformed'],
    ['a signature with other line breaks', group.text.replace(/(-----BEGIN[^\n]*\n.{70})\n(.{6})/, '$1$2\n'), 'malformed'],
  ]

  it.each(rows)('%s', async (_, text, code) => {
    await expect(parseGroup(text)).rejects.toMatchObject({ name: 'GroupError', code })
  })
})

describe('compareGroups', () => {
  const names = (of: readonly Card[]): string[] => of.map(({ name }) => name)

  it('reports joined, left and changed members and the former name', async () => {
    const known = await make()
    const moved = await makeCard(carol.identity, { name: 'Carol', relays: ['localhost'], time: NOW + 1 })
    const next = await make({ version: 2, name: 'Old friends', members: [alice.card, moved, dave.card] })
    const change = compareGroups(known, next)
    if (change.kind !== 'newer') throw new Error(change.kind)
    expect([names(change.joined), names(change.left), names(change.changed), change.renamed]).toEqual([
      ['Person 3'],
      ['Person 1'],
      ['Carol'],
      'Friends',
    ])
    expect(compareGroups(next, known)).toEqual({ kind: 'older' })
  })

  it('reports equal content as the same, or as a newer version without changes', async () => {
    expect(compareGroups(await make(), await make())).toEqual({ kind: 'same' })
    expect(compareGroups(await make(), await make({ version: 3 }))).toEqual({ kind: 'newer', joined: [], left: [], changed: [] })
  })

  it('reports a conflict if two groups of one version differ', async () => {
    expect(compareGroups(await make(), await make({ members: cards(alice, bob) }))).toEqual({ kind: 'conflict' })
  })

  it('reports another group if the id or the maker differs', async () => {
    expect(compareGroups(await make(), await make({ id: makeId(), version: 2 }))).toEqual({ kind: 'other' })
    expect(compareGroups(await make(), await make({ version: 2 }, bob))).toEqual({ kind: 'other' })
    expect(fingerprintOf((await make({}, bob)).maker)).toBe(fingerprintOf(bob.card.key))
  })
})
