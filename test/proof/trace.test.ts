/**
 * strace shows that the relay opens no file for writing, creates none, and writes only to sockets, pipes and
 * the terminal, through all user actions and until SIGTERM or SIGKILL. Relays that do otherwise must be
 * detected.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, type TestContext, vi } from 'vitest'
import { missing } from '../support/programs.ts'
import {
  play,
  type RelayOptions,
  type RunningRelay,
  sendOwn,
  startRelay,
  untilEmpty,
  login,
  fetchPage,
  READS_AS_NODE_DOES,
} from '../support/scenario.ts'
import { readTrace, type Trace, underStrace } from '../support/trace.ts'
import { connectRaw, createPerson } from '../support/wire.ts'

vi.setConfig({ testTimeout: 120_000 })

interface Traced {
  readonly relay: RunningRelay
  readonly folder: string
  /** The relay's pid, not that of strace. */
  readonly pid: number
  read(): Trace
}

async function begin(ctx: TestContext, options: Omit<RelayOptions, 'folder' | 'under'> = {}): Promise<Traced> {
  const why = missing('strace')
  if (why !== undefined) ctx.skip(why)
  const outside = mkdtempSync(join(tmpdir(), 'asfaleia-trace-'))
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  const relay = await startRelay({ folder, under: underStrace(join(outside, 'trace')), ...options })
  const pid = Number(readFileSync(`/proc/${relay.pid}/task/${relay.pid}/children`, 'utf8'))
  onTestFinished(async () => {
    // strace ends when the traced process ends.
    if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    await relay.finished
    rmSync(folder, { recursive: true })
    rmSync(outside, { recursive: true })
  })
  return { relay, folder, pid, read: () => readTrace(join(outside, 'trace'), join(folder, 'r.sock')) }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('the relay writes no file during all user actions up to SIGTERM', async (ctx) => {
  const { relay, folder, pid, read } = await begin(ctx, { more: ['--hold', '10s'] })
  await play(relay)
  const wire = await connectRaw(relay.doors.tcp)
  const person = createPerson()
  await sendOwn(wire, (await login(wire, person, 'sign')).token, person, 'AAAA')
  await untilEmpty(relay)
  for (const path of ['/livez', '/readyz', '/metrics', '/nothing', '/%zz']) await fetchPage(relay.doors.operator, path)
  for (const path of ['/', '/v1', '/nothing', '/%zz']) await fetchPage(relay.doors.http, path)
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const) process.kill(pid, signal)
  expect(await relay.finished).toMatchObject({ code: 0 })
  const { calls, violations } = read()
  expect(violations).toEqual([])
  // Prove that the trace saw the replaced process, its sockets and the writes to them.
  expect(calls).toMatchObject({ execve: expect.any(Number), bind: 4, chmod: 1, unlink: 1 })
  expect(calls['openat']).toBeGreaterThan(100)
  expect((calls['write'] ?? 0) + (calls['writev'] ?? 0)).toBeGreaterThan(200)
  expect(readdirSync(folder)).toEqual([])
})

test('the relay writes no file if it is killed while messages wait', async (ctx) => {
  const { relay, folder, pid, read } = await begin(ctx)
  const wire = await connectRaw(relay.doors.unix)
  const person = createPerson()
  await sendOwn(wire, (await login(wire, person, 'decrypt')).token, person, 'AAAA', 100)
  process.kill(pid, 'SIGKILL')
  await relay.finished
  expect(read().violations).toEqual([])
  // The door's socket file remains without content, and the next relay removes it.
  expect(readdirSync(folder)).toEqual(['r.sock'])
})

const FAULTS = [
  {
    does: 'writes received data into a file',
    imports: "import { appendFileSync } from 'node:fs'",
    keep: "appendFileSync('kept', chunk)",
    seen: /O_APPEND/,
  },
  {
    does: 'keeps received data in shared memory',
    imports: "import { openSync, writeSync } from 'node:fs'; const file = openSync('/dev/shm', 0x410002)",
    keep: 'writeSync(file, chunk)',
    seen: /O_TMPFILE/,
  },
  {
    does: 'passes received data to a child process',
    imports: "import { spawnSync } from 'node:child_process'",
    keep: "spawnSync('true', { input: chunk })",
    seen: /^\d+ +(?:clone|vfork|fork|execve)/,
  },
]

test.for(FAULTS)('a relay that $does is detected', async ({ imports, keep, seen }, ctx) => {
  const fault = `${imports}
import { Socket } from 'node:net'
${READS_AS_NODE_DOES}
const { emit } = Socket.prototype
Socket.prototype.emit = function (event, chunk, ...more) {
  if (event === 'data' && Buffer.isBuffer(chunk)) ${keep}
  return emit.call(this, event, chunk, ...more)
}`
  const { relay, pid, read } = await begin(ctx, { fault })
  const wire = await connectRaw(relay.doors.tcp)
  expect(await wire.ask('7')).toBe('17')
  process.kill(pid, 'SIGKILL')
  await relay.finished
  expect(read().violations).toContainEqual(expect.stringMatching(seen))
})
