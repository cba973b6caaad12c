/**
 * `send`, `get` and `group` with profiles: each message is shown with its verdict, and a file arrives whole or
 * not at all.
 */
import { once } from 'node:events'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { generatePrivateKey, parsePrivateKey } from '../../../src/auth/private-key.ts'
import { runCommand } from '../../../src/cli/command.ts'
import { makeCard, parseCard } from '../../../src/client/format/card.ts'
import { createKeyTeller, createMoveTeller } from '../../../src/cli/talk/talk.ts'
import { connectRelay } from '../../../src/client/wire/connect.ts'
import { open as openSealed, seal } from '../../../src/client/format/envelope.ts'
import { makeId } from '../../../src/client/format/field.ts'
import { makeGroup, makeGroupId } from '../../../src/client/format/group.ts'
import { type Identity, identityOf } from '../../../src/client/format/identity.ts'
import type { Content } from '../../../src/client/format/content.ts'
import { encodeMessage } from '../../../src/client/format/message.ts'
import { sign } from '../../../src/client/format/signed.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { run } from '../../support/process.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

let root: string
let relay: TestRelay
const closers: (() => unknown)[] = []
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-talk-'))
  relay = await startTestRelay({ memory: 2 ** 24 })
  closers.push(() => relay.close())
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(root, { recursive: true })
})

const home = (who: string): string => join(root, who)
const as = (who: string, argv: readonly string[], input?: string): Promise<Outcome> =>
  asfaleia(argv, { env: { ASFALEIA_HOME: home(who) }, ...(input !== undefined && { input }) })
/** People whose SSH keys a relay may know, so that tests can write to the mailboxes of those keys. */
async function meet(...people: string[]): Promise<void> {
  const links = new Map<string, string>()
  for (const who of people)
    links.set(who, (await as(who, ['me', '--name', who, '--relay', `localhost:${relay.port}`, '--public', 'yes'])).out.trim())
  for (const who of people)
    for (const [other, link] of links) if (other !== who) expect(await as(who, ['contact', 'add', link])).toMatchObject({ code: 0 })
}
const identity = (who: string): Identity => identityOf(parsePrivateKey(readFileSync(join(home(who), 'key'))))
const parse = (out: string): Record<string, unknown>[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
/** Starts a command that runs until it is interrupted. */
function stay(who: string, argv: readonly string[]): { io: TestIo; code: Promise<number> } {
  const io = createTestIo({ ASFALEIA_HOME: home(who) })
  io.stdin.end()
  const code = runCommand(argv, io)
  closers.push(async () => {
    io.interrupt()
    await code
  })
  return { io, code }
}
/** Puts payloads into `to`'s mailbox, sent by `from`. */
async function put(from: string, to: string, ...payloads: Uint8Array[]): Promise<void> {
  using client = await connectRelay({ relay: relay.address, identity: identity(from) })
  for (const payload of payloads) await client.sendSealed(identity(to).key, payload)
}
const message = (
  from: Identity,
  to: Identity,
  content: Content,
  more: { time?: number; id?: string; group?: string } = {},
): Promise<Uint8Array> => encodeMessage(from, { to, id: makeId(), time: Math.floor(Date.now() / 1_000), content, ...more })
const text = (words: string): Content => ({ type: 'text', text: words })

test.each([
  ['get', '--follow'],
  ['send', 'bob', 'hello'],
  ['send', 'bob', '--file', '/etc/hostname'],
  ['chat', '--plain'],
])('the client gives tor the key of an onion service before dialling in %s %s', async (...argv) => {
  const onion = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
  const told = Promise.withResolvers<string>()
  const tor = createServer((socket) => {
    socket.setEncoding('latin1').on('data', (line: string) => {
      if (line.startsWith('ONION_CLIENT_AUTH_ADD')) told.resolve(line.trim())
      socket.write(line.startsWith('PROTOCOLINFO') ? '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n' : '250 OK\r\n')
    })
  }).listen(0, '127.0.0.1')
  await once(tor, 'listening')
  closers.push(() => tor.close())
  const link = (await as('Bob', ['me', '--name', 'Bob', '--relay', onion, '--link'])).out.trim()
  await as('Alice', ['me', '--name', 'Alice', '--relay', onion])
  await as('Alice', ['contact', 'add', link])
  const env = {
    ASFALEIA_HOME: home('Alice'),
    ASFALEIA_TOR_CONTROL: `127.0.0.1:${(tor.address() as AddressInfo).port}`,
    ASFALEIA_SOCKS: '127.0.0.1:1',
  }
  mkdirSync(join(home('Alice'), 'onions'))
  writeFileSync(join(home('Alice'), 'onions', onion), `${onion.slice(0, 56)}:descriptor:x25519:${'A'.repeat(51)}Q\n`)
  const io = createTestIo(env)
  const code = runCommand(argv, io)
  expect(await told.promise).toMatch(new RegExp(`^ONION_CLIENT_AUTH_ADD ${onion.slice(0, 56)} x25519:[A-Za-z0-9+/]{43}=$`))
  io.interrupt()
  await code
})

test('repeated notices that a relay is moving are printed only a few times', () => {
  const io = createTestIo({})
  const tell = createMoveTeller(io)
  for (let n = 0; n < 100; n++) tell({ kind: 'moved', relay: 'localhost', name: `name${n % 50}` })
  expect(
    io
      .err()
      .split('\n')
      .filter((line) => line.includes('is moving')),
  ).toHaveLength(8)
})

test('says what happened to keys and what to do, each once', () => {
  const io = createTestIo({})
  const tell = createKeyTeller(io)
  const { key } = identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))
  const contact = { name: 'Bob B', key, relays: [] }
  for (let n = 0; n < 3; n++) {
    tell({ kind: 'ring', event: 'unproven', contact })
    tell({ kind: 'ring', event: 'two-clients', contact })
    tell({ kind: 'other-bundle', relay: 'localhost' })
  }
  for (let n = 0; n < 2; n++) tell({ kind: 'ring', event: 'anew', contact })
  expect(io.err().split('\n')).toEqual([
    'asfaleia: a message says that Bob B lost all keys, without a proof: another person may have the SSH key of Bob B',
    "asfaleia: hint: ask Bob B on a call; only if it is true: `asfaleia contact accept 'Bob B'`",
    'asfaleia: two programs write with the SSH key of Bob B: a second device, or another person who has the key',
    'asfaleia: hint: ask Bob B on a call whether they use two devices',
    'asfaleia: another program has your inbox key: your second device, or a thief of your profile',
    'asfaleia: hint: if you use one device, and restored no old copy of your profile: delete its file `inbox`, run `asfaleia me`, and give out the new card',
    ...Array(2).fill('asfaleia: Bob B lost their one-time keys, or uses another device; messages that they did not confirm are sent again'),
    '',
  ])
})

