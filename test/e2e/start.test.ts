import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ASFALEIA, run, type Running, start } from '../support/process.ts'
import { missing } from '../support/programs.ts'

let folder: string
let started: Running | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'asf-start-'))
  started = undefined
})
afterEach(async () => {
  await started?.end()
  await rm(folder, { recursive: true, force: true })
})

const ANY_PORT = ['--tcp', '127.0.0.1:0', '--operator', '127.0.0.1:0']

/**
 * Starts the relay in a folder of its own, which also holds its runtime files and, as `bin/asfaleia`, the
 * program.
 */
function startThere(args: readonly string[], env: Record<string, string> = {}): Running {
  const here = { TMPDIR: folder, XDG_RUNTIME_DIR: folder, npm_lifecycle_event: '' }
  started = start([...ASFALEIA, 'start', ...ANY_PORT, ...args], { cwd: folder, env: { ...here, ...env } })
  return started
}

/** Returns the pids of the program's children by their command lines. */
async function childrenOf({ pid }: Running): Promise<Map<string, number>> {
  const pids = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter(Boolean)
  return new Map(
    await Promise.all(
      pids.map(async (child): Promise<[string, number]> => {
        const words = (await readFile(`/proc/${child}/cmdline`, 'utf8')).split('\0')
        return [words.includes('relay') ? 'relay' : (words[0] ?? ''), Number(child)]
      }),
    ),
  )
}

async function isRefused(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  const [outcome] = await Promise.race([once(socket, 'connect').then(() => ['taken']), once(socket, 'error')])
  socket.destroy()
  return outcome !== 'taken'
}

describe('asfaleia start --no-tor', () => {
  test('prints commands that work unchanged', async () => {
    const relay = startThere(['--no-tor'])
    await relay.until(/ get .*\n/)
    const commands = relay
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('  '))
    expect(commands).toHaveLength(3)
    await symlink(ASFALEIA[1], join(folder, 'asfaleia'))
    const env = { PATH: `${folder}:${process.env['PATH']}` }
    const outputs: string[] = []
    for (const command of commands) {
      const { code, stdout } = await run(['sh', '-c', command.replace('npx ', '')], { cwd: folder, env })
      expect(code).toBe(0)
      outputs.push(stdout.trim())
    }
    expect(outputs.at(-1)).toContain('hello')
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('stops the relay and itself and removes its files on %s', async (signal) => {
    const relay = startThere(['--no-tor'])
    const [, port] = await relay.until(/--relay localhost:(\d+) .*\n/)
    expect(await isRefused(Number(port))).toBe(false)
    expect(await relay.end(signal)).toMatchObject({ code: 0 })
    expect(await isRefused(Number(port))).toBe(true)
    expect((await run(['ls', folder])).stdout).toBe('')
  })

  test('accepts the same Ctrl-C twice, as it arrives under npm', async () => {
    const relay = startThere(['--no-tor'])
    await relay.until(/ get .*\n/)
    process.kill(relay.pid, 'SIGINT')
    expect(await relay.end('SIGINT')).toMatchObject({ code: 0 })
  })

  test('stops the relay even if it is killed itself', async () => {
    const relay = startThere(['--no-tor'])
    const [, port] = await relay.until(/--relay localhost:(\d+) .*\n/)
    process.kill(relay.pid, 'SIGKILL')
    expect(await relay.finished).toMatchObject({ signal: 'SIGKILL' })
    await expect.poll(() => isRefused(Number(port)), { timeout: 10_000 }).toBe(true)
  })

  test('ends with 1 if the relay dies', async () => {
    const relay = startThere(['--no-tor'])
    await relay.until(/ get .*\n/)
    process.kill((await childrenOf(relay)).get('relay')!, 'SIGKILL')
    const { code, stderr } = await relay.finished
    expect(code).toBe(1)
    expect(stderr).toContain('asfaleia: error: the relay ended (SIGKILL), so asfaleia stops Tor, too\n')
  })

  test("ends with 1 and the relay's own error if the relay cannot start", async () => {
    const relay = startThere(['--no-tor', '--tcp', '192.0.2.1:3308'])
    const { code, stderr } = await relay.finished
    expect(code).toBe(1)
    expect(stderr).toMatch(/asfaleia: error: --tcp: /)
    expect(stderr).not.toMatch(/^ {4}at /m)
  })
})

test('asfaleia start without a tor program reports it and serves this machine', async () => {
  const relay = startThere([], { PATH: folder })
  await relay.until(/asfaleia: tor is not installed/)
  await relay.until(/asfaleia: hint: install Tor/)
  const [, port] = await relay.until(/--relay localhost:(\d+) .*\n/)
  expect(await isRefused(Number(port))).toBe(false)
})

test.each([[['--nope']], [['word']], [['--tcp']]])('asfaleia start refuses the arguments %j', async (args) => {
  const { code, stdout, stderr } = await run([...ASFALEIA, 'start', ...args])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/^asfaleia: error: .*\nasfaleia: hint: usage: asfaleia start .*\n$/)
})

