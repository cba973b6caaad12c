/** `openProfile` of the library: a bot shares a profile with the commands. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { fingerprintOf } from '../../../src/client/format/field.ts'
import { type ContactRequest, openProfile } from '../../../src/client/index.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'

let root: string
let relay: TestRelay
const as = (name: string, ...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: { ASFALEIA_HOME: join(root, name) } })

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-bot-'))
  relay = await startTestRelay()
  for (const name of ['alice', 'bob'])
    writeFileSync(join(root, `${name}.card`), (await as(name, 'me', '--name', name, '--relay', `localhost:${relay.port}`)).out)
  await as('bob', 'contact', 'add', join(root, 'alice.card'))
})
afterEach(async () => {
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

test('a bot receives, notices a new contact, and serves other commands', async () => {
  const changed = Promise.withResolvers<void>()
  await using bot = await openProfile({ folder: join(root, 'alice'), onChanged: changed.resolve })
  expect(bot).toMatchObject({ name: 'alice', relays: [`localhost:${relay.port}`] })
  expect(bot.contacts()).toEqual([])
  await as('alice', 'contact', 'add', join(root, 'bob.card'))
  await changed.promise
  const [bob] = bot.contacts()
  expect(bob).toMatchObject({ name: 'bob' })
  expect(await as('bob', 'send', 'alice', 'hello bot')).toMatchObject({ code: 0 })
  for await (const { verdict, from, envelope, done } of bot.messenger.received()) {
    expect([verdict, from?.name, envelope?.content]).toEqual(['genuine', 'bob', { type: 'text', text: 'hello bot' }])
    await done()
    break
  }
  const got = await as('alice', 'get')
  expect(got).toMatchObject({ code: 0, out: '' })
  expect(got.err).toContain('the bot that runs already has the mailbox')
  expect(await as('alice', 'send', 'bob', 'by the command')).toMatchObject({ code: 0 })
  await bot.messenger.send(bob!, { type: 'text', text: 'by the bot' }).accepted
  expect((await as('bob', 'get')).out).toMatch(/by the command\n.*by the bot\n/)
})

test('a bot learns of contact requests, and accepts one', async () => {
  const asked = Promise.withResolvers<readonly ContactRequest[]>()
  await using bot = await openProfile({
    folder: join(root, 'alice'),
    onRequests: (requests) => void (requests.length > 0 && asked.resolve(requests)),
  })
  void bot.messenger.received()[Symbol.asyncIterator]().next()
  expect(await as('bob', 'send', 'alice', 'may I?')).toMatchObject({ code: 0 })
  const [request] = await asked.promise
  expect(request).toMatchObject({ card: { name: 'bob' }, messages: [{ text: 'may I?' }] })
  await expect(bot.accept('SHA256:nobody')).rejects.toThrow('no contact request matches')
  expect(await bot.accept(fingerprintOf(request!.card.key))).toMatchObject({ name: 'bob' })
  expect(bot.contacts().map(({ name }) => name)).toEqual(['bob'])
})

test('a bot beside an owner works through it, and takes over when it ends', async () => {
  await as('alice', 'contact', 'add', join(root, 'bob.card'))
  const first = await openProfile({ folder: join(root, 'alice'), name: 'first' })
  await using second = await openProfile({ folder: join(root, 'alice'), name: 'second' })
  const messages = second.messenger.received()[Symbol.asyncIterator]()
  const next = messages.next()
  const [bob] = second.contacts()
  await second.messenger.send(bob!, { type: 'text', text: 'through the first' }).accepted
  await first.close()
  expect(await as('bob', 'send', 'alice', 'after the first', '--wait', '0.001')).toMatchObject({ err: expect.any(String) as string })
  const { value } = await next
  expect(value?.envelope?.content).toEqual({ type: 'text', text: 'after the first' })
  await value?.done()
  expect((await as('bob', 'get')).out).toContain('through the first')
})

test('an owner follows the profile to the mailboxes that it names', async () => {
  const other = await startTestRelay()
  onTestFinished(() => other.close())
  await as('alice', 'contact', 'add', join(root, 'bob.card'))
  const key = join(root, 'key')
  expect(await as('stranger', 'key', 'new', '--out', key)).toMatchObject({ code: 0 })
  const write = (text: string): Promise<Outcome> =>
    as('stranger', 'send', '--relay', `localhost:${relay.port}`, '--key', key, join(root, 'alice/key.pub'), text)
  await using bot = await openProfile({ folder: join(root, 'alice') })
  const messages = bot.messenger.received()[Symbol.asyncIterator]()
  /** Takes the next message, so one that came to a mailbox that no one reads would show. */
  const take = async (text: string): Promise<void> => {
    const { value } = await messages.next()
    expect(value?.envelope?.content).toEqual({ type: 'text', text })
    await value?.done()
  }
  // No one reads the mailbox of the SSH key yet.
  expect(await write('to the key')).toMatchObject({ code: 0 })
  expect(relay.relay.snapshot().messages).toBe(1)
  await as('alice', 'me', '--public', 'yes')
  await take('to the key')
  await as('alice', 'me', '--public', 'no')
  expect(await write('to no one')).toMatchObject({ code: 0 })
  expect(await as('bob', 'send', 'alice', 'to the inbox')).toMatchObject({ code: 0 })
  await take('to the inbox')
  // The inbox moves with the order of the relays.
  const [one, two] = [`localhost:${relay.port}`, `localhost:${other.port}`]
  await as('alice', 'me', '--relay', one, '--relay', two)
  expect(other.relay.snapshot().bundles).toBe(0)
  await as('alice', 'me', '--relay', two, '--relay', one)
  expect(other.relay.snapshot().bundles).toBe(1)
  writeFileSync(join(root, 'alice.card'), (await as('alice', 'me')).out)
  await as('bob', 'contact', 'add', join(root, 'alice.card'))
  expect(await as('bob', 'send', 'alice', 'to the new inbox')).toMatchObject({ code: 0 })
  await take('to the new inbox')
})

test('without a profile, it says what is missing', async () => {
  await expect(openProfile({ folder: join(root, 'nobody') })).rejects.toThrow('you have no profile yet')
})
