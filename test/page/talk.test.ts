/** The page without a browser: two people over a relay in this process. */
import { afterEach, expect, test, vi } from 'vitest'
import { generateSeedKey } from '../../src/auth/seed.ts'
import { connectClaims, connectRelay } from '../../src/client/wire/connect.ts'
import { encodeText, makeFileName } from '../../src/client/format/field.ts'
import { Account } from '../../src/page/account.ts'
import { conversationOf, type Entry, STRANGERS } from '../../src/page/model.ts'
import { Talk } from '../../src/page/talk.ts'
import { deliveryText } from '../../src/wording/delivery.ts'
import { startTestRelay, type TestRelay } from '../support/relay.ts'

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A relay that goes by an onion name on a loopback port. */
async function startRelay(port?: number): Promise<TestRelay> {
  const relay = await startTestRelay({ names: ['localhost'], memory: 2 ** 24, connections: 100, ...(port !== undefined && { port }) })
  closers.push(() => relay.close().catch(() => {}))
  return relay
}

function begin(account: Account, { address }: { readonly address: string }): Talk {
  const talk = new Talk(account, {
    connect: (options) => connectRelay({ ...options, relay: address }),
    connectClaims: (options) => connectClaims({ ...options, relay: address }),
  })
  closers.push(() => talk.close())
  return talk
}

async function people(relay: TestRelay): Promise<[Talk, Talk]> {
  const both: [Talk, Talk] = [begin(await Account.create('Alice', [ONION]), relay), begin(await Account.create('Bob', [ONION]), relay)]
  await soon(() => expect(both.map(({ state }) => state.relays[0]?.state)).toEqual(['up', 'up']))
  // Until a bundle is there, a first message waits some seconds.
  await soon(() => expect(relay.relay.snapshot().counters.published).toBe(2))
  return both
}

const idOf = (talk: Talk): string => talk.state.me.fingerprint
const entriesOf = (talk: Talk, id: string): readonly Entry[] => conversationOf(talk.state, id)?.entries ?? []
const soon = <T>(work: () => T): Promise<T> => vi.waitFor(work, { timeout: 40_000, interval: 20 })
vi.setConfig({ testTimeout: 90_000 })
const stateOf = (entry: Entry | undefined): string | undefined => entry && deliveryText(entry)?.text

test('a card, a contact request, messages both ways, receipts, and the same safety words', async () => {
  const [alice, bob] = await people(await startRelay())
  const { id } = await alice.people.addLink(`my card: ${bob.account.card.link}.`)
  expect(id).toBe(idOf(bob))
  alice.write(id!, 'Hello Bob')
  await soon(() => expect(conversationOf(bob.state, idOf(alice))?.kind).toBe('request'))
  expect(entriesOf(bob, idOf(alice)).map(({ text, unseen }) => [text, unseen])).toEqual([['Hello Bob', true]])
  await soon(() => expect(stateOf(entriesOf(alice, id!)[0])).toBe('held'))
  await bob.people.accept(idOf(alice))
  expect(conversationOf(bob.state, idOf(alice))).toMatchObject({ kind: 'contact', name: 'Alice' })
  await soon(() => expect(stateOf(entriesOf(alice, id!)[0])).toBe('delivered'))
  bob.write(idOf(alice), 'Hello Alice')
  await soon(() => expect(entriesOf(alice, id!).map(({ text }) => text)).toEqual(['Hello Bob', 'Hello Alice']))
  await soon(() => expect(stateOf(entriesOf(bob, idOf(alice))[1])).toBe('held'))
  expect(alice.loss).toContain('1 unread message')
  alice.drawn(
    id!,
    entriesOf(alice, id!).map(({ key }) => key),
  )
  await soon(() => expect(stateOf(entriesOf(bob, idOf(alice))[1])).toBe('delivered'))
  expect(await alice.people.words(id!)).toEqual(await bob.people.words(idOf(alice)))
  await alice.people.verify(id!)
  expect(conversationOf(alice.state, id)?.verified).toBe(true)
  expect(alice.loss).toContain('changes that are in no file')
  alice.saved()
  expect(alice.loss).toBeUndefined()
})

test('a message that the user saw is confirmed as read, if the profile says so', async () => {
  const relay = await startRelay()
  const key = generateSeedKey()
  const files = new Map([
    ['profile', encodeText(`name: Bob\nkey: key\nrelay: ${ONION}\nreceipts: delivered, read\n`)],
    ['key', encodeText(key.toFile('x'))],
  ])
  const [alice, bob] = [begin(await Account.create('Alice', [ONION]), relay), begin(await Account.read(files), relay)]
  await soon(() => expect(relay.relay.snapshot().counters.published).toBe(2))
  const { id } = await alice.people.addLink(bob.account.card.link)
  await bob.people.addLink(alice.account.card.link)
  alice.write(id!, 'Hello Bob')
  await soon(() => expect(entriesOf(bob, idOf(alice))).toHaveLength(1))
  bob.drawn(
    idOf(alice),
    entriesOf(bob, idOf(alice)).map((entry) => entry.key),
  )
  await soon(() => expect(stateOf(entriesOf(alice, id!)[0])).toBe('read'))
  expect(entriesOf(bob, idOf(alice)).map(({ unseen }) => unseen)).toEqual([false])
})

