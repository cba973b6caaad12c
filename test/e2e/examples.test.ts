/** Runs the programs of examples/ unchanged against a relay. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeCard } from '../../src/client/format/card.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { Messenger } from '../../src/client/messenger/messenger.ts'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { makePerson, messengerOf, type Person, take, textOf } from '../support/people.ts'
import { type Running, start } from '../support/process.ts'
import { startTestRelay, type TestRelay } from '../support/relay.ts'

const EXAMPLES = join(import.meta.dirname, '../../examples')

let folder: string
let relay: TestRelay
let address: string
let alice: Person
let program: Contact
let messenger: Messenger
let running: Running | undefined

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asf-examples-'))
  relay = await startTestRelay()
  address = `localhost:${relay.port}`
  const { file } = generatePrivateKey('')
  writeFileSync(join(folder, 'key'), file, { mode: 0o600 })
  const { key } = identityOf(parsePrivateKey(Buffer.from(file)))
  program = { name: 'program', key, relays: [address] }
  alice = makePerson('alice', address)
  const { text } = await makeCard(alice.identity, { name: 'Alice', relays: [address], time: Math.floor(Date.now() / 1_000) })
  writeFileSync(join(folder, 'alice.card'), text)
  messenger = messengerOf(alice, [program])
})
afterEach(async () => {
  await running?.end('SIGKILL')
  running = undefined
  await messenger.close()
  await relay.close()
  rmSync(folder, { recursive: true, force: true })
})

function run(name: string, args: readonly string[] = [], input = ''): Running {
  running = start([process.execPath, join(EXAMPLES, name), join(folder, 'key'), address, join(folder, 'alice.card'), ...args], { input })
  return running
}

test('the bot answers its contact and ignores strangers', { timeout: 60_000 }, async () => {
  const bot = run('bot.ts')
  const stranger = makePerson('stranger', address)
  const other = messengerOf(stranger, [program])
  try {
    const ignored = other.send(program, { type: 'text', text: 'time' })
    expect(await ignored.accepted).toBe('held')
    const asked = messenger.send(program, { type: 'text', text: 'Hello.' })
    const [answer] = await take(messenger, 1)
    expect(textOf(answer!)).toBe('You wrote 6 characters. I know `time`.')
    expect(answer!.envelope?.content).toMatchObject({ replyTo: asked.id })
    expect(await asked.settled).toBe('delivered')
    messenger.send(program, { type: 'text', text: 'thanks', replyTo: answer!.envelope!.id })
    messenger.send(program, { type: 'text', text: 'time' })
    expect(textOf((await take(messenger, 1))[0]!)).toMatch(/^\d{4}-\d\d-\d\dT/)
    expect(ignored.state).toBe('held')
    expect(await bot.end('SIGTERM')).toMatchObject({ code: 0, stderr: '' })
  } finally {
    await other.close()
  }
})

test('the bridge sends its input lines, prints received messages, and ends once all are delivered', { timeout: 60_000 }, async () => {
  const sent = messenger.send(program, { type: 'text', text: 'two\nlines \u{1b}[31m' })
  await sent.accepted
  const bridge = run('bridge.ts', [], 'first\nsecond\n')
  expect((await take(messenger, 2)).map(textOf)).toEqual(['first', 'second'])
  expect(await bridge.finished).toMatchObject({ code: 0, stdout: `${JSON.stringify('two\nlines \u{1b}[31m')}\n`, stderr: '' })
})

test.each([
  [0, 'true', /^true is done \(\d+ min\)$/],
  [1, 'false', /^false FAILED with 1 \(\d+ min\)$/],
])('the notifier reports how a program ended (exit code %i)', { timeout: 60_000 }, async (code, command, words) => {
  const notifier = run('notify.ts', ['--', command])
  expect(textOf((await take(messenger, 1))[0]!)).toMatch(words)
  expect(await notifier.finished).toMatchObject({ code, stdout: '', stderr: '' })
})
