/**
 * Two users talk with `asfaleia chat` in a real terminal over a relay that is killed in between, and one user
 * without asfaleia takes part.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ASFALEIA, run } from '../support/process.ts'
import { missing } from '../support/programs.ts'
import { startTestRelay, type TestRelay } from '../support/relay.ts'
import { type Pane, startTerminal, type Terminal } from '../support/tmux.ts'

const SHELL_CLIENT = join(import.meta.dirname, 'shell-client.sh')
const without = missing('tmux')

let folder: string
let relay: TestRelay
let terminal: Terminal

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asf-chat-'))
  relay = await startTestRelay()
  terminal = startTerminal()
  if (without !== undefined) return
  for (const name of ['alice', 'bob']) {
    const { code, stdout, stderr } = await asfaleia(name, 'me', '--name', name, '--relay', `localhost:${relay.port}`, '--text')
    if (code !== 0) throw new Error(stderr)
    writeFileSync(path(`${name}.card`), stdout)
  }
  await know('alice', 'bob')
  await know('bob', 'alice')
})

afterEach(async () => {
  await terminal.stop()
  await relay.close()
  rmSync(folder, { recursive: true, force: true })
})

const path = (name: string): string => join(folder, name)
const home = (name: string): Record<string, string> => ({ ASFALEIA_HOME: path(name) })
const asfaleia = (name: string, ...args: readonly string[]) => run([...ASFALEIA, ...args], { env: home(name) })

async function know(who: string, whom: string): Promise<void> {
  const { code, stderr } = await asfaleia(who, 'contact', 'add', path(`${whom}.card`))
  if (code !== 0) throw new Error(stderr)
}

/** Opens a shell that runs the chat and prints its exit code. */
async function chat(name: string, args = '', size: { readonly columns?: number; readonly rows?: number } = {}): Promise<Pane> {
  const command = [...ASFALEIA, 'chat', ...args.split(' ').filter((word) => word !== '')].join(' ')
  const pane = await terminal.open(name, `echo before; ${command}; echo "ended with $?"; exec cat`, { env: home(name), ...size })
  await pane.until(/ connected\s/)
  return pane
}

/** The chat's own process, which is the only child of the shell of its pane. */
async function pidOf(pane: Pane): Promise<number> {
  const shell = await pane.value('pane_pid')
  return Number(readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim())
}