test('a file of 1 MB waits for the user, and arrives whole', async () => {
  const [alice, bob] = await people(await startRelay())
  const [a, b] = [idOf(alice), idOf(bob)]
  await alice.people.addLink(bob.account.card.link)
  await bob.people.addLink(alice.account.card.link)
  const bytes = Uint8Array.from({ length: 1_000_000 }, (_, n) => n % 251)
  await alice.sendFile(b, {
    name: makeFileName('<img src=x>.html'),
    size: bytes.length,
    read: async (at, length) => bytes.slice(at, at + length),
  })
  await soon(() => expect(entriesOf(bob, a)[0]?.file).toMatchObject({ state: 'offered', total: 1_000_000 }))
  const [{ key }] = entriesOf(bob, a) as [Entry]
  bob.decide(key, true)
  await soon(() => expect(entriesOf(bob, a)[0]?.file?.state).toBe('ready'))
  const { blob, name } = bob.fileOf(a, key)!
  expect([blob.type, name, new Uint8Array(await blob.arrayBuffer())]).toEqual(['application/octet-stream', '_img src=x_.html', bytes])
  await soon(() => expect(entriesOf(alice, b)[0]?.file?.state).toBe('done'))
  await alice.sendFile(b, { name: 'other', size: 3, read: async () => Uint8Array.of(1, 2, 3) })
  await soon(() => expect(entriesOf(bob, a)[1]?.file?.state).toBe('offered'))
  bob.decide(entriesOf(bob, a)[1]!.key, false)
  await soon(() => expect(entriesOf(alice, b)[1]?.file).toMatchObject({ state: 'failed', note: 'Bob refused it' }))
})

test('a relay that is killed: the state says so, and an unconfirmed message goes out again', async () => {
  const relay = await startRelay()
  const [alice, bob] = await people(relay)
  await alice.people.addLink(bob.account.card.link)
  await bob.people.addLink(alice.account.card.link)
  await soon(() => expect(alice.state.relays[0]?.state).toBe('up'))
  await relay.kill()
  await soon(() => expect(alice.state.relays[0]).toMatchObject({ state: 'down' }))
  expect(alice.state.relays[0]?.why).toBeTypeOf('string')
  alice.write(idOf(bob), 'are you there?')
  expect(alice.loss).toContain('1 unconfirmed message')
  await startRelay(relay.port)
  alice.connect()
  bob.connect()
  await soon(() => expect(entriesOf(bob, idOf(alice)).map(({ text }) => text)).toEqual(['are you there?']))
})

test('blocking a person drops their messages; ignoring a request only ends it', async () => {
  const [alice, bob] = await people(await startRelay())
  await alice.people.addLink(bob.account.card.link)
  alice.write(idOf(bob), 'one')
  await soon(() => expect(bob.state.conversations).toHaveLength(1))
  bob.people.ignore(idOf(alice))
  expect(bob.state.conversations).toEqual([])
  alice.write(idOf(bob), 'two')
  await soon(() => expect(entriesOf(bob, idOf(alice)).map(({ text }) => text)).toEqual(['two']))
  bob.people.block(idOf(alice))
  alice.write(idOf(bob), 'three')
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(bob.state.conversations).toEqual([])
  expect(conversationOf(bob.state, STRANGERS)).toBeUndefined()
})

test('a second page with the same profile takes the mailbox over, and the first one says so', async () => {
  const relay = await startRelay()
  const account = await Account.create('Alice', [ONION])
  const first = begin(account, relay)
  await soon(() => expect(first.state.relays[0]?.state).toBe('up'))
  begin(account, relay)
  await soon(() => expect(first.state.relays[0]?.state).toBe('taken-over'))
})

test('a saved file carries the keys on: messages that came meanwhile arrive', async () => {
  const relay = await startRelay()
  const [alice, bob] = await people(relay)
  const [a, b] = [idOf(alice), idOf(bob)]
  await alice.people.addLink(bob.account.card.link)
  await bob.people.addLink(alice.account.card.link)
  const show = (talk: Talk, id: string): void =>
    talk.drawn(
      id,
      entriesOf(talk, id).map(({ key }) => key),
    )
  alice.write(b, 'one')
  await soon(() => expect(entriesOf(bob, a).map(({ text }) => text)).toEqual(['one']))
  show(bob, a)
  bob.write(a, 'two')
  await soon(() => expect(entriesOf(alice, b).map(({ text }) => text)).toEqual(['one', 'two']))
  show(alice, b)
  await soon(() => expect(stateOf(entriesOf(bob, a)[1])).toBe('delivered'))
  // Until then the receipt waits, and takes a key that the file would have for the next one.
  await soon(() => expect(stateOf(entriesOf(alice, b)[0])).toBe('delivered'))
  const newer = await bob.save('a long enough passphrase')
  await bob.close()
  alice.write(b, 'three')
  await soon(() => expect(stateOf(entriesOf(alice, b).at(-1))).toBe('held'))
  const again = begin(await Account.open(newer, 'a long enough passphrase'), relay)
  await soon(() => expect(entriesOf(again, a).map(({ text }) => text)).toEqual(['three']))
  expect(entriesOf(again, a)[0]?.protection).toBe('one-time')
  show(again, a)
  await soon(() => expect(stateOf(entriesOf(alice, b).at(-1))).toBe('delivered'))
})
