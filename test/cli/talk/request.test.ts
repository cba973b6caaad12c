/** Contact requests: a stranger's first message carries their card, and one command decides about it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePrivateKey } from '../../../src/auth/private-key.ts'
import { runCommand } from '../../../src/cli/command.ts'
import { REQUESTS } from '../../../src/cli/profile/requests.ts'
import { whenOf } from '../../../src/cli/talk/report.ts'
import { describeRequest, findRequest, formatRequest, needRequest } from '../../../src/cli/talk/request.ts'
import type { Content } from '../../../src/client/format/content.ts'
import { makeCard, parseCard } from '../../../src/client/format/card.ts'
import { fingerprintOf, formatKey, makeId } from '../../../src/client/format/field.ts'
import { makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import { encodeMessage } from '../../../src/client/format/message.ts'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'
import { createVillage } from '../../support/village.ts'

let root: string
let relay: TestRelay
const closers: (() => unknown)[] = []
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-request-'))
  relay = await startTestRelay({ memory: 2 ** 24 })
  closers.push(() => relay.close())
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(root, { recursive: true })
})

const home = (who: string): string => join(root, who)
const as = (who: string, ...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_HOME: home(who) } })
const begin = async (who: string): Promise<string> =>
  (await as(who, 'me', '--name', who, '--relay', `localhost:${relay.port}`, '--public', 'yes')).out.trim()
const identity = (who: string): Identity => identityOf(parsePrivateKey(readFileSync(join(home(who), 'key'))))
const parse = (out: string): Record<string, unknown>[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

/** Starts a command that runs until it is interrupted. */
function stay(who: string, ...argv: readonly string[]): TestIo {
  const io = createTestIo({ ASFALEIA_HOME: home(who) })
  const code = runCommand(argv, io)
  closers.push(async () => {
    io.interrupt()
    io.stdin.end()
    await code
  })
  return io
}

