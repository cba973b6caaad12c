/**
 * State that outlives a process: on a full disk, after a process was killed, and with several processes at
 * once.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { History } from '../../../src/cli/chat/history.ts'
import { readBytes, writeWhole } from '../../../src/cli/disk/file.ts'
import { Home } from '../../../src/cli/profile/home.ts'
import { openOutbox, openSeen } from '../../../src/cli/profile/state.ts'
import { encodeText } from '../../../src/client/format/field.ts'
import { sealFor } from '../../../src/client/format/envelope.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import { Seen } from '../../../src/client/delivery/seen.ts'
import { run } from '../../support/process.ts'

const STATE = join(import.meta.dirname, '../../../src/cli/profile/state.ts')
let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-state-'))
})
afterEach(() => {
  rmSync(root, { recursive: true })
})
/** Returns the id of a process that has ended. */
const deadId = async (): Promise<number> => Number((await run(['sh', '-c', 'echo $$'])).stdout)

test('a tag that a full disk cut in half is removed, and the next one is written whole', async () => {
  const path = join(root, 'seen')
  const line = (n: number): string => `${String(n).padStart(22, 'A')} 2000000000\n`
  const before = `asfaleia-seen/1\n${Array.from({ length: 14 }, (_, n) => line(n)).join('')}`
  writeFileSync(path, before)
  // A file size limit of 512 bytes has the effect of a disk that becomes full within the line.
  expect(512 - before.length).toBeGreaterThan(0)
  expect(512 - before.length).toBeLessThan(line(14).length)
  const script = `
    import { openSeen } from ${JSON.stringify(STATE)}
    await openSeen(${JSON.stringify(root)}).append(Buffer.from(${JSON.stringify(line(14))})).catch((error) => process.stdout.write(error.message))`
  const { stdout } = await run(['sh', '-c', 'ulimit -f 1; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
  expect(stdout).toBe(`cannot write ${path}: the disk is full`)
  expect(readFileSync(path, 'utf8')).toBe(before)
  await openSeen(root).append(encodeText(line(15)))
  expect(Seen.decode(readFileSync(path), 1_795_000_000)?.size).toBe(15)
})

test('a history line that a full disk cut in half is removed, and the next one is written whole', async () => {
  const script = `
    import { History } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/chat/history.ts'))}
    import { generateSeedKey } from ${JSON.stringify(join(import.meta.dirname, '../../../src/auth/seed.ts'))}
    import { identityOf } from ${JSON.stringify(join(import.meta.dirname, '../../../src/client/format/identity.ts'))}
    const owner = identityOf(generateSeedKey())
    const open = (name) => new History(${JSON.stringify(root)}, owner, name)
    const said = (text) => [{ kind: 'message', message: { conversation: 'x', author: 'x', at: 0, verdict: 'genuine', text, mine: true, deliveries: [] } }]
    const history = open('1')
    await history.append(said('one'))
    await history.append(said('x'.repeat(2_000))).catch((error) => process.stdout.write(error.message + '\\n'))
    await history.append(said('two'))
    const { kept, problems } = await open('2').read()
    process.stdout.write(JSON.stringify([kept.map(({ text }) => text), problems]))`
  const { stdout, stderr } = await run(['sh', '-c', 'ulimit -f 4; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
  expect([stdout, stderr]).toEqual(['cannot write the history: the disk is full\n[["one","two"],[]]', ''])
})

test('the next write removes the old temporary files of a killed process, and no other files', async () => {
  const names = ['.new-0123456789abcdef', '.new-0123456789abcdee', '.new-0123456789abcdefg', '.newer', 'x']
  for (const name of names) writeFileSync(join(root, name), '')
  for (const name of names) if (name !== '.new-0123456789abcdee') utimesSync(join(root, name), 0, 0)
  await writeWhole(join(root, 'x'), 'x', { replace: true })
  expect(readdirSync(root).toSorted()).toEqual(names.slice(1).toSorted())
})

test('tags are not appended to a file that was removed in the meantime', async () => {
  await expect(openSeen(root).append(encodeText('x 1\n'))).rejects.toThrow('cannot write')
})

test('only one of several simultaneous processes gets the outbox, also if a dead process left its lock', async () => {
  const dead = await deadId()
  const folders = Array.from({ length: 60 }, (_, n) => join(root, String(n)))
  for (const [n, folder] of folders.entries()) {
    mkdirSync(folder)
    if (n % 2 === 0) writeFileSync(join(folder, 'outbox.lock'), `${dead}\n`)
  }
  const script = `
    import { openOutbox } from ${JSON.stringify(STATE)}
    process.stdout.write('ready\\n')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    for (const folder of ${JSON.stringify(folders)}) await openOutbox(folder, {}).then(() => process.stdout.write(folder + '\\n'), () => {})
    process.stdout.write('done\\n')
    // The locks belong to this process as long as it lives.
    await new Promise((resolve) => process.stdin.once('end', resolve))`
  const processes = Array.from({ length: 3 }, () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    return { child, out: () => out }
  })
  try {
    await expect.poll(() => processes.every(({ out }) => out().startsWith('ready\n')), { timeout: 30_000 }).toBe(true)
    for (const { child } of processes) child.stdin.write('go\n')
    await expect.poll(() => processes.every(({ out }) => out().endsWith('done\n')), { timeout: 30_000 }).toBe(true)
    const taken = processes.flatMap(({ out }) => out().split('\n').slice(1, -2))
    expect(taken.toSorted()).toEqual(folders.toSorted())
  } finally {
    for (const { child } of processes) child.stdin.end()
  }
}, 90_000)

describe('an outbox on the disk', () => {
  const identity = identityOf(generateSeedKey())
  const PLAIN = {
    id: 'a',
    to: `SHA256:${'A'.repeat(43)}`,
    relays: ['one.onion', 'two.onion'],
    held: ['one.onion'],
    time: 1_795_000_000,
    deadline: 1_795_000_001,
    confirm: true,
  }
  const SENT = { copies: 2, again: 1_795_000_000_000, runs: ['a run'] }
  const FULL = { ...PLAIN, id: 'b', left: 0, daily: true, renewals: 2, sent: SENT } as const

  test('gives back what was written, and is no file while it is empty', async () => {
    const outbox = await openOutbox(root, identity)
    expect(await outbox.load()).toEqual([])
    const entries = [
      { ...PLAIN, payload: Uint8Array.of(1, 2) },
      { ...FULL, payload: new Uint8Array(0), text: Uint8Array.of(3) },
    ]
    await outbox.save(entries)
    expect(readFileSync(join(root, 'outbox.age'), 'latin1')).not.toContain('one.onion')
    const read = await outbox.load()
    expect(read.map((entry) => ({ ...entry, payload: [...entry.payload] }))).toMatchObject([
      { ...PLAIN, payload: [1, 2] },
      { ...FULL, payload: [] },
    ])
    expect(read.map((entry) => [Object.keys(entry).length, entry.text?.length])).toEqual([
      [8, undefined],
      [13, 1],
    ])
    await outbox.save([])
    expect(readdirSync(root)).toEqual(['outbox.lock'])
    await outbox.release()
  })

  const lineOf = (change: object): string => `${JSON.stringify({ ...FULL, payload: '', text: '', ...change })}\n`
  const FORM = 'asfaleia-outbox/1\n'

  test('may hold the lines of an entry with each of its fields', async () => {
    writeFileSync(join(root, 'outbox.age'), await sealFor(identity, encodeText(`${FORM}${lineOf({})}${lineOf({ daily: undefined })}`)))
    const outbox = await openOutbox(root, identity)
    expect(await outbox.load()).toHaveLength(2)
    await outbox.release()
  })

  test.each([
    ['nothing', ''],
    ['another form', `asfaleia-outbox/2\n${lineOf({})}`],
    ['half a line', `${FORM}${lineOf({}).slice(0, -1)}`],
    ['a line that is no JSON', `${FORM}x\n`],
    ['an id that is no text', `${FORM}${lineOf({ id: 1 })}`],
    ['no receiver', `${FORM}${lineOf({ to: undefined })}`],
    ['no payload', `${FORM}${lineOf({ payload: null })}`],
    ['relays that are no list', `${FORM}${lineOf({ relays: 'one.onion' })}`],
    ['a relay that is no text', `${FORM}${lineOf({ held: [1] })}`],
    ['an infinite time', `${FORM}${lineOf({ time: 0 }).replace('"time":0', '"time":1e999')}`],
    ['no deadline', `${FORM}${lineOf({ deadline: undefined })}`],
    ['a confirmation that is no boolean', `${FORM}${lineOf({ confirm: 1 })}`],
    ['a count that is no whole number', `${FORM}${lineOf({ left: 0.5 })}`],
    ['renewals that are no number', `${FORM}${lineOf({ renewals: '1' })}`],
    ['a text that is none', `${FORM}${lineOf({ text: 1 })}`],
    ['a mark that is no mark', `${FORM}${lineOf({ daily: false })}`],
    ['half a copy', `${FORM}${lineOf({ sent: { ...SENT, copies: 0.5 } })}`],
    ['fewer copies than none', `${FORM}${lineOf({ sent: { ...SENT, copies: -1 } })}`],
    ['no time for the next copy', `${FORM}${lineOf({ sent: { ...SENT, again: null } })}`],
    ['runs that are no list', `${FORM}${lineOf({ sent: { ...SENT, runs: 'a run' } })}`],
    ['a run that is no text', `${FORM}${lineOf({ sent: { ...SENT, runs: [1] } })}`],
    ['more runs than relays', `${FORM}${lineOf({ sent: { ...SENT, runs: ['a run', 'a run'] } })}`],
    ['null for its copies', `${FORM}${lineOf({ sent: null })}`],
  ])('with %s is refused, and left untouched', async (_what, text) => {
    const sealed = await sealFor(identity, encodeText(text))
    writeFileSync(join(root, 'outbox.age'), sealed)
    const outbox = await openOutbox(root, identity)
    await expect(outbox.load()).rejects.toThrow('the file is damaged')
    expect(readFileSync(join(root, 'outbox.age')).equals(sealed)).toBe(true)
    await outbox.release()
  })
})

test('a lock is stale if its process id now belongs to another program', async () => {
  mkdirSync(join(root, 'state'))
  const lock = join(root, 'state/outbox.lock')
  writeFileSync(lock, `${process.ppid} 1\n`)
  const outbox = await openOutbox(join(root, 'state'), {} as never)
  expect(readFileSync(lock, 'utf8')).toMatch(new RegExp(`^${process.pid} \\d+\n$`))
  await outbox.release()
})

test('a lock of a zombie is stale, and the lock of a process that lives is not', async () => {
  mkdirSync(join(root, 'state'))
  const lock = join(root, 'state/outbox.lock')
  // The shell becomes a program that never asks for its child, which ends only then, and stays a zombie.
  const parent = spawn('sh', ['-c', '(until grep -q sleep /proc/$$/comm; do :; done) & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [chunk] = (await once(parent.stdout, 'data')) as [Buffer]
    const zombie = Number(chunk.toString())
    const stateOf = (): string | undefined => readFileSync(`/proc/${zombie}/stat`, 'latin1').split(') ')[1]?.[0]
    await expect.poll(stateOf, { timeout: 10_000 }).toBe('Z')
    writeFileSync(lock, `${parent.pid}\n`)
    await expect(openOutbox(join(root, 'state'), {} as never)).rejects.toThrow(`another asfaleia, process ${parent.pid}`)
    writeFileSync(lock, `${zombie}\n`)
    await (await openOutbox(join(root, 'state'), {} as never)).release()
  } finally {
    parent.kill('SIGKILL')
  }
})

describe('a file of the state or of the profile', () => {
  const zero = (path: string): void => symlinkSync('/dev/zero', path)
  const pipe = (path: string): void => void execFileSync('mkfifo', [path])
  const large = (path: string): void => {
    writeFileSync(path, '')
    truncateSync(path, 2 ** 40)
  }
  const owner = identityOf(generateSeedKey())
  const files: readonly (readonly [name: string, read: () => Promise<unknown>])[] = [
    ['seen', () => openSeen(root).load()],
    ['outbox.age', async () => (await openOutbox(root, owner)).load()],
    ['outbox.lock', () => openOutbox(root, owner)],
    ['profile', () => new Home(root).readSettings()],
    ['card', () => new Home(root).readCard()],
    ['encryption-key', () => new Home(root).completeIdentity({ ...owner, opens: [] }, false)],
  ]

  test.each(
    files.flatMap(([name, read]) =>
      (
        [
          ['a pipe', pipe, /not a regular file/],
          ['a device without an end', zero, /not a regular file/],
          ['too large', large, /larger than/],
        ] as const
      ).map(([what, make, problem]) => [name, what, make, problem, read] as const),
    ),
  )('is not read if it is not what it must be: %s is %s', async (name, _what, make, problem, read) => {
    make(join(root, name))
    await expect(read()).rejects.toThrow(problem)
  })

  test.each([
    ['a relay that is no text', { relays: [{}] }],
    ['a holder that is no text', { held: [1] }],
    ['no payload', { payload: undefined }],
    ['a receiver that is no text', { to: null }],
    ['a time without an end', { time: '@' }],
  ])('is refused whole if it is an outbox with an entry with %s', async (_name, change) => {
    const entry = {
      id: 'x',
      to: 'SHA256:x',
      relays: ['localhost'],
      held: [],
      time: 1,
      deadline: 2,
      confirm: true,
      payload: 'QUJD',
      ...change,
    }
    const text = encodeText(`asfaleia-outbox/1\n${JSON.stringify(entry).replace('"@"', '1e999')}\n`)
    writeFileSync(join(root, 'outbox.age'), await sealFor(owner, text))
    const outbox = await openOutbox(root, owner)
    await expect(outbox.load()).rejects.toThrow('damaged')
    await outbox.release()
  })

  test('does not take a tag if it is a pipe', async () => {
    pipe(join(root, 'seen'))
    await expect(openSeen(root).append(encodeText('x 1\n'))).rejects.toThrow('cannot write')
  })

  test('is reported if it belongs to a history, and the others are read', async () => {
    for (const [n, make] of [pipe, zero, large].entries()) make(join(root, `${n}.history`))
    const history = new History(root, owner, '9')
    const message = { conversation: 'x', author: 'x', at: 0, verdict: 'genuine', text: 'hi', mine: true, deliveries: [] } as const
    await history.append([{ kind: 'message', message }])
    const { kept, problems } = await history.read()
    expect(kept.map(({ text }) => text)).toEqual(['hi'])
    expect(problems).toHaveLength(3)
  })

  test('is read whole if it grows meanwhile, and up to its bound if it has no size', async () => {
    writeFileSync(join(root, 'x'), 'x'.repeat(20_000))
    expect(await readBytes(join(root, 'x'), 20_000)).toHaveLength(20_000)
    await expect(readBytes(join(root, 'x'), 19_999)).rejects.toThrow('larger than 19999 bytes')
    // The kernel's files have the size 0.
    expect((await readBytes('/proc/self/smaps', 2 ** 24))!.length).toBeGreaterThan(4_096)
    await expect(readBytes('/proc/self/smaps', 4_096)).rejects.toThrow('larger than 4096 bytes')
    expect(await readBytes(join(root, 'none'), 1)).toBeUndefined()
  })
})
