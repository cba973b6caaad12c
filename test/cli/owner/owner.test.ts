/** The commands of one profile at the same time: processes over one relay. The first one owns the profile. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ASFALEIA, type Finished, run, type Running, start } from '../../support/process.ts'
import { startTestRelay, type TestRelay } from '../../support/relay.ts'

let root: string
let relay: TestRelay
const running: Running[] = []

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'asf-owner-'))
  relay = await startTestRelay()
  await Promise.all(
    ['alice', 'bob'].map(async (name) => {
      const card = await ok(name, 'me', '--name', name, '--relay', `localhost:${relay.port}`)
      writeFileSync(join(root, `${name}.card`), card)
    }),
  )
  await Promise.all([ok('alice', 'contact', 'add', join(root, 'bob.card')), ok('bob', 'contact', 'add', join(root, 'alice.card'))])
})

afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.end('SIGKILL')))
  await relay.close()
  rmSync(root, { recursive: true, force: true })
})

const home = (name: string): Record<string, string> => ({ ASFALEIA_HOME: join(root, name) })
const asfaleia = (name: string, ...args: readonly string[]): Promise<Finished> => run([...ASFALEIA, ...args], { env: home(name) })
const state = (name: string): string[] => readdirSync(join(root, name, 'state')).filter((each) => each.startsWith('owner-'))

async function ok(name: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await asfaleia(name, ...args)
  if (code !== 0) throw new Error(`${args.join(' ')}: ${code}\n${stdout}${stderr}`)
  return stdout
}

/** Starts a command that stays. */
function begin(name: string, ...args: readonly string[]): Running {
  const each = start([...ASFALEIA, ...args], { env: home(name), open: true })
  running.push(each)
  return each
}

async function beginChat(name: string, ...args: readonly string[]): Promise<Running> {
  const chat = begin(name, 'chat', ...args, '--plain')
  await chat.until(/-- connected to/)
  return chat
}

const count = (text: string, part: string): number => text.split(part).length - 1

describe('a chat', () => {
  test('stays connected while other commands of the profile run', async () => {
    const chat = await beginChat('alice', 'bob')
    expect(statSync(join(root, 'alice/state')).mode & 0o777).toBe(0o700)
    expect(state('alice')).toHaveLength(2)
    for (const name of state('alice')) expect(statSync(join(root, 'alice/state', name)).mode & 0o777).toBe(0o600)
    const bob = begin('bob', 'get', '--follow', '--files', join(root, 'files'))
    for (const round of [1, 2, 3]) {
      writeFileSync(join(root, `file ${round}`), 'x'.repeat(100_000 * round))
      expect(await ok('alice', 'send', 'bob', '--file', join(root, `file ${round}`))).toContain('bob has received')
      expect(await ok('alice', 'send', 'bob', `waited ${round}`, '--wait', '30')).toBe('delivered\n')
      expect(await ok('alice', 'send', 'bob', `plain ${round}`)).toMatch(/^stored by a relay for up to /)
      const { code, stdout, stderr } = await asfaleia('alice', 'get')
      expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
      expect(stderr).toContain('the chat that runs already has the mailbox')
      const second = begin('alice', 'chat', 'bob', '--plain')
      await second.until(/the chat that runs already has the mailbox/)
      second.type(`second ${round}\n`)
      await bob.until(new RegExp(`alice: second ${round}`))
      expect((await second.end('SIGTERM')).code).toBe(0)
      await ok('bob', 'send', 'alice', `answer ${round}`)
      await chat.until(new RegExp(`bob: answer ${round}`))
    }
    chat.type('the chat\n')
    await bob.until(/alice: the chat/)
    expect(chat.stdout()).not.toContain('not connected')
    expect((await chat.end('SIGTERM')).code).toBe(0)
    expect(state('alice')).toEqual([])
    for (const round of [1, 2, 3]) for (const word of ['waited', 'plain', 'second']) expect(count(bob.stdout(), `${word} ${round}`)).toBe(1)
  }, 120_000)

  test('notices contacts, names, verifications and groups that other commands make', async () => {
    const card = await ok('carol', 'me', '--name', 'carol', '--relay', `localhost:${relay.port}`)
    writeFileSync(join(root, 'carol.card'), card)
    await ok('carol', 'contact', 'add', join(root, 'alice.card'))
    await ok('bob', 'contact', 'add', join(root, 'carol.card'))
    const chat = await beginChat('alice', 'bob')
    await ok('alice', 'contact', 'add', join(root, 'carol.card'))
    await ok('carol', 'send', 'alice', 'at once')
    await chat.until(/\d carol: at once/)
    await ok('alice', 'contact', 'rename', 'carol', 'caroline')
    await ok('carol', 'send', 'alice', 'renamed')
    await chat.until(/\d caroline: renamed/)
    const other = await startTestRelay()
    // A public user receives at each relay, also before a contact has an address there.
    await ok('alice', 'me', '--public', 'yes', '--relay', `localhost:${relay.port}`, '--relay', `localhost:${other.port}`)
    await chat.until(new RegExp(`-- connected to localhost:${other.port}`))
    await other.close()
    await ok('alice', 'group', 'new', 'tea', 'bob', 'caroline')
    chat.type('/to tea\nhello tea\n')
    // A chat that ends while a message waits says so by its exit code, and each member gets the message at a time of their own.
    const members = ['bob', 'carol'].map((name) => begin(name, 'get', '--follow'))
    await Promise.all(members.map((member) => member.until(/alice in tea: hello tea/)))
    expect((await chat.end('SIGTERM')).code).toBe(0)
  }, 120_000)
})

