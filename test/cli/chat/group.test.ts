/** Groups that the user changes, and group cards that contacts send. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { drawUp, type Maker, takeCard } from '../../../src/cli/chat/group.ts'
import { MOST_GROUPS } from '../../../src/cli/profile/groups.ts'
import { type Group, makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { createVillage, type Person, type Village } from '../../support/village.ts'

const NOW = 1_800_000_000

let village: Village
let alice: Person
let bob: Person
/** No contact of Alice. */
let dave: Person
beforeEach(async () => {
  village = createVillage()
  bob = await village.add('bob')
  dave = await village.add('dave')
  alice = await village.add('alice', [bob])
})
afterEach(() => village.remove())

const makerOf = ({ people, identity, card }: Person): Maker => ({ people, identity, card })

function groupOf(maker: Person, members: readonly Person[], changes: { id?: string; version?: number; name?: string; time?: number } = {}) {
  const facts = { id: makeGroupId(maker.identity.key), name: 'tea', version: 1, time: NOW, members: members.map(({ card }) => card) }
  return makeGroup(maker.identity, { ...facts, ...changes })
}

async function known(person: Person, group: Group) {
  return (await person.people.groups.take(group, () => false)).known
}

describe('/group', () => {
  test('drops a member by the shown name, without its mark, and suggests the nearest name for another', async () => {
    const group = await groupOf(alice, [alice, bob, dave])
    const tea = await known(alice, group)
    await expect(drawUp(tea, ['drop', 'dav'], makerOf(alice), NOW)).rejects.toThrow('no member matches "dav"; did you mean "dave"?')
    const { group: next, told } = await drawUp(tea, ['drop', 'dave'], makerOf(alice), NOW + 5)
    expect(next).toMatchObject({ id: group.id, name: 'tea', version: 2, time: NOW + 5, members: [{ name: 'alice' }, { name: 'bob' }] })
    // The member who was dropped learns of it.
    expect(told.map(({ name }) => name)).toEqual(['alice', 'bob', 'dave'])
  })

  test('adds a contact at the end, once, and tells the members', async () => {
    const tea = await known(alice, await groupOf(alice, [alice, bob, dave]))
    const { group, told } = await drawUp(tea, ['add', 'bob'], makerOf(alice), NOW)
    expect(group.members.map(({ name }) => name)).toEqual(['alice', 'dave', 'bob'])
    expect(told).toEqual(group.members)
    await expect(drawUp(tea, ['add', 'dave'], makerOf(alice), NOW)).rejects.toThrow('no contact')
  })

  test('gives no version an earlier time than the one before, if the clock went back', async () => {
    const tea = await known(alice, await groupOf(alice, [alice, bob]))
    expect((await drawUp(tea, ['add', 'bob'], makerOf(alice), NOW - 100)).group.time).toBe(NOW)
  })

  test.each([
    [['new', 'tea'], 'usage: /group new NAME MEMBER …'],
    [['new'], 'usage: /group new NAME MEMBER …'],
    [['add'], 'usage: /group add NAME'],
    [['drop'], 'usage: /group add NAME'],
    [['add', 'bob', 'dave'], 'usage: /group add NAME'],
    [['drop', 'bob', 'dave'], 'usage: /group add NAME'],
    [['rename', 'x'], 'usage: /group add NAME'],
  ])('refuses %j with its usage', async (words, usage) => {
    const tea = await known(alice, await groupOf(alice, [alice, bob]))
    await expect(drawUp(tea, words, makerOf(alice), NOW)).rejects.toThrow(usage)
  })

  test('needs a card of the user, an open group, and its maker', async () => {
    const { people, identity } = alice
    await expect(drawUp(undefined, ['new', 'tea', 'bob'], { people, identity }, NOW)).rejects.toThrow('you have no card yet')
    await expect(drawUp(undefined, ['add', 'bob'], makerOf(alice), NOW)).rejects.toThrow('this conversation is not a group')
    const tea = await known(alice, await groupOf(bob, [bob, alice]))
    await expect(drawUp(tea, ['add', 'bob'], makerOf(alice), NOW)).rejects.toThrow('only bob, who made this group, can change it')
  })
})

