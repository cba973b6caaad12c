/** The store of contact requests, and the list of blocked people. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../../src/auth/private-key.ts'
import { Blocked } from '../../../src/cli/profile/blocked.ts'
import { REQUESTS, Requests } from '../../../src/cli/profile/requests.ts'
import { type Card, makeCard } from '../../../src/client/format/card.ts'
import { seal } from '../../../src/client/format/envelope.ts'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'

const NOW = 1_800_000_000
const make = (): Identity => identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))
const me = make()
const cardOf = (name: string, identity = make(), time = NOW): Promise<Card> => makeCard(identity, { name, relays: ['localhost'], time })

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'asf-requests-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})
const open = (now = NOW): Promise<Requests> => Requests.open(folder, me, now)

test('requests outlive the process, with the newest card of each person', async () => {
  const bob = make()
  const first = await open()
  expect(await first.add(await cardOf('Bob', bob), { id: 'one', time: NOW, text: 'hi' }, NOW)).toBe(true)
  expect(await first.add(await cardOf('Robert', bob, NOW + 1), { id: 'two', time: NOW, text: '', group: 'list', called: 'Tea' }, NOW)).toBe(
    true,
  )
  expect(await first.add(await cardOf('Bob', bob), { id: 'one', time: NOW, text: 'hi' }, NOW)).toBe(true)
  await first.markShown(['one'])
  const [request, other] = (await open()).list()
  expect(other).toBeUndefined()
  expect(request).toMatchObject({
    card: { name: 'Robert' },
    messages: [
      { id: 'one', text: 'hi', shown: true },
      { id: 'two', group: 'list', called: 'Tea' },
    ],
  })
  await first.remove([fingerprintOf(bob.key)])
  expect((await open()).list()).toEqual([])
})

test('people, messages and bytes are bounded', async () => {
  const requests = await open()
  const bob = await cardOf('Bob')
  for (let n = 0; n < REQUESTS.messages; n++) expect(await requests.add(bob, { id: `${n}`, time: NOW, text: 'x' }, NOW)).toBe(true)
  expect(await requests.add(bob, { id: 'more', time: NOW, text: 'x' }, NOW)).toBe(false)
  const carol = await cardOf('Carol')
  expect(await requests.add(carol, { id: 'long', time: NOW, text: 'x'.repeat(REQUESTS.each) }, NOW)).toBe(false)
  const large = 'x'.repeat(REQUESTS.each - 1_000)
  const each = REQUESTS.bytes / REQUESTS.each
  for (let n = 0; n < each; n++) await requests.add(await cardOf(`P${n}`), { id: `p${n}`, time: NOW, text: large }, NOW)
  expect(await requests.add(await cardOf('Last'), { id: 'last', time: NOW, text: large }, NOW)).toBe(false)
  await requests.remove(requests.list().map(({ card }) => fingerprintOf(card.key)))
  for (let n = 0; n < REQUESTS.people; n++)
    expect(await requests.add(await cardOf(`S${n}`), { id: `s${n}`, time: NOW, text: '' }, NOW)).toBe(true)
  expect(await requests.add(await cardOf('Last'), { id: 'last', time: NOW, text: '' }, NOW)).toBe(false)
  expect(requests.list()).toHaveLength(REQUESTS.people)
})

test('the size of a request is that of its card, its texts and its groups in bytes', async () => {
  const requests = await open()
  const bob = await cardOf('Bob')
  const left = REQUESTS.each - bob.text.length
  const add = (text: string, group?: string): Promise<boolean> =>
    requests.add(bob, { id: `${text.length} ${group?.length}`, time: NOW, text, ...(group !== undefined && { group }) }, NOW)
  expect(await add('x'.repeat(left + 1))).toBe(false)
  // Two bytes each.
  expect(await add('ä'.repeat(Math.floor(left / 2) + 1))).toBe(false)
  expect(await add('x', 'ä'.repeat(Math.floor(left / 2)))).toBe(false)
  expect(await add('x'.repeat(left - 5), 'xxx')).toBe(true)
  expect(await add('xxx')).toBe(false)
  expect(await add('xx')).toBe(true)
  expect(requests.list()[0]?.messages).toHaveLength(2)
})

test('a request ends after 30 days without a message', async () => {
  await (await open()).add(await cardOf('Bob'), { id: 'one', time: NOW, text: 'hi' }, NOW)
  expect((await open(NOW + REQUESTS.seconds)).list()).toHaveLength(1)
  expect((await open(NOW + REQUESTS.seconds + 1)).list()).toHaveLength(0)
})

test.each(['nothing', '{"card":1}', '{"card":"asfaleia:card/2:x","messages":[],"at":1}', 'no json'])(
  'a file with %j is refused, although it is encrypted to the right key',
  async (line) => {
    writeFileSync(join(folder, 'requests.age'), await seal(me.key, Buffer.from(`asfaleia-requests/1\n${line}\n`)))
    await expect(open()).rejects.toThrow('the file is damaged')
  },
)

describe('a line of a request', () => {
  const write = async (change: object): Promise<Requests> => {
    const { text } = await cardOf('Bob')
    const line = { card: text, messages: [{ id: 'a', time: NOW, text: 'hi' }], at: NOW, ...change }
    writeFileSync(join(folder, 'requests.age'), await seal(me.key, Buffer.from(`asfaleia-requests/1\n${JSON.stringify(line)}\n`)))
    return open()
  }
  const messageWith = (change: object): object => ({ messages: [{ id: 'a', time: NOW, text: 'hi', ...change }] })

  test.each([
    ['nothing else', {}],
    ['no message', { messages: [] }],
    ['a group', messageWith({ group: 'list', called: 'Tea' })],
    ['a time and a mark', messageWith({ expires: 60, shown: true })],
  ])('with %s is read', async (_what, change) => {
    expect((await write(change)).list()).toMatchObject([{ card: { name: 'Bob' }, at: NOW }])
  })

  test.each([
    ['a card that is no text', { card: 1 }],
    ['a card that is none', { card: 'x' }],
    ['a time that is no number', { at: 'now' }],
    ['no list of messages', { messages: {} }],
    ['a message that is none', { messages: [null] }],
    ['a second message that is none', { messages: [{ id: 'a', time: NOW, text: 'hi' }, 'x'] }],
    ['an id that is no text', messageWith({ id: 1 })],
    ['a message without a time', messageWith({ time: undefined })],
    ['a text that is none', messageWith({ text: 1 })],
    ['a group that is no text', messageWith({ group: 1 })],
    ['a name of a group that is no text', messageWith({ called: 1 })],
    ['a span that is no number', messageWith({ expires: '1' })],
    ['a mark that is none', messageWith({ shown: 'yes' })],
  ])('with %s is refused', async (_what, change) => {
    await expect(write(change)).rejects.toThrow('the file is damaged')
  })
})

test('blocked people are lines of a text file', async () => {
  const path = join(folder, 'blocked')
  const blocked = await Blocked.open(path)
  const [bob, carol] = ['A', 'B'].map((letter) => `SHA256:${letter.repeat(42)}A`) as [string, string]
  await blocked.add(bob, 'Bob')
  await blocked.add(carol, 'Carol of the tea')
  expect(readFileSync(path, 'utf8')).toBe(`${bob} Bob\n${carol} Carol of the tea\n`)
  writeFileSync(path, `# by hand\n${carol}\n`)
  await blocked.refresh()
  expect([blocked.has(bob), blocked.has(carol)]).toEqual([false, true])
  await blocked.remove(carol)
  expect((await Blocked.open(path)).list()).toEqual([])
  await expect(Blocked.empty().add(bob, 'Bob')).rejects.toThrow('no folder')
})