test('two chats at once both show what comes, and the second goes on alone', async () => {
  const first = await beginChat('alice', 'bob')
  const second = begin('alice', 'chat', 'bob', '--plain')
  await second.until(/the chat that runs already has the mailbox; this chat shows what comes, too/)
  await ok('bob', 'send', 'alice', 'to both.')
  await Promise.all([first, second].map((each) => each.until(/\d bob: to both\./)))
  expect((await first.end('SIGTERM')).code).toBe(0)
  await second.until(/this chat has the mailbox now/)
  await ok('bob', 'send', 'alice', 'to the second.')
  await second.until(/\d bob: to the second\./)
  expect(count(second.stdout(), 'to both.')).toBe(1)
  expect((await asfaleia('alice', 'get')).stdout).toBe('')
}, 60_000)

test('two gets at once show each message once', async () => {
  const chat = await beginChat('bob', 'alice')
  for (const round of [1, 2, 3, 4, 5]) {
    const texts = Array.from({ length: 5 }, (_, n) => `text ${round}.${n}.`)
    chat.type(`${texts.join('\n')}\n`)
    for (const text of texts) await chat.until(new RegExp(`-- held, to alice: ${text}`))
    const both = await Promise.all([asfaleia('alice', 'get'), asfaleia('alice', 'get')])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    const out = both.map(({ stdout }) => stdout).join('')
    expect(texts.map((text) => count(out, text))).toEqual(texts.map(() => 1))
  }
}, 120_000)

describe('if the owner is killed', () => {
  test('a follower takes over within a second, and nothing is shown twice or lost', async () => {
    const owner = begin('alice', 'get', '--follow')
    await ok('bob', 'send', 'alice', 'first.')
    await owner.until(/first\./)
    const follower = begin('alice', 'get', '--follow')
    await follower.until(/the get --follow that runs already has the mailbox/)
    await owner.end('SIGKILL')
    const lock = readdirSync(join(root, 'alice/state')).find((each) => /^owner-.*lock$/.test(each))!
    await expect
      .poll(() => readFileSync(join(root, 'alice/state', lock), 'utf8'), { timeout: 1_000, interval: 10 })
      .toMatch(new RegExp(`^${follower.pid} `))
    await ok('bob', 'send', 'alice', 'second.', '--wait', '20')
    await follower.until(/second\./)
    expect(follower.stdout()).not.toContain('first.')
    expect(count(follower.stdout(), 'second.')).toBe(1)
  }, 60_000)

  test('a message that a command sends through it arrives once, and the command learns so', async () => {
    const chat = await beginChat('alice', 'bob')
    const send = begin('alice', 'send', 'bob', 'not lost.', '--wait', '60')
    // Bob reads it only after the takeover.
    await expect.poll(() => relay.relay.snapshot().messages, { timeout: 20_000 }).toBe(1)
    await chat.end('SIGKILL')
    const bob = begin('bob', 'get', '--follow')
    await bob.until(/not lost\./)
    expect(await send.finished).toMatchObject({ code: 0, stdout: 'delivered\n' })
    const { stdout } = await asfaleia('bob', 'get')
    expect(stdout).toBe('')
    expect(count(bob.stdout(), 'not lost.')).toBe(1)
  }, 60_000)
})