describe('the chat in a terminal', () => {
  it('exchanges messages between two users: lines, pastes, states, resizes', async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const alice = await chat('alice', 'bob')
    const bob = await chat('bob', 'alice', { columns: 40, rows: 15 })
    await alice.type('the kettle is on')
    await alice.press('M-Enter')
    await alice.type('and there are biscuits')
    await alice.until(/> the kettle is on\n {2}and there are biscuits/)
    await alice.press('Enter')
    await bob.until(/alice {2}the kettle is on\n {14}and there are biscuits/)
    await alice.until(/and there are biscuits +delivered\n/)
    // A pasted text is not sent at its line breaks and cannot control the terminal.
    await bob.paste('one\ntwo\u{1b}[31m\u{3}\n')
    await bob.until(/> one\n {2}two\[31m/)
    await bob.press('Enter')
    await alice.until(/bob {2}one\n[^\n]* two\[31m/)
    await alice.resize(36, 12)
    await alice.until(/bob {2}one\n[^\n]* two\[31m\n─ Enter: send/)
    await alice.resize(120, 40)
    await alice.until(/^ bob[^\n]{90,} connected\s/)
    await bob.press('C-c')
    await bob.until(/before\nended with 0/)
    await alice.type('/quit')
    await alice.press('Enter')
    expect(await alice.until(/ended with/)).toMatch(/^before\nended with 0\n/)
  }, 120_000)

  it('marks unread messages, and leaves them at the relay until the user sees them', async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const { stdout: card } = await asfaleia('carol', 'me', '--name', 'carol', '--relay', `localhost:${relay.port}`)
    writeFileSync(path('carol.card'), card)
    await know('alice', 'carol')
    await know('carol', 'alice')
    const alice = await chat('alice', 'bob')
    expect(await run([...ASFALEIA, 'chat', 'alice'], { env: home('carol'), input: 'are you there?\n' })).toMatchObject({ code: 0 })
    await alice.until(/ carol +1 │/)
    expect(relay.relay.snapshot().messages).toBe(1)
    await alice.press('M-a')
    await alice.until(/carol {2}are you there\?/)
    await expect.poll(() => relay.relay.snapshot().counters.erased.acked).toBe(1)
  }, 120_000)

  it("sends a file, completes its path with Tab, and saves it into the receiver's folder", async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const bytes = randomBytes(100_000)
    writeFileSync(path('picture.png'), bytes)
    const alice = await chat('alice', 'bob')
    const bob = await chat('bob', `alice --files ${path('taken')}`)
    await alice.type(`/file ${path('pic')}`)
    await alice.press('Tab')
    await alice.until(/picture\.png\s*$/)
    await alice.press('Enter')
    await alice.until(/file "picture\.png", 100\.0 kB\n[^\n]*arrived, and its hash is right/, 60)
    await bob.until(/a file "picture\.png", 100\.0 kB\n[^\n]* in /)
    expect(readFileSync(join(path('taken'), 'picture.png')).equals(bytes)).toBe(true)
  }, 120_000)

  it('continues after the relay is killed and comes back', async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const alice = await chat('alice', 'bob')
    const { port } = relay
    await relay.kill()
    await alice.until(/not connected/)
    await alice.type('written while it was down')
    await alice.press('Enter')
    await alice.until(/written while it was down +waiting/)
    relay = await startTestRelay({ port })
    // Alice has no key of Bob's yet, and the relay lost the one for first messages: it comes back with Bob.
    const bob = await chat('bob', 'alice')
    await bob.until(/alice {2}written while it was down/, 90)
    await alice.until(/written while it was down +delivered/, 60)
    expect((await bob.screen()).match(/written while it was down/g)).toHaveLength(1)
  }, 180_000)

  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const)
    it(`restores the terminal on ${signal}`, async (ctx) => {
      if (without !== undefined) return ctx.skip(without)
      const alice = await chat('alice', 'bob')
      expect(await alice.value('alternate_on')).toBe('1')
      process.kill(await pidOf(alice), signal)
      await alice.until(/before\nended with 0/)
      expect(await alice.value('alternate_on')).toBe('0')
      expect(await alice.value('cursor_flag')).toBe('1')
      // The shell's `cat` is in line mode again: the terminal echoes the text, and `cat` repeats it at Enter.
      await alice.type('echo')
      await alice.press('Enter')
      await alice.until(/ended with 0\necho\necho/)
    }, 60_000)

  it('restores the terminal while suspended, and redraws when resumed', async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const alice = await terminal.open('alice', 'exec bash --norc -i', { env: home('alice') })
    await alice.type(`${ASFALEIA.join(' ')} chat bob`)
    await alice.press('Enter')
    await alice.until(/ connected\s/)
    await alice.type('half a line')
    await alice.until(/> half a line/)
    await alice.press('C-z')
    await alice.until(/bash[^\n]*[#$]\s*$/)
    expect(await alice.value('alternate_on')).toBe('0')
    await alice.type('fg')
    await alice.press('Enter')
    await alice.until(/> half a line/)
    expect(await alice.value('alternate_on')).toBe('1')
    await alice.press('C-c', 'C-c')
    await alice.until(/bash[^\n]*[#$]\s*$/)
  }, 60_000)

  it('keeps a history only with --history, and shows it at the next start', async (ctx) => {
    if (without !== undefined) return ctx.skip(without)
    const first = await chat('alice', 'bob --history')
    await first.type('remember this')
    await first.press('Enter')
    await first.until(/remember this +held/)
    await first.press('C-c')
    await first.until(/ended with 0/)
    const kept = readdirSync(path('alice/state/history'))
    expect(kept).toHaveLength(1)
    // A user can read the history with `base64` and `age`.
    const lines = readFileSync(join(path('alice/state/history'), kept[0]!), 'latin1')
      .trimEnd()
      .split('\n')
    const read = lines.map((line) =>
      execFileSync('age', ['-d', '-i', path('alice/key')], { input: Buffer.from(line, 'base64') }).toString(),
    )
    expect(read.join('')).toContain('"text":"remember this"')
    const again = await terminal.open('again', `${ASFALEIA.join(' ')} chat bob --history`, { env: home('alice') })
    await again.until(/you {2}remember this +held/)
    await again.press('C-c')
    expect(readdirSync(path('bob/state'))).not.toContain('history')
  }, 60_000)
})

describe('a user with only age, ssh-keygen and a shell', () => {
  it('exchanges messages with the chat', async (ctx) => {
    const absent = missing('tmux', 'age', 'ssh-keygen', 'nc')
    if (absent !== undefined) return ctx.skip(absent)
    const shell = (...args: readonly string[]) => run(['sh', SHELL_CLIENT, ...args])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'pat', '-f', path('pat')])
    expect((await asfaleia('alice', 'contact', 'add', path('pat.pub'), '--name', 'pat', '--relay', `localhost:${relay.port}`)).code).toBe(0)
    const alice = await chat('alice', 'pat')
    await alice.type('can you read this?')
    await alice.press('Enter')
    await alice.until(/can you read this\? +held/)
    writeFileSync(path('people'), `alice ${/^key: (.*)$/m.exec((await asfaleia('alice', 'me', '--text')).stdout)![1]}\n`)
    const got = await shell('get', 'localhost', String(relay.port), path('pat'), path('people'))
    expect(got.stdout).toContain('can you read this?')
    expect(got.stderr).toContain('from alice, ')
    expect((await shell('send', 'localhost', String(relay.port), path('pat'), path('alice.card'), 'yes, and this is signed')).code).toBe(0)
    await alice.until(/pat {2}yes, and this is signed/)
    // A message sealed by age alone has no sender.
    expect((await shell('seal', 'localhost', String(relay.port), path('pat'), path('alice.card'), 'I am pat, honestly')).code).toBe(0)
    await alice.until(/strangers +1 │/)
    await alice.press('M-3')
    await alice.until(/unknown {2}! unsigned: anyone may have written this\n[^\n]*I am pat, honestly/)
  }, 120_000)
})
