/**
 * What outlives a client's process, where that is switched on: the tags of messages that came, and the outbox, encrypted
 * to oneself. One process has the outbox at a time.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { open as openSealed, sealFor } from '../../client/format/envelope.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { OutboxStore } from '../../client/messenger/messenger.ts'
import type { OutboxEntry } from '../../client/delivery/entry.ts'
import type { SeenStore } from '../../client/delivery/seen.ts'
import { makeFolder, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** The file `seen` of the folder. */
export function openSeen(folder: string): SeenStore {
  const path = join(folder, 'seen')
  return {
    load: () => readBytes(path),
    async append(line) {
      try {
        // It is there: `load` and `replace` came before. A new one would lack its first line.
        await using file = await open(path, constants.O_WRONLY | constants.O_APPEND)
        const { size } = await file.stat()
        try {
          await file.appendFile(line)
        } catch (error) {
          // Half a line would be the beginning of the next one.
          await file.truncate(size).catch(() => {})
          throw error
        }
      } catch (error) {
        throw new CliError(`cannot write ${path}: ${systemReason(error)}`, { hint: 'the message waits still; it comes again' })
      }
    },
    async replace(text) {
      await makeFolder(folder)
      await writeWhole(path, text, { replace: true })
    },
  }
}

export interface LockedOutbox extends OutboxStore {
  /** Others may have it from now on. */
  release(): Promise<void>
}

/** The file `outbox.age` of the folder, for this process alone. @throws {CliError} where another one has it */
export async function openOutbox(folder: string, identity: Identity): Promise<LockedOutbox> {
  const path = join(folder, 'outbox.age')
  await makeFolder(folder)
  const lock = join(folder, 'outbox.lock')
  await takeLock(lock)
  return {
    async load() {
      const sealed = await readBytes(path)
      if (sealed === undefined) return []
      const entries = decodeEntries(await openSealed(identity, sealed))
      if (entries === undefined)
        throw new CliError(`${path}: it is not what this program wrote, or not for this key`, {
          hint: 'it is left as it is; move it away to go on without it',
        })
      return entries
    },
    async save(entries) {
      if (entries.length === 0) return remove(path)
      await writeWhole(path, await sealFor(identity, encodeEntries(entries)), { replace: true })
    },
    release: () => remove(lock),
  }
}

/**
 * The lock holds its owner's process id, and when that process was started, where the system says it: after a start of
 * the machine another program has the id. One of a process that died is nobody's.
 */
async function takeLock(path: string): Promise<void> {
  const ours = `${process.pid} ${(await readStart(process.pid)) ?? ''}\n`
  for (let tries = 1; ; tries++) {
    try {
      // Never half written: who finds it can say whose it is.
      return await writeWhole(path, ours, { replace: false })
    } catch (error) {
      const found = await readBytes(path)
      const [id, start] = found?.toString().trim().split(' ') ?? []
      if (await isAnother(Number(id), start))
        throw new CliError('another asfaleia has the outbox', { hint: `process ${id}; end it, or send without --outbox` })
      if (tries === LOCK_TRIES) throw error
      if (found !== undefined) await takeAway(path, found)
    }
  }
}

const LOCK_TRIES = 5

/** Of several who found the same lock of a dead process one moves it; who moved another's lock by that puts it back. */
async function takeAway(path: string, found: Buffer): Promise<void> {
  const aside = `${path}.${randomBytes(8).toString('hex')}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw new CliError(`cannot remove ${path}: ${systemReason(error)}`)
  }
  if ((await readBytes(aside))?.equals(found) === false) await link(aside, path).catch(() => {})
  await remove(aside)
}

async function isAnother(pid: number, start: string | undefined): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid || !isAlive(pid)) return false
  const now = start === undefined ? undefined : await readStart(pid)
  return now === undefined || now === start
}

/** proc(5), /proc/PID/stat: the 22nd field, and the second may hold spaces. Ticks of a clock since the machine's start. */
async function readStart(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19]
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

async function readBytes(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`)
  }
}

const FORM = 'asfaleia-outbox/1'

function encodeEntries(entries: readonly OutboxEntry[]): Uint8Array {
  const lines = entries.map(
    ({ payload, ...entry }) => `${JSON.stringify({ ...entry, payload: Buffer.from(payload).toString('base64') })}\n`,
  )
  return Buffer.from(`${FORM}\n${lines.join('')}`)
}

/** What {@link encodeEntries} wrote: nobody else can have encrypted it to us without our knowing the difference, so its form is checked. */
function decodeEntries(text: Uint8Array | undefined): OutboxEntry[] | undefined {
  const [form, ...lines] = text === undefined ? [] : Buffer.from(text).toString().split('\n')
  if (form !== FORM || lines.pop() !== '') return undefined
  try {
    return lines.map((line) => {
      const { payload, ...entry } = JSON.parse(line) as Omit<OutboxEntry, 'payload'> & { payload: string }
      if (typeof entry.id !== 'string' || typeof entry.to !== 'string' || !Array.isArray(entry.relays) || !Array.isArray(entry.held))
        throw new TypeError()
      if (typeof entry.time !== 'number' || typeof entry.deadline !== 'number') throw new TypeError()
      return { ...entry, payload: Buffer.from(payload, 'base64') }
    })
  } catch {
    return undefined
  }
}