describe('a group card', () => {
  test('that another person than the maker sends joins nothing', async () => {
    const group = await groupOf(dave, [dave, bob, alice])
    expect(await takeCard(group.text, bob.fingerprint, makerOf(alice))).toEqual({
      conversation: bob.fingerprint,
      text: '(forwards the group "tea", which someone else made)',
    })
    expect(alice.people.groups.list()).toEqual([])
  })

  test.each([
    ['without the user', 'bob', ['bob', 'dave']],
    ['of a maker who is no contact', 'dave', ['dave', 'alice']],
  ])('%s joins nothing', async (_why, from, members) => {
    const everyone = { alice, bob, dave }
    const person = (name: string): Person => everyone[name as keyof typeof everyone]
    const group = await groupOf(person(from), members.map(person))
    expect(await takeCard(group.text, person(from).fingerprint, makerOf(alice))).toMatchObject({ text: '(the group "tea")' })
    expect(alice.people.groups.list()).toEqual([])
  })

  test('that is damaged says why', async () => {
    const { text } = await groupOf(bob, [bob, alice])
    const damaged = text.replace('name: tea', 'name: pea')
    expect(await takeCard(damaged, bob.fingerprint, makerOf(alice))).toMatchObject({
      text: expect.stringMatching(/^\(an invalid group: .*signature/),
    })
  })

  test('joins the last free place, and none beyond it', async () => {
    const groups: Group[] = []
    for (let n = 0; n <= MOST_GROUPS; n++) groups.push(await groupOf(bob, [bob, alice], { name: `g${n}` }))
    const shown: object[] = []
    for (const { text } of groups) shown.push(await takeCard(text, bob.fingerprint, makerOf(alice)))
    expect(shown.at(-2)).toMatchObject({ note: `you are in g${MOST_GROUPS - 1}; /group leave leaves it`, isTaken: true, isJoined: true })
    expect(shown.at(-1)).toEqual({
      conversation: bob.fingerprint,
      text: `(the group "g${MOST_GROUPS}"; you are in ${MOST_GROUPS} groups already, so it was not added)`,
    })
    expect(alice.people.groups.list()).toHaveLength(MOST_GROUPS)
  }, 60_000)

  test('of the same or an older version changes nothing, and one of two with the same version is a conflict', async () => {
    const first = await groupOf(bob, [bob, alice], { version: 2 })
    const { id } = first
    await known(alice, first)
    const older = await groupOf(bob, [bob, alice, dave], { id })
    const other = await groupOf(bob, [bob, alice, dave], { id, version: 2 })
    const notes: unknown[] = []
    for (const { text } of [first, older, other]) notes.push(await takeCard(text, bob.fingerprint, makerOf(alice)))
    expect(notes).toEqual([
      { conversation: `group:${id}`, note: 'bob sent the current version of the group again' },
      { conversation: `group:${id}`, note: 'bob sent the current version of the group again' },
      { conversation: `group:${id}`, note: 'the maker signed two different groups with the same version; the first one stays' },
    ])
    expect(alice.people.groups.list().map(({ group }) => group.text)).toEqual([first.text])
  })

  test('without the user ends the membership, and one with another name says the old one', async () => {
    const first = await groupOf(bob, [bob, alice])
    const { id } = first
    await known(alice, first)
    const renamed = await groupOf(bob, [bob, alice, dave], { id, version: 2, name: 'coffee' })
    expect(await takeCard(renamed.text, bob.fingerprint, makerOf(alice))).toEqual({
      conversation: `group:${id}`,
      note: 'joined: ~dave; renamed; its old name is tea',
      isTaken: true,
    })
    const again = await groupOf(bob, [bob, alice, dave], { id, version: 3, name: 'coffee' })
    expect(await takeCard(again.text, bob.fingerprint, makerOf(alice))).toMatchObject({ note: 'the maker signed the group again' })
    const without = await groupOf(bob, [bob, dave], { id, version: 4, name: 'coffee' })
    expect(await takeCard(without.text, bob.fingerprint, makerOf(alice))).toMatchObject({
      note: 'you are no longer in this group',
      isTaken: true,
    })
    expect(alice.people.groups.list()).toEqual([])
    // The chat still shows its conversation.
    expect(alice.people.parties()).toContainEqual(expect.objectContaining({ id: `group:${id}`, left: true }))
  })
})
