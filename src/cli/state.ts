/**
 * What outlives a client's process, where that is switched on: the tags of messages that came, and the outbox, encrypted
 * to oneself. One process has the outbox at a time.
 */
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { open as openSealed, sealFor } from '../client/envelope.ts'
import type { Identity } from '../client/identity.ts'
import type { OutboxStore } from '../client/messenger.ts'
import type { OutboxEntry } from '../client/outbox.ts'
import type { SeenStore } from '../client/seen.ts'
import { makeFolder, systemReason, writeNew, writeWhole } from './file.ts'
import { systemCode } from './keyfile.ts'
import { CliError } from './terminal.ts'

/** The file `seen` of the folder. */
export function openSeen(folder: string): SeenStore {
  const path = join(folder, 'seen')
  return {
    load: () => readBytes(path),
    async append(line) {
      try {
        await using file = await open(path, 'a', 0o600)
        await file.appendFile(line)
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
      if (entries === undefined) throw new CliError(`${path}: it is not what this program wrote, or not for this key`, { hint: 'it is left as it is; move it away to go on without it' })
      return entries
    },
    async save(entries) {
      if (entries.length === 0) return remove(path)
      await writeWhole(path, await sealFor(identity, encodeEntries(entries)), { replace: true })
    },
    release: () => remove(lock),
  }
}

/** The lock holds its owner's process id; one of a process that died is nobody's. */
async function takeLock(path: string): Promise<void> {
  for (const last of [false, true]) {
    try {
      return await writeNew(path, `${process.pid}\n`, 0o600)
    } catch (error) {
      const owner = Number((await readBytes(path))?.toString())
      if (last || (Number.isSafeInteger(owner) && owner > 0 && owner !== process.pid && isAlive(owner))) {
        throw last ? error : new CliError('another asfaleia has the outbox', { hint: `process ${owner}; end it, or send without --outbox` })
      }
      await remove(path)
    }
  }
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
  const lines = entries.map(({ payload, ...entry }) => `${JSON.stringify({ ...entry, payload: Buffer.from(payload).toString('base64') })}\n`)
  return Buffer.from(`${FORM}\n${lines.join('')}`)
}

/** What {@link encodeEntries} wrote: nobody else can have encrypted it to us without our knowing the difference, so its form is checked. */
function decodeEntries(text: Uint8Array | undefined): OutboxEntry[] | undefined {
  const [form, ...lines] = text === undefined ? [] : Buffer.from(text).toString().split('\n')
  if (form !== FORM || lines.pop() !== '') return undefined
  try {
    return lines.map((line) => {
      const { payload, ...entry } = JSON.parse(line) as Omit<OutboxEntry, 'payload'> & { payload: string }
      if (typeof entry.id !== 'string' || typeof entry.to !== 'string' || !Array.isArray(entry.relays) || !Array.isArray(entry.held)) throw new TypeError()
      if (typeof entry.time !== 'number' || typeof entry.deadline !== 'number') throw new TypeError()
      return { ...entry, payload: Buffer.from(payload, 'base64') }
    })
  } catch {
    return undefined
  }
}
