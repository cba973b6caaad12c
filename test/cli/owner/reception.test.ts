/** What the reception does with messages of strangers: it drops, keeps, holds or passes on each. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Reception, RECEPTION, type ReceptionOptions } from '../../../src/cli/owner/reception.ts'
import { REQUESTS, Requests } from '../../../src/cli/profile/requests.ts'
import { makeCard } from '../../../src/client/format/card.ts'
import type { Content } from '../../../src/client/format/content.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { Channel } from '../../../src/client/messenger/channel.ts'
import type { Contact } from '../../../src/client/messenger/contact.ts'
import type { Received } from '../../../src/client/messenger/inbox.ts'
import { makePerson } from '../../support/people.ts'

const NOW = 1_800_000_000
const me = makePerson('me')
const [bob, carol] = [makePerson('bob'), makePerson('carol')]
const [bobs, carols] = await Promise.all(
  [bob, carol].map(({ identity, name }) => makeCard(identity, { name, relays: ['localhost'], time: NOW })),
)
const linkOf = ({ key }: Contact): string => (key === bob.key ? bobs! : carols!).link

let folder: string
let contacts: Contact[]
let blocked: Contact[]
let guests: Contact[]
/** Everything that the reception reported, and the ids of the messages that are done. */
let told: string[]
let done: string[]
let passed: Received[]
let source: Channel<Received>
let reception: Reception

function open(more: Partial<ReceptionOptions> = {}): void {
  const isOf = (people: readonly Contact[], fingerprint: string): boolean => people.some(({ key }) => fingerprintOf(key) === fingerprint)
  reception = new Reception({
    open: () => Requests.open(folder, me.identity, NOW),
    find: (fingerprint) => contacts.find(({ key }) => fingerprintOf(key) === fingerprint),
    isGuest: (fingerprint) => isOf(guests, fingerprint),
    isBlocked: (fingerprint) => isOf(blocked, fingerprint),
    isGroup: (id) => id === 'mine',
    onGenuine: async ({ id }) => void told.push(`genuine ${id}`),
    onChange: (requests) => told.push(`requests: ${requests.map(({ card, messages }) => `${card.name} ${messages.length}`).join()}`),
    onFailure: (error) => told.push(`failure: ${(error as Error).message}`),
    confirm: ({ name }, ids) => told.push(`confirm ${name} ${ids.join()}`),
    now: () => NOW * 1_000,
    ...more,
  })
  source = new Channel()
  void (async () => {
    for await (const received of reception.screen(source)) passed.push(received)
  })()
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-reception-'))
  ;[contacts, blocked, guests, told, done, passed] = [[], [], [], [], [], []]
  open()
})
afterEach(() => {
  source.close()
  rmSync(folder, { recursive: true })
})

const text = (words: string): Content => ({ type: 'text', text: words })

/** Gives messages, and waits until each is screened. */
async function give(
  from: Contact,
  ids: readonly string[],
  more: Partial<Received> & { content?: Content; group?: string } = {},
): Promise<void> {
  const { content, group, ...others } = more
  for (const id of ids) {
    const envelope = { id, from: from.key, to: '', time: NOW, content: content ?? text(id), card: linkOf(from), ...(group && { group }) }
    const whole = { verdict: 'genuine', envelope, relay: 'one', done: async () => void done.push(id), ...others }
    source.push(whole as Received)
  }
  await reception.idle()
  await turn()
}

const idsOf = (messages: readonly Received[]): (string | undefined)[] => messages.map(({ envelope }) => envelope?.id)
const range = (count: number, prefix = 'm'): string[] => Array.from({ length: count }, (_, n) => `${prefix}${n}`)

describe('a message passes on', () => {
  test('if its sender is a contact, who is then known to have sent a genuine one', async () => {
    contacts = [bob]
    await give(bob, ['a'])
    await give(bob, ['b'], { verdict: 'stale' })
    expect([idsOf(passed), told, done]).toEqual([['a', 'b'], ['genuine a'], []])
  })

  test('if its sender is known without the contact book', async () => {
    guests = [bob]
    await give(bob, ['a'])
    expect([idsOf(passed), told]).toEqual([['a'], []])
  })

  test.each(['future', 'stale', 'forged', 'unverifiable', 'readdressed'] as const)('if it is %s', async (verdict) => {
    await give(bob, ['a'], { verdict } as Partial<Received>)
    expect([idsOf(passed), told]).toEqual([['a'], []])
  })

  test('if it has no envelope', async () => {
    await give(bob, ['a'], { verdict: 'unreadable', envelope: undefined } as unknown as Partial<Received>)
    expect(passed).toHaveLength(1)
  })

  test.each<[string, Content, string | undefined]>([
    ['an edit', { type: 'edit', of: 'x', text: 'y' } as Content, undefined],
    ['a text to a group', text('hi'), 'theirs'],
    ['a card to a group', { type: 'card', card: 'x' }, 'theirs'],
    ['a new version of a group of the user', { type: 'group', card: 'x' } as Content, 'mine'],
    ['a group that cannot be read', { type: 'group', card: 'x' } as Content, 'theirs'],
  ])('if it is %s: no request is made of it', async (_what, content, group) => {
    await give(bob, ['a'], { content, ...(group !== undefined && { group }) })
    expect([idsOf(passed), told, done]).toEqual([['a'], [], []])
  })

  test('if the client stores nothing', async () => {
    open({ open: () => undefined })
    await give(bob, ['a'])
    expect([idsOf(passed), told]).toEqual([['a'], []])
  })
})

