import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { COMMANDS, runCommand } from '../../src/cli/command.ts'
import { PACKAGE_VERSION } from '../../src/version.ts'
import { run, type Running, start } from '../support/process.ts'
import { createTestIo } from '../support/terminal.ts'

const ASFALEIA = [process.execPath, join(import.meta.dirname, '../../src/cli/main.ts')]
/** Excuses the properties of a test machine that the relay would warn about. */
const ANYWHERE = ['--allow-unsafe', 'swap,core-dumps,root,working-directory']
const DOORS = ['--name', 'localhost', '--tcp', '127.0.0.1:0', '--http', 'off', '--operator', 'off', ...ANYWHERE]

function startRelay(...more: string[]): Running {
  const relay = start([...ASFALEIA, 'relay', ...DOORS, ...more])
  onTestFinished(async () => void (await relay.end('SIGKILL')))
  return relay
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Parses the events of a log in JSON. */
function events(stderr: string): Record<string, unknown>[] {
  return stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('the command line', () => {
  test.each([['--help'], ['-h']])('%s lists every command', async (flag) => {
    const io = createTestIo()
    expect(await runCommand([flag], io)).toBe(0)
    for (const name of Object.keys(COMMANDS)) expect(io.out()).toMatch(new RegExp(`^  ${name} `, 'm'))
    expect(io.err()).toBe('')
  })

  test.each(Object.keys(COMMANDS))('%s --help prints its usage to standard output only', async (name) => {
    const io = createTestIo()
    expect(await runCommand([name, '--help'], io)).toBe(0)
    expect(io.out()).toMatch(new RegExp(`^usage: asfaleia ${name} `))
    expect(io.err()).toBe('')
  })

  test.each([
    ['a text in latin-1', String.raw`caf\351`, 2, 'asfaleia: error: word 3 of the command line is not UTF-8 text'],
    ['a surrogate in UTF-8', String.raw`\355\240\200`, 2, 'asfaleia: error: word 3 of the command line is not UTF-8 text'],
    ['the replacement character itself', String.raw`\357\277\275`, 1, 'asfaleia: error: cannot read'],
  ])('decides by the bytes of a word: %s', async (_name, word, code, problem) => {
    const command = `exec "$0" "$1" send /nowhere/key "$(printf '${word}')" --relay localhost --key /nowhere/key`
    const ended = await run(['sh', '-c', command, ...ASFALEIA])
    expect({ ...ended, stderr: ended.stderr.slice(0, problem.length) }).toMatchObject({ code, stdout: '', stderr: problem })
  })

  test.skipIf(process.platform !== 'linux')('says that standard output is a full disk, but not that its reader is gone', async () => {
    const full = (...argv: string[]): ReturnType<typeof run> => run(['sh', '-c', 'exec "$@" > /dev/full', 'sh', ...ASFALEIA, ...argv])
    for (const argv of [['--help'], ['completion', 'bash']])
      expect(await full(...argv)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: 'asfaleia: error: cannot write to standard output: the disk is full\nasfaleia: hint: the output is incomplete\n',
      })
    const gone = await run(['bash', '-c', '"$@" | true; exit "${PIPESTATUS[0]}"', 'bash', ...ASFALEIA, 'completion', 'man'])
    expect(gone.stderr).toBe('')
  })

  test('--version prints the version', async () => {
    const io = createTestIo()
    expect(await runCommand(['--version'], io)).toBe(0)
    expect(io.out()).toBe(`${PACKAGE_VERSION}\n`)
  })

  test.each([
    [[], 'the command is missing'],
    [['zQ9'], 'unknown command zQ9'],
    [['sned', 'bob'], 'unknown command sned; did you mean send?'],
    [['constructor'], 'unknown command constructor'],
    [['\u{1b}[2J'], 'unknown command \\u{1b}[2J'],
    [['--zQ9'], 'unknown option --zQ9'],
    [['--verison'], 'unknown option --verison; did you mean --version?'],
  ])('%j is a usage error with a hint', async (argv, problem) => {
    const io = createTestIo()
    expect(await runCommand(argv, io)).toBe(2)
    expect(io.err()).toBe(`asfaleia: error: ${problem}\nasfaleia: hint: see \`asfaleia --help\`\n`)
    expect(io.out()).toBe('')
  })
})

describe('the relay as a process', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 on %s after it has stopped', async (signal) => {
    const relay = startRelay()
    await relay.until(/^tcp 127\.0\.0\.1:\d+\nready\n/)
    const { code, stdout, stderr } = await relay.end(signal)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^tcp 127\.0\.0\.1:\d+\nready\n$/)
    expect(events(stderr).map(({ event }) => event)).toEqual(['starting', 'listening', 'ready', 'stopping', 'stopped'])
  })

  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('does not wait for peers after a second %s', async (signal, expected) => {
    const relay = startRelay()
    const [, port] = await relay.until(/^tcp 127\.0\.0\.1:(\d+)/)
    // A peer that keeps its side open makes the relay wait until its last bytes arrive.
    const peer = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    onTestFinished(() => void peer.destroy())
    peer.on('error', () => {})
    peer.write('7\n')
    await once(peer, 'data')
    process.kill(relay.pid, signal)
    await relay.until(/"stopping"/)
    // A signal within a second of the first counts as the same one, so repeat it until the relay reacts.
    const insist = setInterval(() => process.kill(relay.pid, signal), 50)
    onTestFinished(() => clearInterval(insist))
    const ended = relay.finished.finally(() => clearInterval(insist))
    expect(await ended).toMatchObject({ code: expected, signal: null })
  })

  test('reads the admitted keys again on SIGHUP, and keeps them if the file is broken', async () => {
    const admit = join(scratch(), 'admit')
    writeFileSync(admit, '# nobody\n')
    const relay = startRelay('--admit', admit)
    await relay.until(/^ready$/m)
    process.kill(relay.pid, 'SIGHUP')
    await relay.until(/"event":"admit-reloaded","ok":true/)
    writeFileSync(admit, 'no key\n')
    process.kill(relay.pid, 'SIGHUP')
    await relay.until(/"event":"admit-reloaded","ok":false,"line":1,"mistake":"no-key"/)
    // Without a signal, although the file is another one.
    writeFileSync(`${admit}.new`, '\ufeff# nobody\r\n')
    renameSync(`${admit}.new`, admit)
    await relay.until(/"ok":false[^]*"event":"admit-reloaded","ok":true/)
    expect((await relay.end()).code).toBe(0)
  })

  test('reports a port in use or a missing folder in one line with a hint, and exits with 1', async () => {
    const relay = startRelay()
    const [, address = ''] = await relay.until(/^tcp (\S+)/)
    for (const [argv, problem] of [
      [['--tcp', address], /^asfaleia: error: --tcp: .* is in use\nasfaleia: hint: [^\n]+\n$/],
      [
        ['--tcp', 'off', '--unix', join(scratch(), 'no/r.sock')],
        /^asfaleia: error: --unix: .* folder does not exist, or is not writable\nasfaleia: hint: [^\n]+\n$/,
      ],
    ] as const) {
      const { code, stdout, stderr } = await run([
        ...ASFALEIA,
        'relay',
        '--http',
        'off',
        '--operator',
        'off',
        '--name',
        'localhost',
        '--log-level',
        'warn',
        ...ANYWHERE,
        ...argv,
      ])
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(problem)
    }
  })

  test('continues if the reader of its standard output goes away', async () => {
    const operator = join(scratch(), 'o.sock')
    const child = spawn(process.execPath, [ASFALEIA[1]!, 'relay', ...DOORS.slice(0, 6), '--operator', `unix:${operator}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    child.stdout.destroy()
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => String(chunk).includes('"ready"') && resolve())
    })
    const [response] = (await once(request({ socketPath: operator, path: '/livez' }).end(), 'response')) as [NodeJS.ReadableStream]
    expect(await text(response)).toBe('ok\n')
  })

  test.each([
    ['exception', 'throw new Error("zQ9 secret")'],
    ['rejection', 'Promise.reject(new Error("zQ9 secret"))'],
  ])("ends with 70 on a defect (%s), without a stack or the error's message", async (origin, defect) => {
    const trap = `data:text/javascript,process.on("SIGUSR2",()=>{${encodeURIComponent(defect)}})`
    // Without this exception, the relay would confine itself and drop the trap.
    const relay = start([process.execPath, '--import', trap, ASFALEIA[1]!, 'relay', ...DOORS, '--allow-unsafe', 'node-options,confinement'])
    await relay.until(/^ready$/m)
    const { code, stdout, stderr } = await relay.end('SIGUSR2')
    expect(code).toBe(70)
    expect(events(stderr).at(-1)).toMatchObject({ event: 'internal-error', origin })
    expect(stdout + stderr).not.toMatch(/zQ9|at .*:\d+/)
  })
})

test('a command whose reader went away ends without an error message', async () => {
  const child = spawn(process.execPath, [ASFALEIA[1]!, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect([said, code]).toEqual(['', 1])
})

describe('the debugger of Node', () => {
  /** Starts a client command, and waits until it talks to a relay that never answers. */
  async function startClient(...flags: string[]): Promise<Running> {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    onTestFinished(() => void silent.close())
    await once(silent, 'listening')
    const key = join(scratch(), 'key')
    expect(await run([...ASFALEIA, 'key', '--out', key])).toMatchObject({ code: 0 })
    const [node = '', main = ''] = ASFALEIA
    const relay = `127.0.0.1:${(silent.address() as AddressInfo).port}`
    const client = start([node, ...flags, main, 'get', '--follow', '--relay', relay, '--key', key])
    onTestFinished(async () => void (await client.end('SIGKILL')))
    await once(silent, 'connection')
    return client
  }
  /** Whether the process listens at a TCP port. */
  const listens = (pid: number): boolean => {
    const own = readdirSync(`/proc/${pid}/fd`).map((fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1])
    const rows = readFileSync(`/proc/${pid}/net/tcp`, 'latin1').trim().split('\n').slice(1)
    // The fourth field is the state, 0A is LISTEN; the tenth is the inode.
    return rows.map((row) => row.trim().split(/\s+/)).some((fields) => fields[3] === '0A' && own.includes(fields[9]))
  }

  test('does not open at SIGUSR1', async () => {
    const client = await startClient()
    process.kill(client.pid, 'SIGUSR1')
    await setTimeout(500)
    expect(listens(client.pid)).toBe(false)
    expect(await client.end('SIGTERM')).toMatchObject({ code: 0, stderr: '' })
  })

  test('that SIGUSR1 opened before the program was loaded is closed', async () => {
    const trap = 'data:text/javascript,process.kill(process.pid,"SIGUSR1");await new Promise(done=>setTimeout(done,300))'
    const client = await startClient('--import', trap)
    await client.until(/Debugger listening/)
    await expect.poll(() => listens(client.pid)).toBe(false)
    process.kill(client.pid, 'SIGUSR1')
    await setTimeout(500)
    expect(listens(client.pid)).toBe(false)
  })
})
