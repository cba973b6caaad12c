/** A command that changes contacts or groups tells the owner of the profile so, before it ends. Here no folder is watched. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { runCommand } from '../../../src/cli/command.ts'
import { asfaleia, type Outcome } from '../../support/command.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'
import { createTestIo, type TestIo } from '../../support/terminal.ts'

vi.mock('../../../src/cli/owner/watch.ts', () => ({ watchProfile: () => () => {} }))

let root: string
let relay: TestRelay
let chat: TestIo
let ended: Promise<number>

const env = (name: string): Record<string, string> => ({ ASFALEIA_HOME: join(root, name) })
const as = (name: string, ...argv: readonly string[]): Promise<Outcome> => asfaleia(argv, { env: env(name) })

async function ok(name: string, ...argv: readonly string[]): Promise<string> {
  const outcome = await as(name, ...argv)
  expect(outcome).toMatchObject({ code: 0 })
  return outcome.out
}

beforeEach(async () => {
  // Messages to several members leave at random moments.
  vi.spyOn(Math, 'random').mockReturnValue(0)
  root = mkdtempSync(join(tmpdir(), 'asf-announce-'))
  relay = await startTestRelay()
  for (const name of ['alice', 'bob', 'carol'])
    writeFileSync(join(root, `${name}.card`), await ok(name, 'me', '--name', name, '--relay', `localhost:${relay.port}`))
  await ok('alice', 'contact', 'add', join(root, 'bob.card'))
  chat = createTestIo(env('alice'))
  ended = runCommand(['chat', 'bob', '--plain'], chat)
  await chat.untilOut('-- connected to')
})

afterEach(async () => {
  vi.restoreAllMocks()
  chat.interrupt()
  chat.stdin.end()
  await ended
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

let asked = 0
/** Asks the chat to open a conversation. @returns its answer */
async function open(name: string): Promise<string> {
  const before = chat.out().length
  // The chat answers in order, and the second line in any case.
  chat.stdin.write(`/to ${name}\n/nonsense${++asked}\n`)
  await chat.untilOut(`nonsense${asked}`)
  return chat.out().slice(before).split('\n')[0] ?? ''
}

test('the chat knows a new contact and a new group, and forgets those that are gone', async () => {
  const unknown = (name: string): unknown => expect.stringMatching(new RegExp(`^-- .*"${name}"`))
  expect(await open('carol')).toEqual(unknown('carol'))
  await ok('alice', 'contact', 'add', join(root, 'carol.card'))
  expect(await open('carol')).toBe('-- to carol')
  await ok('alice', 'group', 'new', 'tea', 'bob', 'carol')
  expect(await open('tea')).toBe('-- to tea')
  await ok('alice', 'group', 'leave', 'tea')
  expect(await open('tea')).toEqual(unknown('tea'))
  await ok('alice', 'contact', 'remove', 'carol')
  expect(await open('carol')).toEqual(unknown('carol'))
})