test('a foreign card cannot make the user dial their own machine', async () => {
  const onion = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
  expect(await as('Alice', ['me', '--name', 'Alice', '--relay', onion])).toMatchObject({ code: 0 })
  const link = (await as('Mallory', ['me', '--name', 'Mallory', '--relay', `localhost:${relay.port}`, '--link'])).out.trim()
  expect(await as('Alice', ['contact', 'add', link])).toEqual({
    code: 1,
    out: '',
    err: expect.stringMatching(
      /names localhost, which is this machine.*\nasfaleia: hint: ask for a card with their onion address/,
    ) as string,
  })
  // Mallory also puts such a card into a group.
  const card = await parseCard(link)
  const own = await parseCard((await as('Alice', ['me', '--text'])).out)
  const group = await makeGroup(identity('Mallory'), { id: makeId(), name: 'Trap', version: 1, time: card.time, members: [card, own] })
  mkdirSync(join(home('Alice'), 'groups'))
  writeFileSync(join(home('Alice'), 'groups', 'Trap'), group.text)
  expect(await as('Alice', ['send', 'Trap', 'hello'])).toMatchObject({
    code: 1,
    err: expect.stringContaining('the contact has no relay') as string,
  })
  expect(relay.relay.snapshot().messages).toBe(0)
})

describe('a message', () => {
  test("goes to a contact by name in any case, and shows the sender's name", async () => {
    await meet('Alice', 'Bob')
    expect(await as('Alice', ['send', 'bob', 'one'])).toEqual({ code: 0, out: 'stored by a relay for up to 7 days\n', err: '' })
    expect(await as('Alice', ['send', 'BOB'], 'two\nBob: not by Bob\n')).toMatchObject({ code: 0 })
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: 'Alice: one\nAlice: two\n  Bob: not by Bob\n', err: '' })
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: '', err: 'asfaleia: no messages wait\n' })
    // Alice's `get` takes the receipt that Bob's `get` sent, and shows no message for it.
    expect(await as('Alice', ['get'])).toEqual({ code: 0, out: '', err: 'asfaleia: no messages wait\n' })
    expect(relay.relay.snapshot().messages).toBe(0)
  })

  test('is at both relays when the command ends, if its receiver has addresses at two', async () => {
    const second = await startTestRelay({ memory: 2 ** 24 })
    closers.push(() => second.close())
    const links = ['Alice', 'Bob'].map(async (who) => {
      const relays = [relay, second].flatMap(({ port }) => ['--relay', `localhost:${port}`])
      const { out } = await as(who, ['me', '--name', who, ...relays, '--public', 'no'])
      appendFileSync(join(home(who), 'profile'), 'copies: 2\n')
      return out.trim()
    })
    const [alice, bob] = await Promise.all(links)
    expect(await as('Alice', ['contact', 'add', bob!])).toMatchObject({ code: 0 })
    expect(await as('Bob', ['contact', 'add', alice!])).toMatchObject({ code: 0 })
    expect(await as('Bob', ['send', 'alice', 'hello'])).toMatchObject({ code: 0 })
    expect(await as('Alice', ['get'])).toMatchObject({ code: 0, out: 'Bob: hello\n' })
    expect(await as('Bob', ['get'])).toMatchObject({ code: 0, out: '' })
    expect(await as('Alice', ['send', 'bob', 'one'])).toMatchObject({ code: 0 })
    expect([relay, second].map((each) => each.relay.snapshot().messages)).toEqual([1, 1])
    expect(await as('Bob', ['get'])).toMatchObject({ code: 0, out: 'Alice: one\n' })
  })

  test('sent with --wait is reported as delivered once its receiver has it', async () => {
    await meet('Alice', 'Bob')
    const bob = stay('Bob', ['get', '--follow', '--json'])
    expect(await as('Alice', ['send', 'bob', 'hello', '--wait'])).toEqual({ code: 0, out: 'delivered\n', err: '' })
    expect(parse(bob.io.out())).toMatchObject([{ verdict: 'genuine', from: { name: 'Alice' }, type: 'text', text: 'hello' }])
    const again = parse((await as('Alice', ['send', 'bob', 'answer me', '--wait=60', '--json'])).out)
    expect(again).toMatchObject([{ to: 'Bob', state: 'delivered' }])
  })

  test('from standard input is sent if a number follows --wait, which is the time to wait', async () => {
    await meet('Alice', 'Bob')
    expect(await as('Alice', ['send', 'bob', '--wait', '0.5'], 'from a pipe')).toMatchObject({
      code: 75,
      out: 'stored by a relay for up to 7 days\n',
    })
    expect((await as('Bob', ['get'])).out).toBe('Alice: from a pipe\n')
  })

  test('without a receipt is not reported as delivered', async () => {
    await meet('Alice', 'Bob')
    expect(await as('Alice', ['send', 'bob', 'hello', '--wait=0.5'])).toMatchObject({
      code: 75,
      out: 'stored by a relay for up to 7 days\n',
      err: expect.stringContaining('no receipt within') as string,
    })
    writeFileSync(join(home('Bob'), 'contacts/Alice'), `${readFileSync(join(home('Bob'), 'contacts/Alice'), 'utf8')}receipts: no\n`)
    expect((await as('Bob', ['get'])).out).toBe('Alice: hello\n')
    expect(relay.relay.snapshot().messages).toBe(0)
  })

  test('that no relay accepts is kept encrypted in the outbox, and sent by the next command with --outbox', async () => {
    await meet('Alice', 'Bob')
    const { port } = relay
    await relay.close()
    closers.pop()
    expect(await as('Alice', ['send', 'bob', 'lost?'])).toMatchObject({
      code: 69,
      out: '',
      err: expect.stringContaining('nothing listens at the address of the relay') as string,
    })
    const kept = await as('Alice', ['send', 'bob', 'kept-text', '--outbox'])
    expect(kept).toMatchObject({ code: 75, out: 'kept in the outbox, not sent yet\n' })
    const path = join(home('Alice'), 'state/outbox.age')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readFileSync(path, 'latin1')).toMatch(/^age-encryption\.org\/v1\n/)
    expect(Buffer.from((await openSealed(identity('Alice'), readFileSync(path)))!).toString()).toMatch(/^asfaleia-outbox\/1\n\{[^\n]*\}\n$/)
    relay = await startTestRelay({ port })
    closers.push(() => relay.close())
    // The relay has lost the recipient of the day, until Bob is online again.
    expect((await as('Bob', ['get'])).out).toBe('')
    expect(await as('Alice', ['get', '--outbox'])).toMatchObject({ code: 0 })
    expect((await as('Bob', ['get'])).out).toBe('Alice: kept-text\n')
    // Once confirmed, it is no longer in the outbox.
    expect(await as('Alice', ['get', '--outbox'])).toMatchObject({ code: 0 })
    expect(readdirSync(join(home('Alice'), 'state'))).toEqual(['ring', 'secrets.age', 'seen'])
  }, 60_000)

  test('is not sent if another process has the outbox, or if the outbox file is foreign', async () => {
    await meet('Alice', 'Bob')
    const lock = join(home('Alice'), 'state/outbox.lock')
    writeFileSync(lock, `${process.ppid}\n`)
    expect(await as('Alice', ['send', 'bob', 'x', '--outbox'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('is using the outbox') as string,
    })
    // The lock of a dead process is stale.
    writeFileSync(lock, '999999999\n')
    writeFileSync(join(home('Alice'), 'state/outbox.age'), 'mine')
    expect(await as('Alice', ['send', 'bob', 'x', '--outbox'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/outbox\.age: the file is damaged/) as string,
    })
    expect(readFileSync(join(home('Alice'), 'state/outbox.age'), 'utf8')).toBe('mine')
    expect(readdirSync(join(home('Alice'), 'state'))).toEqual(['outbox.age', 'secrets.age', 'seen'])
  })
})

