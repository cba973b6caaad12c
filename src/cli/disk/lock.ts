/** Locks: files that name the process that holds them. A lock of a dead process is stale, and may be taken. */
import { randomBytes } from 'node:crypto'
import { link, readFile, rename, rm } from 'node:fs/promises'
import { readText, refuseWrite, writeWhole } from './file.ts'
import { systemCode, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'

/** A held lock. */
export interface Lock {
  /** Removes the lock. */
  release(): Promise<void>
}

const TRIES = 5
const MOST_BYTES = 256

/** The locks that this process holds: its id alone does not tell them from those of an earlier process. */
const held = new Set<string>()

/**
 * Takes a lock. It holds the process id of its owner and, if the system reports it, the time at which that process
 * started: after a reboot another program may have the same id.
 * @returns the id of the process that holds it, or the lock
 * @throws {CliError} if the file cannot be written
 */
export async function takeLock(path: string): Promise<Lock | number> {
  if (held.has(path)) return process.pid
  held.add(path)
  let isTaken = false
  try {
    const other = await take(path)
    if (other !== undefined) return other
    isTaken = true
  } finally {
    if (!isTaken) held.delete(path)
  }
  return {
    async release() {
      await remove(path)
      held.delete(path)
    },
  }
}

/** @returns the id of the process that holds it, if it is another one */
async function take(path: string): Promise<number | undefined> {
  const ours = `${process.pid} ${(await readStart(process.pid)) ?? ''}\n`
  for (let tries = 1; ; tries++) {
    try {
      // Atomic: a process that finds the lock can always read its owner.
      await writeWhole(path, ours, { replace: false })
      return undefined
    } catch (error) {
      const found = await readText(path, MOST_BYTES)
      const [id, start] = found?.trim().split(' ') ?? []
      if (await isAnother(Number(id), start)) return Number(id)
      if (tries === TRIES) throw error
      if (found !== undefined) await takeAway(path, found)
    }
  }
}

/** Removes a stale lock. Of several processes that found it, one moves it aside; a process that moved a newer lock puts it back. */
async function takeAway(path: string, found: string): Promise<void> {
  const aside = `${path}.${randomBytes(8).toString('hex')}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw refuseWrite(`cannot remove ${path}: ${systemReason(error)}`, error)
  }
  if ((await readText(aside, MOST_BYTES)) !== found) await link(aside, path).catch(() => {})
  await remove(aside)
}

async function isAnother(pid: number, start: string | undefined): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid || !isAlive(pid)) return false
  const stat = await readStat(pid)
  // A zombie has an id until its parent asks for it, but never runs again.
  if (stat?.[0] === 'Z') return false
  const now = start === undefined ? undefined : stat?.[STARTED]
  return now === undefined || now === start
}

/** The place of the start time, in clock ticks since boot, after the second field. */
const STARTED = 19

async function readStart(pid: number): Promise<string | undefined> {
  return (await readStat(pid))?.[STARTED]
}

/** Reads /proc/PID/stat (proc(5)) from the third field on, the state: the second one may contain spaces. */
async function readStat(pid: number): Promise<string[] | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

async function remove(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
  } catch (error) {
    throw new CliError(`cannot remove ${path}: ${systemReason(error)}`)
  }
}