async function until(io: TestIo, pattern: RegExp): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!pattern.test(io.out() + io.err())) {
    if (performance.now() > deadline) throw new Error(`no ${pattern} in:\n${io.out()}${io.err()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Puts messages of a person without a profile into Alice's mailbox. */
async function put(from: Identity, contents: readonly Content[], card?: string): Promise<void> {
  using client = await connectRelay({ relay: relay.address, identity: from })
  for (const content of contents) {
    const facts = { to: identity('Alice'), id: makeId(), time: Math.floor(Date.now() / 1_000), content }
    const group = content.type === 'group' ? { group: makeId() } : {}
    await client.sendSealed(identity('Alice').key, await encodeMessage(from, { ...facts, ...group, ...(card !== undefined && { card }) }))
  }
}
const text = (words: string): Content => ({ type: 'text', text: words })

test('one exchange is enough: a link, a first message, and an answer', async () => {
  const link = await begin('Alice')
  await begin('Bob')
  const sent = await as('Bob', 'send', link, 'hi')
  expect(sent).toMatchObject({ code: 0, out: 'stored by a relay for up to 7 days\n' })
  expect(sent.err).toBe('asfaleia: added Alice to your contacts, not verified yet: `asfaleia contact verify Alice`\n')
  const got = await as('Alice', 'get')
  expect(got).toMatchObject({ code: 0, out: 'Bob (not in your contacts) wants to talk: "hi"\n' })
  expect(got.err).toContain('to answer: `asfaleia contact accept PERSON`')
  expect(await as('Alice', 'get')).toMatchObject({ out: '', err: 'asfaleia: no messages wait\n' })
  const answered = await as('Alice', 'send', 'bob', 'hello Bob')
  expect(answered).toMatchObject({ code: 0, out: 'stored by a relay for up to 7 days\n' })
  expect(answered.err).toBe('asfaleia: Bob is now a contact, not verified yet: `asfaleia contact verify Bob`\n')
  expect((await as('Bob', 'get')).out).toBe('Alice: hello Bob\n')
  // Both have each other's card, so the next messages go without it.
  expect((await as('Bob', 'send', 'alice', 'and again')).code).toBe(0)
  expect(await as('Alice', 'get')).toMatchObject({ out: 'Bob: and again\n', err: '' })
  for (const [who, other] of [
    ['Alice', 'Bob'],
    ['Bob', 'Alice'],
  ] as const)
    expect(readFileSync(join(home(who), 'contacts', other), 'utf8')).toMatch(/\nmet: \d{4}-/)
  expect(readdirSync(join(home('Alice'), 'state'))).not.toContain('requests.age')
})

test('an accepted request is confirmed to its sender', async () => {
  const link = await begin('Alice')
  await begin('Bob')
  const bob = stay('Bob', 'chat', '--plain')
  await until(bob, /connected to/)
  bob.stdin.write(`/add ${link}\n`)
  await until(bob, /Alice is now a contact/)
  bob.stdin.write('hi\n')
  await until(bob, /-- held, to Alice: hi/)
  await as('Alice', 'get')
  expect(await as('Alice', 'contact', 'requests')).toMatchObject({
    out: expect.stringMatching(/^Bob \(not in your contacts\) \d\d:\d\d wants to talk: "hi"\n {2}SHA256:\S{43}\n$/) as string,
  })
  expect(await as('Alice', 'contact', 'accept', 'bob')).toMatchObject({ code: 0, out: 'accepted Bob\n' })
  expect(await as('Alice', 'contact', 'requests')).toMatchObject({ out: '', err: 'asfaleia: no contact requests wait\n' })
  await as('Alice', 'get')
  await until(bob, /-- delivered, to Alice: hi/)
})

describe('a request', () => {
  test('is kept encrypted, joins the earlier one of the same person, and changes no contact', async () => {
    await begin('Alice')
    await begin('Mallory')
    await as('Alice', 'contact', 'add', await begin('Bob'))
    const before = readFileSync(join(home('Alice'), 'contacts/Bob'), 'utf8')
    // Mallory calls herself Bob.
    const card = await makeCard(identity('Mallory'), { name: 'Bob', relays: [`localhost:${relay.port}`], time: 1_800_000_000 })
    await put(identity('Mallory'), [text('first\nAlice: second'), text('third')], card.link)
    const { out } = await as('Alice', 'get')
    expect(out).toBe(
      'Bob [looks like Bob] (not in your contacts) wants to talk: "first\n  Alice: second"\nBob [looks like Bob] (not in your contacts) wants to talk: "third"\n',
    )
    const file = join(home('Alice'), 'state/requests.age')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'latin1')).toMatch(/^age-encryption.org\/v1\n/)
    const requests = parse((await as('Alice', 'contact', 'requests', '--json')).out)
    expect(requests.map(({ called, text: words }) => [called, words])).toEqual([
      ['Bob', 'first\nAlice: second'],
      ['Bob', 'third'],
    ])
    expect(await as('Alice', 'contact', 'block', 'bob')).toMatchObject({
      code: 1,
      err: expect.stringContaining('a stranger with a request has the same name') as string,
    })
    const refused = await as('Alice', 'contact', 'accept', fingerprintOf(identity('Mallory').key))
    expect(refused).toMatchObject({ code: 1 })
    expect(refused.err).toContain('your contact "Bob" has another key')
    expect(readFileSync(join(home('Alice'), 'contacts/Bob'), 'utf8')).toBe(before)
    expect(await as('Alice', 'contact', 'accept', fingerprintOf(identity('Mallory').key), '--name', 'Mallory')).toMatchObject({ code: 0 })
    expect(readdirSync(join(home('Alice'), 'contacts')).toSorted()).toEqual(['Bob', 'Mallory'])
  })

  test("is not made by another person's card, a changed card, or a message that proves no sender", async () => {
    await begin('Alice')
    await begin('Mallory')
    const bobs = await begin('Bob')
    await put(identity('Mallory'), [text('I am Bob')], bobs)
    await put(identity('Mallory'), [text('changed')], (await begin('Mallory')).replace('Mallory', 'Bob'))
    const { out } = await as('Alice', 'get')
    const mallory = fingerprintOf(identity('Mallory').key)
    expect(out).toBe(`${mallory} [not a contact]: I am Bob\n${mallory} [not a contact]: changed\n`)
    expect(await as('Alice', 'contact', 'requests')).toMatchObject({ out: '' })
  })

  test('can be ignored, and the person can write again', async () => {
    const link = await begin('Alice')
    await begin('Bob')
    await as('Bob', 'send', link, 'hi')
    await as('Alice', 'get')
    expect(await as('Alice', 'contact', 'ignore', 'Bob')).toMatchObject({ code: 0, out: 'ignored Bob\n' })
    expect(await as('Alice', 'contact', 'ignore', 'Bob')).toMatchObject({ code: 1 })
    await as('Bob', 'send', 'alice', 'are you there?')
    expect((await as('Alice', 'get')).out).toBe('Bob (not in your contacts) wants to talk: "are you there?"\n')
  })

  test('of a blocked person is dropped, and so is everything of a blocked contact, until they are unblocked', async () => {
    const link = await begin('Alice')
    await begin('Bob')
    await as('Bob', 'send', link, 'hi')
    await as('Alice', 'get')
    expect(await as('Alice', 'contact', 'block', 'bob')).toMatchObject({ code: 0, out: 'blocked Bob\n' })
    await as('Bob', 'send', 'alice', 'are you there?')
    expect(await as('Alice', 'get')).toMatchObject({ code: 0, out: '' })
    expect(await as('Alice', 'contact', 'requests')).toMatchObject({ out: '' })
    expect((await as('Alice', 'contact', 'list')).out).toMatch(/^Bob {2}SHA256:\S+ {2}not in your contacts, blocked\n$/)
    expect(await as('Alice', 'contact', 'unblock', 'bob')).toMatchObject({ code: 0, out: 'unblocked Bob\n' })
    await as('Bob', 'send', 'alice', 'now?')
    expect((await as('Alice', 'get')).out).toContain('wants to talk: "now?"')
    await as('Alice', 'contact', 'accept', 'bob')
    await as('Alice', 'contact', 'block', 'bob')
    expect((await as('Alice', 'contact', 'list')).out).toContain('not verified, blocked')
    expect(await as('Alice', 'send', 'bob', 'x')).toMatchObject({ code: 1, err: expect.stringContaining('you block Bob') as string })
    const unconfirmed = await as('Bob', 'send', 'alice', 'hello?', '--wait', '1')
    expect(unconfirmed.err).toContain('no receipt within 1 second')
    expect(await as('Alice', 'get')).toMatchObject({ code: 0, out: '' })
    await as('Alice', 'contact', 'unblock', 'bob')
    await as('Bob', 'send', 'alice', 'friends again')
    expect((await as('Alice', 'get')).out).toBe('Bob: friends again\n')
  })

  test('of a 65th person stays at the relay until there is room; beyond that, strangers do not hold up contacts', async () => {
    await begin('Alice')
    await as('Alice', 'contact', 'add', await begin('Bob'))
    await as('Bob', 'contact', 'add', await begin('Alice'))
    const { generatePrivateKey } = await import('../../../src/auth/private-key.ts')
    const strangers = Array.from({ length: 66 }, () => identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file))))
    for (const [n, each] of strangers.entries()) {
      const card = await makeCard(each, { name: `Stranger${n}`, relays: [`localhost:${relay.port}`], time: 1_800_000_000 })
      await put(each, [text(`hi ${n}`)], card.link)
    }
    const first = (await as('Alice', 'get')).out.trimEnd().split('\n')
    expect(first).toHaveLength(64)
    await as('Bob', 'send', 'Alice', 'from a contact')
    expect((await as('Alice', 'get')).out).toBe('Bob: from a contact\n')
    await as('Alice', 'contact', 'ignore', 'Stranger0')
    await as('Alice', 'contact', 'ignore', 'Stranger1')
    expect((await as('Alice', 'get')).out.trimEnd().split('\n')).toEqual([
      'Stranger64 (not in your contacts) wants to talk: "hi 64"',
      'Stranger65 (not in your contacts) wants to talk: "hi 65"',
    ])
  }, 120_000)

  test('with a group joins the group when it is accepted', async () => {
    const alices = await parseCard(await begin('Alice'))
    const bobs = await parseCard(await begin('Bob'))
    const facts = { name: 'Tea', version: 1, time: 1_800_000_000, members: [bobs, alices] }
    const group = await makeGroup(identity('Bob'), { ...facts, id: makeGroupId(identity('Bob').key) })
    await put(identity('Bob'), [{ type: 'group', card: group.text }])
    expect((await as('Alice', 'get')).out).toBe('Bob (not in your contacts) wants to talk, and invites you to the group Tea\n')
    expect((await as('Alice', 'group', 'list')).out).toBe('')
    expect((await as('Alice', 'contact', 'accept', 'bob')).err).toContain('you are in Tea; `asfaleia group leave Tea` leaves it')
    expect((await as('Alice', 'group', 'list')).out).toContain('Tea  ')
  })

  test('is seen by a running chat and by get at once, and one command decides in both', async () => {
    const link = await begin('Alice')
    await begin('Bob')
    const chat = stay('Alice', 'chat', '--plain')
    await until(chat, /connected to/)
    await as('Bob', 'send', link, 'hi')
    await until(chat, /Bob \(not in your contacts\) wants to talk: "hi"/)
    expect(chat.out()).not.toContain('\u{7}')
    expect((await as('Alice', 'get')).out).toBe('Bob (not in your contacts) wants to talk: "hi"\n')
    expect((await as('Alice', 'contact', 'requests')).out).toContain('wants to talk: "hi"')
    chat.stdin.write('/accept\n')
    await until(chat, /Bob is now a contact/)
    expect((await as('Alice', 'contact', 'requests')).out).toBe('')
    await as('Bob', 'send', 'alice', 'thank you')
    await until(chat, / Bob: thank you/)
  })

  test('is accepted while further messages found no room in it: the chat shows them', async () => {
    await begin('Alice')
    const card = await begin('Bob')
    const chat = stay('Alice', 'chat', '--plain')
    await until(chat, /connected to/)
    const texts = Array.from({ length: REQUESTS.messages + 2 }, (_, n) => text(`text ${n + 1}.`))
    await put(identity('Bob'), texts, card)
    await until(chat, /request of Bob: text 16\./)
    chat.stdin.write('/to Bob\n/accept\n')
    await until(chat, /Bob is now a contact/)
    await until(chat, /Bob: text 17\.[^]*Bob: text 18\./)
    await expect.poll(() => relay.relay.snapshot().messages).toBe(0)
  })

  test('ends for good when another command blocks the person while a chat runs', async () => {
    const link = await begin('Alice')
    await begin('Bob')
    const chat = stay('Alice', 'chat', '--plain')
    await until(chat, /connected to/)
    await as('Bob', 'send', link, 'hi')
    await until(chat, /Bob \(not in your contacts\) wants to talk: "hi"/)
    expect(await as('Alice', 'contact', 'block', 'bob')).toMatchObject({ code: 0 })
    expect(await as('Alice', 'contact', 'unblock', 'bob')).toMatchObject({ code: 0 })
    expect(await as('Alice', 'contact', 'requests')).toMatchObject({ code: 0, out: '' })
  })

  test('that waited before a chat began is shown by the chat', async () => {
    const link = await begin('Alice')
    await begin('Bob')
    await as('Bob', 'send', link, 'hi')
    await as('Alice', 'get')
    const chat = stay('Alice', 'chat', '--plain')
    await until(chat, /Bob \(not in your contacts\) wants to talk: "hi"/)
    chat.stdin.write('/accept\n')
    await until(chat, /Bob is now a contact/)
    expect((await as('Alice', 'contact', 'requests')).out).toBe('')
  })
})

test('an existing name needs --name, and the own link is refused', async () => {
  const link = await begin('Alice')
  await begin('Bob')
  await as('Bob', 'contact', 'add', await begin('Carol'), '--name', 'Alice')
  const refused = await as('Bob', 'send', link, 'hi')
  expect(refused).toMatchObject({ code: 1 })
  expect(refused.err).toContain('--name')
  expect(await as('Bob', 'send', link, 'hi', '--name', 'Alice of Wonderland')).toMatchObject({ code: 0 })
  expect(await as('Alice', 'send', link, 'hi')).toMatchObject({ code: 1, err: expect.stringContaining('your own card') as string })
})

test('send --card introduces a contact to another', async () => {
  await begin('Carol')
  await as('Bob', 'me', '--name', 'Bob', '--relay', `localhost:${relay.port}`)
  await as('Bob', 'contact', 'add', await begin('Alice'))
  await as('Bob', 'contact', 'add', await begin('Carol'))
  await as('Alice', 'contact', 'add', await begin('Bob'))
  expect(await as('Bob', 'send', 'alice', '--card', 'carol')).toMatchObject({ code: 0 })
  expect((await as('Alice', 'get')).out).toMatch(/^Bob: \[the card of Carol, SHA256:/)
  expect(await as('Bob', 'send', 'alice', 'x', '--card', 'carol')).toMatchObject({ code: 2 })
})

test('on a terminal, get shows when a message was written', async () => {
  await begin('Alice')
  await as('Alice', 'contact', 'add', await begin('Bob'))
  const at = Math.floor(Date.now() / 1_000)
  using client = await connectRelay({ relay: relay.address, identity: identity('Bob') })
  for (const time of [at - 86_400, at]) {
    const facts = { to: identity('Alice'), id: makeId(), time, content: text('hi') }
    await client.sendSealed(identity('Alice').key, await encodeMessage(identity('Bob'), facts))
  }
  const io = createTestIo({ ASFALEIA_HOME: home('Alice') })
  Object.assign(io.stdout, { isTTY: true })
  io.stdin.end()
  expect(await runCommand(['get'], io)).toBe(0)
  expect(io.out()).toMatch(/^Bob \d{4}-\d\d-\d\d \d\d:\d\d: hi\nBob \d\d:\d\d: hi\n$/)
  expect(io.out()).toContain(`Bob ${whenOf(at)}: hi`)
})

test('a damaged file of requests is reported, and messages come all the same', async () => {
  await begin('Alice')
  await as('Alice', 'contact', 'add', await begin('Bob'))
  await as('Bob', 'contact', 'add', await begin('Alice'))
  await as('Alice', 'get')
  writeFileSync(join(home('Alice'), 'state/requests.age'), 'nothing')
  await as('Bob', 'send', 'Alice', 'hello')
  const { out, err } = await as('Alice', 'get')
  expect(out).toBe('Bob: hello\n')
  expect(err).toContain('requests.age: the file is damaged')
})

describe('a request in words and as JSON', () => {
  const MESSAGE = { id: makeId(), time: 1_800_000_000, text: '' }

  test('holds the text, the group and the time of its end only if there are some', async () => {
    const village = createVillage()
    closers.push(() => village.remove())
    const [bob, alice] = [await village.add('bob'), await village.add('alice')]
    const request = { card: bob.card, messages: [], at: 0 }
    const described = (more: object): object => describeRequest(request, { ...MESSAGE, ...more })
    const plain = {
      verdict: 'genuine',
      request: true,
      from: { fingerprint: bob.fingerprint, key: formatKey(bob.card.key) },
      called: 'bob',
      id: MESSAGE.id,
      time: '2027-01-15T08:00:00Z',
      link: bob.card.link,
    }
    expect(described({})).toStrictEqual(plain)
    expect(described({ text: 'hello' })).toStrictEqual({ ...plain, text: 'hello' })
    expect(described({ called: 'tea' })).toStrictEqual({ ...plain, group: { called: 'tea' } })
    expect(described({ expires: 60 })).toStrictEqual({ ...plain, expires: 60 })
    const line = (more: object, when?: string): string => formatRequest(request, { ...MESSAGE, ...more }, alice.people.book, when)
    expect(line({})).toBe('bob (not in your contacts) wants to talk')
    expect(line({ text: 'hello\nyou\n', called: 'tea' }, 'at 12:00')).toBe(
      'bob (not in your contacts) at 12:00 wants to talk, and invites you to the group tea: "hello\n  you"',
    )
  })

  test('is found by the name on its card or its fingerprint, unless several people have the name', async () => {
    const village = createVillage()
    closers.push(() => village.remove())
    const people = [await village.add('Bob'), await village.add('bob'), await village.add('carol')]
    const requests = people.map(({ card }) => ({ card, messages: [], at: 0 }))
    expect(findRequest(requests, 'Carol')).toBe(requests[2])
    expect(findRequest(requests, people[1]!.fingerprint)).toBe(requests[1])
    expect(() => findRequest(requests, 'BOB')).toThrow(
      `several people call themselves BOB: ${people[0]!.fingerprint}, ${people[1]!.fingerprint}`,
    )
    expect(findRequest(requests, 'dave')).toBeUndefined()
    expect(() => needRequest(requests, 'carl')).toThrow('no contact request matches carl; did you mean "carol"?')
    expect(needRequest(requests, 'carol')).toBe(requests[2])
  })
})