describe('on a full disk', () => {
  // A file size limit of 0 has the effect of a full disk.
  const get = (): ReturnType<typeof run> =>
    run(['sh', '-c', 'ulimit -f 0; exec "$@"', 'sh', process.execPath, join(import.meta.dirname, '../../../src/cli/main.ts'), 'get'], {
      env: { ASFALEIA_HOME: home('Bob') },
    })

  test('get shows all messages, says why, and acknowledges those alone that need no write', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = ['Alice', 'Bob'].map(identity) as [Identity, Identity]
    await put('Alice', 'Bob', await message(alice, bob, text('one')), await message(alice, bob, text('two')), Buffer.from('junk'))
    expect(await get()).toMatchObject({
      code: 1,
      stdout: 'Alice: one\nAlice: two\n',
      stderr: expect.stringMatching(
        /^(?=.*the disk is full)(?=.*cannot decrypt).*asfaleia: error: 2 messages stay at the relay and will come again\nasfaleia: hint: make room on the disk\n$/s,
      ) as string,
    })
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: 'Alice: one\nAlice: two\n', err: '' })
    expect((await as('Bob', ['get'])).err).toContain('no messages wait')
  })

  test('get acknowledges all messages if it keeps nothing', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = ['Alice', 'Bob'].map(identity) as [Identity, Identity]
    appendFileSync(join(home('Bob'), 'profile'), 'seen: no\n')
    await put('Alice', 'Bob', await message(alice, bob, text('one')))
    expect(await get()).toMatchObject({ code: 0, stdout: 'Alice: one\n', stderr: '' })
    expect((await as('Bob', ['get'])).err).toContain('no messages wait')
  })

  test('get leaves the outbox alone, and says so', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = ['Alice', 'Bob'].map(identity) as [Identity, Identity]
    appendFileSync(join(home('Bob'), 'profile'), 'seen: no\noutbox: yes\n')
    await put('Alice', 'Bob', await message(alice, bob, text('one')))
    expect(await get()).toMatchObject({
      code: 0,
      stdout: 'Alice: one\n',
      stderr: expect.stringContaining('leaves the outbox alone') as string,
    })
  })
})

describe('a wrong clock', () => {
  test('of this machine is suspected if two contacts agree, and no stranger counts', async () => {
    await meet('Alice', 'Bob', 'Eve')
    const [alice, bob, eve] = ['Alice', 'Bob', 'Eve'].map(identity) as [Identity, Identity, Identity]
    const time = Math.floor(Date.now() / 1_000) + 2 * 86_400 + 60
    const mallory = identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))
    await put('Eve', 'Bob', await message(mallory, bob, text('hi'), { time }), await message(alice, bob, text('hi'), { time }))
    expect((await as('Bob', ['get'])).err).toBe('')
    await put('Eve', 'Bob', await message(alice, bob, text('you'), { time }), await message(eve, bob, text('too'), { time }))
    expect((await as('Bob', ['get'])).err).toMatch(
      /^asfaleia: the messages of several contacts are dated 2 days in the future; check the clock of this machine: it says 20\S+ \S+ UTC\n$/,
    )
  })

  test('that ran ahead once makes the messages of one command old, and no later ones', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = ['Alice', 'Bob'].map(identity) as [Identity, Identity]
    await put('Alice', 'Bob', await message(alice, bob, text('before')))
    expect((await as('Bob', ['get'])).out).toBe('Alice: before\n')
    const path = join(home('Bob'), 'state/seen')
    writeFileSync(path, readFileSync(path, 'utf8').replace('\n', `\nsince ${Math.floor(Date.now() / 1_000) + 15 * 86_400}\n`))
    await put('Alice', 'Bob', await message(alice, bob, text('between'), { time: Math.floor(Date.now() / 1_000) - 60 }))
    const { out, err } = await as('Bob', ['get'])
    expect(out).toMatch(/^Alice \[old, .*\]: between\n$/)
    expect(err).toMatch(/^asfaleia: the clock of this machine was wrong before/)
    await put('Alice', 'Bob', await message(alice, bob, text('after'), { time: Math.floor(Date.now() / 1_000) + 1 }))
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: 'Alice: after\n', err: '' })
  })
})