describe('a message of a blocked person', () => {
  test.each(['genuine', 'future', 'stale'] as const)('is dropped and acknowledged if it is %s', async (verdict) => {
    blocked = [bob]
    await give(bob, ['a'], { verdict })
    expect([passed, told, done]).toEqual([[], [], ['a']])
  })

  test('passes on if another person may have written it', async () => {
    blocked = [bob]
    await give(bob, ['a'], { verdict: 'forged' } as Partial<Received>)
    expect([idsOf(passed), done]).toEqual([['a'], []])
  })
})

describe('a request', () => {
  test('keeps the messages of a stranger, and acknowledges them', async () => {
    await give(bob, ['a', 'b'])
    expect([passed, told, done]).toEqual([[], ['requests: bob 1', 'requests: bob 2'], ['a', 'b']])
    expect(await reception.list()).toMatchObject([{ messages: [{ id: 'a', text: 'a' }, { id: 'b' }] }])
    expect(reception.has(fingerprintOf(bob.key))).toBe(true)
    expect(reception.has(fingerprintOf(carol.key))).toBe(false)
  })

  test('has the span of a message that disappears', async () => {
    await give(bob, ['a'])
    source.push({
      verdict: 'genuine',
      envelope: { id: 'b', from: bob.key, to: '', time: NOW, content: text('b'), card: linkOf(bob), expires: 60 },
      relay: 'one',
      done: async () => {},
    } as Received)
    await reception.idle()
    expect((await reception.list())[0]!.messages).toEqual([
      { id: 'a', time: NOW, text: 'a' },
      { id: 'b', time: NOW, text: 'b', expires: 60 },
    ])
  })

  test('is told at the start if there is one', async () => {
    await reception.begin()
    expect(told).toEqual([])
    await give(bob, ['a'])
    open()
    await reception.begin()
    expect(told).toEqual(['requests: bob 1', 'requests: bob 1'])
  })

  test('of a person who is a contact now ends, and its messages are confirmed', async () => {
    await give(bob, ['a', 'b'])
    await give(carol, ['c'])
    contacts = [bob]
    expect(await reception.list()).toHaveLength(1)
    told = []
    await reception.settle()
    expect(told).toEqual(['confirm bob a,b', 'requests: carol 1'])
    await reception.settle()
    expect(told).toHaveLength(2)
  })

  test('of a person who is blocked now ends, and nothing is confirmed', async () => {
    await give(bob, ['a'])
    blocked = [bob]
    told = []
    await reception.settle()
    expect(told).toEqual(['requests: '])
  })
})

describe('a message without room', () => {
  const FULL = range(REQUESTS.messages)

  test('stays unacknowledged, and comes into the request once there is room', async () => {
    await give(bob, [...FULL, 'late'])
    expect([passed, done]).toEqual([[], FULL])
    await reception.ignore(fingerprintOf(bob.key))
    expect(done.at(-1)).toBe('late')
    expect(await reception.list()).toMatchObject([{ messages: [{ id: 'late' }] }])
  })

  test('of a person who is a contact now passes on with the name of the contact, and is confirmed once it is done', async () => {
    await give(bob, [...FULL, 'late', 'later'])
    contacts = [bob]
    told = []
    await reception.settle()
    await turn()
    expect(idsOf(passed)).toEqual(['late', 'later'])
    expect(passed.map(({ from }) => from?.name)).toEqual(['bob', 'bob'])
    expect(told).toEqual([`confirm bob ${FULL.join()}`, 'genuine late', 'genuine later', 'requests: '])
    expect(done).toEqual(FULL)
    await passed[0]!.done()
    expect([done.at(-1), told.at(-1)]).toEqual(['late', 'confirm bob late'])
    // Nothing of them is in the next request.
    contacts = []
    expect(await reception.list()).toEqual([])
  })

  test('of a person who is blocked now is acknowledged', async () => {
    await give(bob, [...FULL, 'late'])
    blocked = [bob]
    await reception.settle()
    expect([done.at(-1), passed]).toEqual(['late', []])
  })

  test('passes on if too many have none: the oldest first', async () => {
    await give(bob, [...FULL, ...range(RECEPTION.held, 'held'), 'one', 'two'])
    expect(idsOf(passed)).toEqual(['held0', 'held1'])
    expect(done).toEqual(FULL)
  })

  test('does not keep others from the room that there is', async () => {
    await give(bob, [...FULL, 'late'])
    await give(carol, ['c'])
    expect(done.at(-1)).toBe('c')
    await reception.ignore(fingerprintOf(carol.key))
    expect(done.at(-1)).toBe('c')
    expect(passed).toEqual([])
  })
})

describe('a store that fails', () => {
  test('to open is reported, and all messages pass on', async () => {
    open({ open: () => Promise.reject(new Error('damaged')) })
    await give(bob, ['a', 'b'])
    expect([told, idsOf(passed)]).toEqual([['failure: damaged'], ['a', 'b']])
  })

  test('to write is reported, and the message stays at the relay until it works', async () => {
    let isBroken = true
    open({
      open: async () => {
        const store = await Requests.open(folder, me.identity, NOW)
        const { add } = store
        store.add = async (...args) => {
          if (isBroken) throw new Error('the disk is full')
          return add.call(store, ...args)
        }
        return store
      },
    })
    await give(bob, ['a'])
    expect([told, passed, done]).toEqual([['failure: the disk is full'], [], []])
    isBroken = false
    await reception.ignore(fingerprintOf(carol.key))
    expect(done).toEqual(['a'])
    expect(await reception.list()).toMatchObject([{ card: { name: 'bob' } }])
  })
})
