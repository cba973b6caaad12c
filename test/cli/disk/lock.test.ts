/** Lock files: who holds one, when it is stale, and what stays on the disk. The outbox has the races (state.test.ts). */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as promises from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Lock, takeLock } from '../../../src/cli/disk/lock.ts'
import { run } from '../../support/process.ts'

/** Happens before a stale lock is moved away: another process is faster, or the disk fails. */
const meanwhile = vi.hoisted(() => ({ happens: (): void => {} }))
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof promises>()
  const rename: typeof promises.rename = async (...paths) => {
    meanwhile.happens()
    await real.rename(...paths)
  }
  return { ...real, rename }
})

const LOCK = join(import.meta.dirname, '../../../src/cli/disk/lock.ts')
let root: string
let path: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-lock-'))
  path = join(root, 'lock')
  meanwhile.happens = () => {}
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

/** The time at which a process started, as the kernel shows it. */
const startOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')[19]!

async function take(): Promise<Lock> {
  const lock = await takeLock(path)
  if (typeof lock === 'number') throw new Error(`process ${lock} holds it`)
  return lock
}

test('a lock names its process for the user alone, and is gone once it is released', async () => {
  const lock = await take()
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid} ${startOf(process.pid)}\n`)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  await lock.release()
  expect(readdirSync(root)).toEqual([])
  await (await take()).release()
})

test('a process that holds a lock does not get it a second time', async () => {
  const lock = await take()
  expect(await takeLock(path)).toBe(process.pid)
  expect(readFileSync(path, 'utf8')).toContain(`${process.pid} `)
  await lock.release()
  await (await take()).release()
})

describe('a lock is taken from', () => {
  test.each([
    ['no process', ''],
    ['a word', 'me\n'],
    ['process 0', '0\n'],
    ['a group of processes', '-1\n'],
    ['a fraction', '1.5\n'],
    ['a number that is no id of a process', `${2 ** 60}\n`],
    ['an earlier process that had the id of this one', `${process.pid} 1\n`],
    ['a process with the id of another one that runs', `${process.ppid} 1\n`],
  ])('%s', async (_whom, text) => {
    writeFileSync(path, text)
    const lock = await take()
    expect(readFileSync(path, 'utf8')).toBe(`${process.pid} ${startOf(process.pid)}\n`)
    expect(readdirSync(root)).toEqual(['lock'])
    await lock.release()
  })
})

describe('a lock stays with', () => {
  test.each([
    ['a process that runs', `${process.ppid} ${startOf(process.ppid)}\n`],
    ['a process that runs, of which nothing but the id is known', `${process.ppid}\n`],
    ['the first process of the system', '1\n'],
  ])('%s', async (_whom, text) => {
    writeFileSync(path, text)
    expect(await takeLock(path)).toBe(Number(text.split(' ')[0]))
    expect(readFileSync(path, 'utf8')).toBe(text)
    // Its end frees the lock.
    rmSync(path)
    await (await take()).release()
  })

  test('a process of another user, which this one may not signal', async (context) => {
    context.skip(process.getuid?.() !== 0, 'needs root')
    chmodSync(root, 0o777)
    writeFileSync(path, `${process.pid}\n`)
    const script = `
      import { takeLock } from ${JSON.stringify(LOCK)}
      process.stdout.write(String(await takeLock(${JSON.stringify(path)})))`
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const { stdout, stderr } = await run([...asNobody, process.execPath, '--input-type=module', '-e', script])
    expect({ stdout, stderr }).toEqual({ stdout: String(process.pid), stderr: '' })
  })
})

describe('a stale lock', () => {
  beforeEach(() => writeFileSync(path, '0\n'))

  test('is taken, if another process removed it a moment before', async () => {
    meanwhile.happens = () => {
      meanwhile.happens = () => {}
      rmSync(path)
    }
    await (await take()).release()
    expect(readdirSync(root)).toEqual([])
  })

  test('in whose place another process put its own lock is left to that process', async () => {
    meanwhile.happens = () => writeFileSync(path, `${process.ppid}\n`)
    expect(await takeLock(path)).toBe(process.ppid)
    expect(readFileSync(path, 'utf8')).toBe(`${process.ppid}\n`)
    expect(readdirSync(root)).toEqual(['lock'])
  })

  test('that cannot be moved is reported with the reason', async () => {
    meanwhile.happens = () => {
      throw Object.assign(new Error(), { code: 'EIO' })
    }
    await expect(takeLock(path)).rejects.toThrow(`cannot remove ${path}: the disk reported an error`)
    expect(readFileSync(path, 'utf8')).toBe('0\n')
  })
})

test('a lock that cannot be written is no lock, and may be taken later', async () => {
  path = join(root, 'none/lock')
  await expect(takeLock(path)).rejects.toThrow(`cannot write ${path}: no such file or folder`)
  mkdirSync(join(root, 'none'))
  await (await take()).release()
})

test('a folder in place of a lock is reported and left as it is', async () => {
  mkdirSync(path)
  await expect(takeLock(path)).rejects.toThrow(`cannot read ${path}: it is a folder`)
  expect(readdirSync(root)).toEqual(['lock'])
})

test('a lock that cannot be removed is reported', async () => {
  const lock = await take()
  rmSync(path)
  mkdirSync(path)
  await expect(lock.release()).rejects.toThrow(`cannot remove ${path}: `)
})