describe('get shows a message', () => {
  test('with its verdict: forged, readdressed, replayed, future, stale, unsigned, truncated, unknown-version or unreadable', async () => {
    await meet('Alice', 'Bob', 'Eve')
    const [alice, bob, eve] = ['Alice', 'Bob', 'Eve'].map(identity) as [Identity, Identity, Identity]
    const now = Math.floor(Date.now() / 1_000)
    const open = async (payload: Uint8Array, who: Identity): Promise<string> => Buffer.from((await openSealed(who, payload))!).toString()
    const sealed = (words: string): Promise<Uint8Array> => seal(bob.key, Buffer.from(words))
    const good = await message(alice, bob, text('good'))
    const other = await open(await message(alice, bob, text('by Alice?')), bob)
    // Eve puts her own words above Alice's signature, and forwards a message that Alice wrote to her.
    const forged = await sealed(other.replace('by Alice?', 'by Alice!'))
    const passedOn = await sealed(await open(await message(alice, eve, text('for Eve')), eve))
    const ahead = await message(alice, bob, text('from tomorrow'), { time: now + 86_400 })
    const old = await message(alice, bob, text('from last month'), { time: now - 30 * 86_400 })
    const cut = await sealed(other.trimEnd().slice(0, -60))
    const later = await sealed(other.replace('asfaleia-message/1', 'asfaleia-message/2'))
    await put(
      'Eve',
      'Bob',
      good,
      forged,
      passedOn,
      ahead,
      old,
      await sealed('by age alone'),
      cut,
      later,
      Buffer.from('junk'),
      await message(eve, bob, { type: 'unknown', name: 'poll', body: Buffer.from('yes?') }),
    )
    const { code, out, err } = await as('Bob', ['get'])
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      'Alice: good',
      '[forged: it claims to be from Alice, but is not]: by Alice!',
      '[written by Alice to someone else, and passed on by a stranger]: for Eve',
      expect.stringMatching(/^Alice \[dated in the future, 20\S+Z: their clock or yours is wrong\]: from tomorrow$/),
      expect.stringMatching(/^Alice \[old, from 20\S+Z: it may be a replay\] \[late: newer messages came before it\]: from last month$/),
      '[unsigned: anyone may have written this]: by age alone',
      'Eve: [a message of a type that this version does not know: poll]',
      '',
    ])
    expect(err.trimEnd().split('\n').toSorted()).toEqual([
      'asfaleia: dropped a message of a version that this program does not know',
      'asfaleia: dropped a message that this key cannot decrypt',
      'asfaleia: dropped a message that was cut off',
    ])
    // Another process recognizes a replay only by its stored tag.
    expect(readFileSync(join(home('Bob'), 'state/seen'), 'utf8')).toMatch(/^asfaleia-seen\/1\n(?:[\w-]{22} \d+\n)+$/)
    await put('Eve', 'Bob', good)
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: '', err: 'asfaleia: no messages wait\n' })
    await put('Eve', 'Bob', good, forged)
    expect(parse((await as('Bob', ['get', '--json'])).out)).toMatchObject([
      { verdict: 'replayed', from: { name: 'Alice' } },
      { verdict: 'forged', claimed: { name: 'Alice' }, text: 'by Alice!' },
    ])
  }, 60_000)

  test('that is an edit, a removal or a card in a readable form, without terminal control', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = ['Alice', 'Bob'].map(identity) as [Identity, Identity]
    const id = makeId()
    const carol = (await as('Carol', ['me', '--name', 'Carol', '--relay', 'localhost', '--text'])).out
    const payloads = [
      text('\u{1b}[2Jclear\u{202e}'),
      { type: 'edit', of: id, text: 'new' },
      { type: 'remove', of: id },
      { type: 'card', card: carol },
      { type: 'card', card: carol.replace('Carol', 'Karl') },
    ] satisfies Content[]
    await put('Alice', 'Bob', ...(await Promise.all(payloads.map((content) => message(alice, bob, content)))))
    const { out } = await as('Bob', ['get'])
    const lines = out.trimEnd().split('\n')
    expect(lines.slice(0, 3)).toEqual(['Alice: \\u{1b}[2Jclear\\u{202e}', `Alice: [replaces ${id}] new`, `Alice: [removes ${id}]`])
    expect(lines[4]).toBe('Alice: [an invalid card]')
    const link = /asfaleia contact add '(\S+)'/.exec(lines[3]!)![1]!
    expect(await as('Bob', ['contact', 'add', link])).toMatchObject({ code: 0, out: expect.stringMatching(/^added Carol /) as string })
  })

  test('although one of several relays is down, which it reports', async () => {
    await meet('Alice', 'Bob')
    await as('Alice', ['send', 'bob', 'hello'])
    const { code, out, err } = await as('Bob', ['get', '--relay', '127.0.0.1:1', '--relay', `localhost:${relay.port}`])
    expect({ code, out, err }).toEqual({
      code: 0,
      out: 'Alice: hello\n',
      err: 'asfaleia: 127.0.0.1:1: nothing listens at the address of the relay\n',
    })
  })

  test('only if its state is intact: a broken state is reported and left untouched', async () => {
    await meet('Alice', 'Bob')
    await as('Alice', ['send', 'bob', 'hello'])
    writeFileSync(join(home('Bob'), 'state/seen'), 'mine')
    expect(await as('Bob', ['get'])).toMatchObject({ code: 1, out: '', err: expect.stringContaining('state/seen') as string })
    expect(readFileSync(join(home('Bob'), 'state/seen'), 'utf8')).toBe('mine')
    expect(relay.relay.snapshot().messages).toBe(1)
  })
})

