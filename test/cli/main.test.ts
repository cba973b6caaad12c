import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { COMMANDS, runCommand } from '../../src/cli/command.ts'
import { PACKAGE_VERSION } from '../../src/version.ts'
import { run, type Running, start } from '../support/process.ts'
import { createTestIo } from '../support/terminal.ts'

const ASFALEIA = [process.execPath, join(import.meta.dirname, '../../src/cli/main.ts')]
/** What a machine of tests may be like; the relay would warn of it. */
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

/** Events of a log as JSON. */
function events(stderr: string): Record<string, unknown>[] {
  return stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('the command line', () => {
  test.each([['--help'], ['-h']])('%s names every command', async (flag) => {
    const io = createTestIo()
    expect(await runCommand([flag], io)).toBe(0)
    for (const name of Object.keys(COMMANDS)) expect(io.out()).toMatch(new RegExp(`^  ${name} `, 'm'))
    expect(io.err()).toBe('')
  })

  test.each(Object.keys(COMMANDS))('%s --help says how it is used, and nothing else', async (name) => {
    const io = createTestIo()
    expect(await runCommand([name, '--help'], io)).toBe(0)
    expect(io.out()).toMatch(new RegExp(`^usage: asfaleia ${name} `))
    expect(io.err()).toBe('')
  })

  test('--version', async () => {
    const io = createTestIo()
    expect(await runCommand(['--version'], io)).toBe(0)
    expect(io.out()).toBe(`${PACKAGE_VERSION}\n`)
  })

  test.each([
    [[], 'no command is given'],
    [['zQ9'], 'there is no such command'],
    [['constructor'], 'there is no such command'],
    [['--zQ9'], 'there is no such command'],
  ])('%j is a usage error', async (argv, problem) => {
    const io = createTestIo()
    expect(await runCommand(argv, io)).toBe(2)
    expect(io.err()).toBe(`asfaleia: error: ${problem}\nasfaleia: hint: see \`asfaleia --help\`\n`)
    expect(io.out()).toBe('')
  })
})

describe('the relay as a process', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends it, the same way', async (signal) => {
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
  ] as const)('a second %s does not wait for peers', async (signal, expected) => {
    const relay = startRelay()
    const [, port] = await relay.until(/^tcp 127\.0\.0\.1:(\d+)/)
    // A peer that keeps its side open makes the relay wait for its last words to arrive.
    const peer = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    onTestFinished(() => void peer.destroy())
    peer.on('error', () => {})
    peer.write('7\n')
    await once(peer, 'data')
    process.kill(relay.pid, signal)
    await relay.until(/"stopping"/)
    // What comes within a second is taken for the same one; who insists is heard before the peer's time is over.
    const insist = setInterval(() => process.kill(relay.pid, signal), 50)
    onTestFinished(() => clearInterval(insist))
    const ended = relay.finished.finally(() => clearInterval(insist))
    expect(await ended).toMatchObject({ code: expected, signal: null })
  })

  test('SIGHUP reads the admitted keys again, and a file that broke changes nothing', async () => {
    const admit = join(scratch(), 'admit')
    writeFileSync(admit, '# nobody\n')
    const relay = startRelay('--admit', admit)
    await relay.until(/^ready$/m)
    process.kill(relay.pid, 'SIGHUP')
    await relay.until(/"event":"admit-reloaded","ok":true/)
    writeFileSync(admit, 'no key\n')
    process.kill(relay.pid, 'SIGHUP')
    await relay.until(/"event":"admit-reloaded","ok":false/)
    expect((await relay.end()).code).toBe(0)
  })

  test('a port in use, a folder that is not there: one line, a hint, exit code 1', async () => {
    const relay = startRelay()
    const [, address = ''] = await relay.until(/^tcp (\S+)/)
    for (const [argv, problem] of [
      [['--tcp', address], /^asfaleia: error: --tcp: .* is in use\nasfaleia: hint: [^\n]+\n$/],
      [
        ['--tcp', 'off', '--unix', join(scratch(), 'no/r.sock')],
        /^asfaleia: error: --unix: .* folder is not there, or not writable\nasfaleia: hint: [^\n]+\n$/,
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

  test('goes on when nobody reads what it printed', async () => {
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
  ])('a defect (%s) ends it with 70, without a stack or a message', async (origin, defect) => {
    const trap = `data:text/javascript,process.on("SIGUSR2",()=>{${encodeURIComponent(defect)}})`
    // A process that confines itself would not have the trap any more.
    const relay = start([process.execPath, '--import', trap, ASFALEIA[1]!, 'relay', ...DOORS, '--allow-unsafe', 'node-options,confinement'])
    await relay.until(/^ready$/m)
    const { code, stdout, stderr } = await relay.end('SIGUSR2')
    expect(code).toBe(70)
    expect(events(stderr).at(-1)).toMatchObject({ event: 'internal-error', origin })
    expect(stdout + stderr).not.toMatch(/zQ9|at .*:\d+/)
  })
})

test('a reader that went away ends a command quietly', async () => {
  const child = spawn(process.execPath, [ASFALEIA[1]!, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect([said, code]).toEqual(['', 1])
})