describe('asfaleia start with a tor that has no network', () => {
  const reason = missing('tor')
  beforeEach((ctx) => ctx.skip(reason !== undefined, reason))

  /** Directory authorities at a port without a listener have the effect of a machine without a network. */
  const nowhere = ['TestingTorNetwork 1', `DirAuthority nobody orport=1 no-v2 v3ident=${'A'.repeat(40)} 127.0.0.1:1 ${'B'.repeat(40)}`]
  async function startOffline(): Promise<Running> {
    const extra = join(folder, 'torrc-extra')
    await writeFile(extra, nowhere.join('\n'))
    return startThere(['--state', join(folder, 'tor')], { ASFALEIA_TORRC_EXTRA: extra })
  }

  test('reports it and serves this machine in the meantime', { timeout: 90_000 }, async () => {
    const relay = await startOffline()
    await relay.until(/asfaleia: Tor makes no progress: is there a network/)
    const [, port] = await relay.until(/--relay localhost:(\d+) .*\n/)
    const key = join(folder, 'key')
    const where = ['--relay', `localhost:${port}`, '--key', key]
    expect(await run([...ASFALEIA, 'key', '--out', key])).toMatchObject({ code: 0 })
    expect(await run([...ASFALEIA, 'send', ...where, `${key}.pub`, 'offline'])).toMatchObject({ code: 0 })
    expect((await run([...ASFALEIA, 'get', ...where])).stdout).toContain('offline')
    expect(await relay.end('SIGINT')).toMatchObject({ code: 0 })
  })

  test("keeps tor's state private, and restarts a tor that died", { timeout: 60_000 }, async () => {
    const relay = await startOffline()
    await relay.until(/asfaleia: Tor \d+%/)
    expect((await stat(join(folder, 'tor'))).mode & 0o777).toBe(0o700)
    const tor = (await childrenOf(relay)).get('tor')!
    process.kill(tor, 'SIGKILL')
    await relay.until(/asfaleia: error: Tor ended; the relay keeps running, and tor restarts in 1 s/)
    await relay.until(/tor restarts in 1 s\n(?:.*\n)*asfaleia: Tor \d+%/)
    const children = await childrenOf(relay)
    expect([...children.keys()].toSorted()).toEqual(['relay', 'tor'])
    expect(children.get('tor')).not.toBe(tor)
    expect(await relay.end()).toMatchObject({ code: 0 })
    // Both children are gone: a process that does not exist cannot be signalled.
    for (const pid of children.values()) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })

  test("prints tor's reason for refusing its configuration", { timeout: 60_000 }, async () => {
    const extra = join(folder, 'torrc-extra')
    await writeFile(extra, 'NoSuchOption 1\n')
    const relay = startThere(['--state', join(folder, 'tor')], { ASFALEIA_TORRC_EXTRA: extra })
    const [said] = await relay.until(/^asfaleia: error: tor ended .*$/m, 30)
    expect(said).toMatch(/: tor ended with code 1: .*Unknown option 'NoSuchOption'.*; the relay keeps running/)
  })
})

test('tor accepts torrc.example', async (ctx) => {
  const reason = missing('tor')
  ctx.skip(reason !== undefined, reason)
  const example = await readFile(join(import.meta.dirname, '../../torrc.example'), 'utf8')
  const copy = join(folder, 'torrc')
  await writeFile(copy, example.replace('/var/lib/tor/asfaleia\n', `${join(folder, 'service')}\n`))
  // tor --verify-config does not make the folder, and warns that it cannot change its mode.
  await mkdir(join(folder, 'data'), { mode: 0o700 })
  const args = ['--verify-config', '--defaults-torrc', '/dev/null', '-f', copy, '--DataDirectory', join(folder, 'data')]
  const { code, stdout } = await run(['tor', ...args])
  expect(stdout.split('\n').filter((line) => line.includes('[warn]') && !line.includes('as root'))).toEqual([])
  expect(code).toBe(0)
})