describe('a name', () => {
  /** Stores a contact as an older version did, under a name that cannot be chosen any more. */
  async function store(who: string, other: string, name: string): Promise<void> {
    const link = (await as(other, ['me', '--name', other, '--relay', `localhost:${relay.port}`, '--link'])).out.trim()
    writeFileSync(join(home(who), 'contacts', name), (await parseCard(link)).text)
  }
  const say = async (who: string, to: string, words = 'hi'): Promise<void> =>
    put(who, to, await message(identity(who), identity(to), text(words)))

  test('cannot imitate a line of another sender, or of a group', async () => {
    await meet('Alice', 'Bob')
    const names = ['Alice: hi', 'Alice [verified]: hi', 'Alice in Friends', 'Alice✓', 'Alice⠀', 'you']
    for (const [n, name] of names.entries()) {
      await store('Bob', `Mallory ${n}`, name)
      await say(`Mallory ${n}`, 'Bob')
    }
    const shown = [
      String.raw`"Alice\u{3a} hi"`,
      String.raw`"Alice \u{5b}verified\u{5d}\u{3a} hi"`,
      '"Alice in Friends"',
      String.raw`"Alice\u{2713}"`,
      String.raw`"Alice\u{2800}"`,
      '"you"',
    ]
    expect((await as('Bob', ['get'])).out).toBe(shown.map((name) => `${name}: hi\n`).join(''))
    const list = await as('Bob', ['contact', 'list'])
    for (const name of shown) expect(list.out).toContain(`\n${name} `)
    expect(list.err).toContain('contact rename')
    // They can be used and renamed all the same.
    expect(await as('Bob', ['contact', 'rename', names[0]!, 'Mallory'])).toMatchObject({ code: 0, out: 'renamed to Mallory\n' })
    await say('Mallory 0', 'Bob')
    expect((await as('Bob', ['get'])).out).toBe('Mallory: hi\n')
  }, 60_000)

  test('that looks like another carries a mark wherever it is shown', async () => {
    await meet('Alice', 'Bob', 'Carol')
    await store('Bob', 'Mallory', '\u{410}lice')
    await say('Mallory', 'Bob')
    await say('Alice', 'Bob')
    await say('Carol', 'Bob')
    expect((await as('Bob', ['get'])).out).toBe('\u{410}lice [looks like Alice]: hi\nAlice [looks like \u{410}lice]: hi\nCarol: hi\n')
    expect((await as('Bob', ['contact', 'list'])).out).toMatch(
      /^Alice \[looks like \u{410}lice\] .*\nCarol .*\n\u{410}lice \[looks like Alice\] /u,
    )
    // A card that a contact passes on, and the members of a group.
    const [mallory, bob, carol] = [identity('Mallory'), identity('Bob'), identity('Carol')]
    const false_ = await makeCard(carol, { name: 'ALICE', relays: ['localhost'], time: Math.floor(Date.now() / 1_000) })
    const own = await parseCard((await as('Bob', ['me', '--text'])).out)
    const group = await makeGroup(carol, { id: makeId(), name: 'Alice', version: 1, time: own.time, members: [false_, own] })
    await put('Mallory', 'Bob', await message(mallory, bob, { type: 'card', card: false_.text }))
    await put('Carol', 'Bob', await message(carol, bob, { type: 'group', card: group.text }, { group: group.id }))
    await as('Bob', ['contact', 'remove', 'Carol'])
    await as('Bob', ['contact', 'remove', '\u{410}lice'])
    await store('Bob', 'Mallory', 'Mallory')
    const { out } = await as('Bob', ['get'])
    expect(out).toContain('Mallory: [the card of ALICE [looks like Alice], SHA256:')
    expect(out).toContain('ALICE [looks like Alice] (not in your contacts) wants to talk, and invites you to the group Alice\n')
  }, 60_000)

  test('of a group cannot put words into the mouth of a member', async () => {
    await meet('Alice', 'Bob')
    const [alice, bob] = [identity('Alice'), identity('Bob')]
    const members = await Promise.all(['Alice', 'Bob'].map(async (who) => parseCard((await as(who, ['me', '--text'])).out)))
    const name = 'Friends: I agree. P.S'
    const group = await makeGroup(alice, { id: makeGroupId(alice.key), name, version: 1, time: members[0]!.time, members })
    await put('Alice', 'Bob', await message(alice, bob, { type: 'group', card: group.text }, { group: group.id }))
    expect(await as('Bob', ['get'])).toMatchObject({
      out: String.raw`Alice: [the group "Friends\u{3a} I agree. P.S": Alice, Bob]` + '\n',
      err: expect.stringContaining('you are in group; `asfaleia group leave group` leaves it') as string,
    })
    // As an older version stored it.
    renameSync(join(home('Bob'), 'groups/group'), join(home('Bob'), 'groups', name))
    await put('Alice', 'Bob', await message(alice, bob, text('hi'), { group: group.id }))
    expect((await as('Bob', ['get'])).out).toBe(String.raw`Alice in "Friends\u{3a} I agree. P.S": hi` + '\n')
    expect(await as('Alice', ['group', 'new', name, 'bob'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('it must not contain : (U+003A)') as string,
    })
  }, 60_000)
})

describe('a group', () => {
  // Messages to several members leave at random moments.
  beforeEach(() => void vi.spyOn(Math, 'random').mockReturnValue(0))
  afterEach(() => void vi.restoreAllMocks())

  test('can be made, written to, changed and left', async () => {
    await meet('Alice', 'Bob', 'Carol')
    expect(await as('Alice', ['group', 'new', 'Tea', 'bob'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Tea, version 1\n {2}SHA256:\S+ {2}Alice {2}made the group\n {2}SHA256:\S+ {2}Bob\n$/) as string,
    })
    expect(await as('Bob', ['get'])).toMatchObject({
      code: 0,
      out: 'Alice: [the group Tea: Alice, Bob]\n',
      err: expect.stringContaining('you are in Tea; `asfaleia group leave Tea`') as string,
    })
    expect(await as('Alice', ['group', 'add', 'tea', 'carol'])).toMatchObject({ code: 0 })
    expect((await as('Bob', ['get'])).err).toContain('the group Tea changed: Carol joined')
    expect(await as('Carol', ['get'])).toMatchObject({ code: 0 })
    const sent = await as('Bob', ['send', 'tea', 'the kettle is on'])
    expect(sent).toMatchObject({ code: 0, err: '' })
    expect(sent.out.trimEnd().split('\n').toSorted()).toEqual([
      'Alice: stored by a relay for up to 7 days',
      'Carol: stored by a relay for up to 7 days',
    ])
    for (const who of ['Alice', 'Carol']) expect(await as(who, ['get'])).toMatchObject({ code: 0, out: 'Bob in Tea: the kettle is on\n' })
    expect(await as('Bob', ['group', 'add', 'tea', 'carol'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('only the maker of a group can change it') as string,
    })
    expect(await as('Carol', ['group', 'leave', 'Tea'])).toMatchObject({ code: 0, out: 'left Tea\n' })
    for (const who of ['Alice', 'Bob']) expect((await as(who, ['get'])).out).toBe('Carol in Tea: [left the group]\n')
    expect((await as('Bob', ['group', 'show', 'Tea'])).out).toMatch(/Carol {2}left\n/)
    expect((await as('Bob', ['send', 'tea', 'just us'])).out).toBe('stored by a relay for up to 7 days\n')
    expect((await as('Alice', ['get'])).out).toBe('Bob in Tea: just us\n')
    expect(await as('Alice', ['group', 'remove', 'Tea', 'carol'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Tea, version 3\n/) as string,
    })
    expect((await as('Bob', ['get'])).err).toContain('Carol left')
    expect(parse((await as('Bob', ['group', 'list', '--json'])).out)).toMatchObject([
      { name: 'Tea', version: 3, members: [{ name: 'Alice' }, { name: 'Bob' }] },
    ])
  }, 120_000)

  test('cannot be changed by a stranger or by a member who did not make it', async () => {
    await meet('Alice', 'Bob')
    await as('Alice', ['group', 'new', 'Tea', 'bob'])
    await as('Bob', ['get'])
    const before = readFileSync(join(home('Bob'), 'groups/Tea'), 'utf8')
    // Mallory forwards the same group, and sends one of her own.
    await meet('Mallory', 'Bob')
    await as('Bob', ['contact', 'remove', 'Mallory'])
    await as('Mallory', ['group', 'new', 'Tea', 'Bob'])
    await put(
      'Mallory',
      'Bob',
      await message(identity('Mallory'), identity('Bob'), { type: 'group', card: before }, { group: /^id: (\S+)$/m.exec(before)![1]! }),
    )
    const { out } = await as('Bob', ['get'])
    expect(out).toMatch(/^Mallory \(not in your contacts\) wants to talk, and invites you to the group Tea$/m)
    expect(readdirSync(join(home('Bob'), 'groups'))).toEqual(['Tea'])
    expect(readFileSync(join(home('Bob'), 'groups/Tea'), 'utf8')).toBe(before)
  }, 60_000)

  test('has an id that no other maker can take, even before its own list arrives', async () => {
    await meet('Alice', 'Bob', 'Mallory')
    const [alice, bob, mallory] = [identity('Alice'), identity('Bob'), identity('Mallory')]
    const cards = await Promise.all(['Alice', 'Bob', 'Mallory'].map(async (who) => parseCard((await as(who, ['me', '--text'])).out)))
    const facts = { id: makeGroupId(alice.key), name: 'Tea', version: 1, time: cards[0]!.time }
    const tea = await makeGroup(alice, { ...facts, members: cards })
    await expect(makeGroup(mallory, { ...facts, members: cards })).rejects.toMatchObject({ code: 'bad-id' })
    // A client of Mallory's own makes it nevertheless.
    const other = await makeGroup(mallory, { ...facts, id: makeId(), members: cards })
    const signed = other.text.slice(0, other.text.indexOf('-----BEGIN')).replace(/^id: .*$/m, `id: ${facts.id}`)
    const stolen = Buffer.from(await sign(mallory, 'asfaleia-group', Buffer.from(signed))).toString()
    await put('Mallory', 'Bob', await message(mallory, bob, { type: 'group', card: stolen }, { group: facts.id }))
    expect(await as('Bob', ['get'])).toEqual({
      code: 0,
      out: 'Mallory: [an invalid group]\n',
      err: '',
    })
    await put('Alice', 'Bob', await message(alice, bob, { type: 'group', card: tea.text }, { group: facts.id }))
    expect((await as('Bob', ['get'])).err).toMatch(/you are in Tea(?: \(2\))?; `asfaleia group leave /)
    expect(readFileSync(join(home('Bob'), 'groups/Tea'), 'utf8')).toBe(tea.text)
  }, 60_000)

  test('of an older version, with an id that is bound to no key, is known by its id and its maker', async () => {
    await meet('Alice', 'Bob', 'Mallory')
    const [alice, mallory, bob] = [identity('Alice'), identity('Mallory'), identity('Bob')]
    const cards = await Promise.all(['Alice', 'Bob', 'Mallory'].map(async (who) => parseCard((await as(who, ['me', '--text'])).out)))
    const facts = { id: makeId(), name: 'Tea', version: 1, time: cards[0]!.time }
    const trap = await makeGroup(mallory, { ...facts, members: [cards[2]!, cards[1]!] })
    const tea = await makeGroup(alice, { ...facts, members: [cards[0]!, cards[1]!] })
    for (const [who, from, group] of [
      ['Mallory', mallory, trap],
      ['Alice', alice, tea],
    ] as const) {
      await put(who, 'Bob', await message(from, bob, { type: 'group', card: group.text }, { group: group.id }))
      expect((await as('Bob', ['get'])).err).toMatch(/you are in Tea(?: \(2\))?; `asfaleia group leave /)
    }
    expect(readdirSync(join(home('Bob'), 'groups'))).toEqual(['Tea', 'Tea (2)'])
    // Each sender's message belongs to the group that has the sender on its list.
    for (const [who, from] of [
      ['Mallory', mallory],
      ['Alice', alice],
    ] as const)
      await put(who, 'Bob', await message(from, bob, text('hi'), { group: facts.id }))
    expect((await as('Bob', ['get'])).out.split('\n').toSorted()).toEqual(['', 'Alice in Tea (2): hi', 'Mallory in Tea: hi'])
    // If both lists have the sender, the message could be of either.
    const both = await makeGroup(mallory, { ...facts, version: 2, members: [cards[2]!, cards[1]!, cards[0]!] })
    await put('Mallory', 'Bob', await message(mallory, bob, { type: 'group', card: both.text }, { group: facts.id }))
    await put('Alice', 'Bob', await message(alice, bob, text('hi'), { group: facts.id }))
    expect((await as('Bob', ['get'])).out).toContain('Alice [to a group; Tea and Tea (2) have the same id]: hi\n')
  }, 60_000)

  test('shows only messages of its members as its own', async () => {
    await meet('Alice', 'Bob', 'Carol', 'Dave', 'Mallory')
    await as('Alice', ['group', 'new', 'Tea', 'bob', 'mallory', 'dave'])
    await as('Bob', ['get'])
    const id = /^id: (\S+)$/m.exec(readFileSync(join(home('Bob'), 'groups/Tea'), 'utf8'))![1]!
    const say = async (who: string, content = text('hi')): Promise<string> => {
      await put(who, 'Bob', await message(identity(who), identity('Bob'), content, { group: id }))
      return (await as('Bob', ['get'])).out
    }
    expect(await say('Mallory')).toBe('Mallory in Tea: hi\n')
    await as('Alice', ['group', 'remove', 'Tea', 'mallory'])
    await as('Bob', ['get'])
    // Removed, and still writing to all: Mallory has not fetched the new list.
    expect(await say('Mallory')).toBe('Mallory [not in the group Tea]: hi\n')
    expect(await say('Mallory', { type: 'leave' })).toBe('Mallory [not in the group Tea]: [left the group]\n')
    // A contact who heard of the id.
    expect(await say('Carol')).toBe('Carol [not in the group Tea]: hi\n')
    await as('Bob', ['contact', 'remove', 'Carol'])
    expect(await say('Carol')).toMatch(/^SHA256:\S{43} \[not a contact\] \[not in the group Tea\]: hi\n$/)
    await put('Carol', 'Bob', await message(identity('Carol'), identity('Bob'), text('hi'), { group: id }))
    const [described] = parse((await as('Bob', ['get', '--json'])).out)
    expect(described).toMatchObject({ group: { id } })
    expect(described!['group']).not.toHaveProperty('name')
    // A member who is no contact, and a name that a forger claims.
    await as('Bob', ['contact', 'remove', 'Alice'])
    expect(await say('Alice')).toMatch(/^Alice \(SHA256:\S{43}, by the group's card\) in Tea: hi\n$/)
    const genuine = await message(identity('Alice'), identity('Carol'), text('hi'), { group: id })
    const plain = Buffer.from((await openSealed(identity('Carol'), genuine))!)
    await put('Carol', 'Bob', Buffer.from(await seal(identity('Bob').key, plain)))
    expect((await as('Bob', ['get'])).out).not.toContain('in Tea')
    // Bob himself is out of it.
    await as('Alice', ['group', 'remove', 'Tea', 'bob'])
    await as('Bob', ['contact', 'add', (await as('Alice', ['me', '--link'])).out.trim()])
    await as('Bob', ['get'])
    expect(await say('Alice')).toBe('Alice [to a group that you are not in]: hi\n')
  }, 60_000)

  test('is accepted from a contact only until there are 64', async () => {
    await meet('Mallory', 'Bob')
    const [mallory, bob] = [identity('Mallory'), identity('Bob')]
    const members = await Promise.all(['Mallory', 'Bob'].map(async (who) => parseCard((await as(who, ['me', '--text'])).out)))
    const payloads = Array.from({ length: 66 }, async (_, n) => {
      const group = await makeGroup(mallory, { id: makeId(), name: `Trap ${n}`, version: 1, time: members[0]!.time, members })
      return message(mallory, bob, { type: 'group', card: group.text }, { group: group.id })
    })
    await put('Mallory', 'Bob', ...(await Promise.all(payloads)))
    const { code, err } = await as('Bob', ['get'])
    expect(code).toBe(0)
    expect(err.split('\n').slice(-3)).toEqual(
      [64, 65]
        .map((n) => `asfaleia: the group Trap ${n} was not added: you are in 64 groups already; \`asfaleia group leave\` leaves one`)
        .concat(''),
    )
    expect(readdirSync(join(home('Bob'), 'groups'))).toHaveLength(64)
    expect(await as('Bob', ['get'])).toEqual({ code: 0, out: '', err: 'asfaleia: no messages wait\n' })
  }, 60_000)

  test('is accepted under any name, so that no group name can block messages', async () => {
    await meet('Mallory', 'Bob')
    const [mallory, bob] = [identity('Mallory'), identity('Bob')]
    const members = await Promise.all(['Mallory', 'Bob'].map(async (who) => parseCard((await as(who, ['me', '--text'])).out)))
    const names = ['Tea~', '.tea', '-rf', '../Tea', 'Bob', 'group', '\u{1f642}'.repeat(64)]
    const payloads = names.map(async (name) => {
      const group = await makeGroup(mallory, { id: makeId(), name, version: 1, time: members[0]!.time, members })
      return message(mallory, bob, { type: 'group', card: group.text }, { group: group.id })
    })
    await put('Mallory', 'Bob', ...(await Promise.all(payloads)), await message(mallory, bob, text('hello')))
    const { code, out, err } = await as('Bob', ['get'])
    expect([code, err]).toEqual([0, expect.not.stringContaining('error')])
    expect(out).toContain('Mallory: hello\n')
    expect(parse((await as('Bob', ['group', 'list', '--json'])).out).map(({ name }) => name)).toHaveLength(names.length)
    expect(await as('Bob', ['get'])).toMatchObject({ out: '', err: 'asfaleia: no messages wait\n' })
  }, 60_000)

  test.each<[string[], number, RegExp]>([
    [['frobnicate'], 2, /unknown command group frobnicate/],
    [['new', 'Tea'], 2, /CONTACT is missing/],
    [['show'], 2, /GROUP is missing/],
    [['new', 'bob', 'bob'], 1, /there is already a contact or a group with this name/],
    [['new', 'Tea', 'nobody'], 1, /no contact matches "nobody"/],
    [['leave', 'Tea'], 1, /no group matches "Tea"/],
  ])('refuses the arguments %j', async (words, code, problem) => {
    await meet('Alice', 'Bob')
    const outcome = await as('Alice', ['group', ...words])
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(problem)
  })
})

describe('a file', () => {
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, n) => (n * 7) % 251))

  test('arrives whole in the folder under a free name, readable only for the user', async () => {
    await meet('Alice', 'Bob')
    const path = join(root, 'tea.tar.gz')
    writeFileSync(path, bytes)
    const files = join(root, 'files')
    mkdirSync(files)
    writeFileSync(join(files, 'tea.tar.gz'), 'mine')
    symlinkSync('/dev/null', join(files, 'tea (2).tar.gz'))
    const bob = stay('Bob', ['get', '--follow', '--files', files])
    const sent = await as('Alice', ['send', 'bob', '--file', path])
    expect(sent).toMatchObject({ code: 0, out: 'Bob has received tea.tar.gz, 100000 bytes, and confirmed its hash\n' })
    // The command has given the state back.
    const state = join(root, 'Alice', 'state')
    expect(readdirSync(state).filter((name) => name.startsWith('owner-'))).toEqual([])
    await bob.io.untilOut('100000 bytes]\n')
    expect(bob.io.out()).toBe(`Alice: [a file: ${files}/tea (3).tar.gz, 100000 bytes]\n`)
    expect(readFileSync(join(files, 'tea (3).tar.gz')).equals(bytes)).toBe(true)
    expect(statSync(join(files, 'tea (3).tar.gz')).mode & 0o777).toBe(0o600)
    expect(readdirSync(files).toSorted()).toEqual(['tea (2).tar.gz', 'tea (3).tar.gz', 'tea.tar.gz'])
    expect(readFileSync(join(files, 'tea.tar.gz'), 'utf8')).toBe('mine')
  }, 60_000)

  test('shows its progress on a terminal, in one line that is gone in the end', async () => {
    await meet('Alice', 'Bob')
    const path = join(root, 'tea')
    writeFileSync(path, Buffer.alloc(100_000, 'x'))
    const files = join(root, 'files')
    mkdirSync(files)
    stay('Bob', ['get', '--follow', '--files', files])
    const io = createTestIo({ ASFALEIA_HOME: home('Alice') })
    io.stdin.end()
    Object.assign(io.stderr, { isTTY: true })
    expect(await runCommand(['send', 'bob', '--file', path], io)).toBe(0)
    const clear = '\r\u{1b}[K'
    const lines = io.err().split(clear)
    expect(lines[0]).toBe('')
    expect(lines[1]).toBe('waiting for Bob to accept the file')
    expect(lines.at(-1)).toBe('')
    expect(lines.slice(2, -1).join('\n')).toMatch(/^(\[#*\.*\] \d+ %, \d+ of 100000 bytes\n?)*$/)
    expect(new Set(lines.slice(1, -1)).size).toBe(lines.length - 2)
  }, 60_000)

  test('without a receiver waits at the relay, and resumes later', async () => {
    await meet('Alice', 'Bob')
    const path = join(root, 'long')
    writeFileSync(path, bytes)
    const first = await as('Alice', ['send', 'bob', '--file', path, '--wait=1'])
    expect(first).toMatchObject({ code: 75, err: expect.stringContaining('0 of 100000 bytes') as string })
    expect(await as('Bob', ['get'])).toMatchObject({
      code: 0,
      out: 'Alice: [a file, long, 100000 bytes; to receive files, use --files FOLDER]\n',
    })
    const files = join(root, 'files')
    const bob = stay('Bob', ['get', '--follow', '--json', '--files', files])
    expect(await as('Alice', ['send', 'bob', '--file', path])).toMatchObject({ code: 0 })
    await bob.io.untilOut('"state":"done"')
    expect(parse(bob.io.out()).at(-1)).toMatchObject({
      type: 'file',
      state: 'done',
      name: 'long',
      path: join(files, 'long'),
      total: 100_000,
    })
    expect(readFileSync(join(files, 'long')).equals(bytes)).toBe(true)
  }, 60_000)

  test('reports an unreachable relay only once', async () => {
    await meet('Alice', 'Bob')
    const path = join(root, 'x')
    writeFileSync(path, bytes)
    const outcome = await as('Alice', ['send', 'bob', '--relay', 'localhost:1', '--file', path, '--wait=2'])
    expect(outcome).toEqual({
      code: 75,
      out: '',
      err: 'asfaleia: localhost:1: nothing listens at the address of the relay\nasfaleia: Bob has 0 of 100000 bytes after 2 seconds; run the same command again to continue\n',
    })
  }, 60_000)

  test('that is a pipe is refused at once', async () => {
    await meet('Alice', 'Bob')
    const pipe = join(root, 'pipe')
    await run(['mkfifo', pipe])
    expect(await as('Alice', ['send', 'bob', '--file', pipe])).toMatchObject({
      code: 1,
      err: expect.stringContaining('it is not a regular file') as string,
    })
    expect(await as('Alice', ['send', 'bob', '--key', pipe, 'hello'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('it is not a regular file') as string,
    })
  }, 60_000)

  test('that is not accepted does not block the messages of others', async () => {
    await meet('Alice', 'Mallory', 'Bob')
    const [mallory, bob] = [identity('Mallory'), identity('Bob')]
    const facts = { type: 'file', name: 'x', total: 16_384 * 100, hash: 'a'.repeat(64) } as const
    const parts = Array.from({ length: 50 }, (_, n): Content => ({
      ...facts,
      file: 'A'.repeat(22),
      part: n + 1,
      bytes: new Uint8Array(16_384),
    }))
    const offers = Array.from({ length: 50 }, (): Content => ({ ...facts, file: makeId(), part: 0, bytes: new Uint8Array(0) }))
    await put('Mallory', 'Bob', ...(await Promise.all([...parts, ...offers].map((each) => message(mallory, bob, each)))))
    await as('Alice', ['send', 'bob', 'hello'])
    const { code, out } = await as('Bob', ['get'])
    expect(code).toBe(0)
    expect(out.split('\n')).toContain('Alice: hello')
    // The newest offers still wait.
    expect(await as('Bob', ['get'])).toMatchObject({
      code: 0,
      out: 'Mallory: [a file, x, 1638400 bytes; to receive files, use --files FOLDER]\n'.repeat(24),
    })
  }, 60_000)

  test.each<[string, string[], number, RegExp]>([
    ['that is missing', ['--file', 'nothing-there'], 1, /cannot read nothing-there: no such file or folder/],
    ['beside a text', ['text', '--file', 'x'], 2, /does not go together with a text/],
  ])('%s is refused', async (_name, words, code, problem) => {
    await meet('Alice', 'Bob')
    const outcome = await as('Alice', ['send', 'bob', ...words])
    expect(outcome).toMatchObject({ code, out: '' })
    expect(outcome.err).toMatch(problem)
  })
})
