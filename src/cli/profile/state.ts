/**
 * The client's state on the disk, if switched on: the tags of received messages, and the outbox, which is encrypted to
 * the user's own key. Only one process at a time has the outbox.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { open as openSealed, sealFor } from '../../client/format/envelope.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { OutboxStore } from '../../client/messenger/options.ts'
import type { OutboxEntry } from '../../client/delivery/entry.ts'
import type { SeenStore } from '../../client/delivery/seen.ts'
import { makeFolder, readBytes, refuseWrite, removeFile, writeWhole } from '../disk/file.ts'
import { takeLock } from '../disk/lock.ts'
import { systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** The most tags take 9 MB. */
const SEEN_BYTES = 33_554_432
/** The most messages of an outbox take 90 MB in base64. */
const OUTBOX_BYTES = 134_217_728

/** Opens the file `seen` of the folder. */
export function openSeen(folder: string): SeenStore {
  const path = join(folder, 'seen')
  return {
    load: () => readBytes(path, SEEN_BYTES),
    async append(line) {
      try {
        // Without O_CREAT: `load` and `replace` made the file, and a new one would lack the first line.
        await using file = await open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK)
        const { size } = await file.stat()
        try {
          await file.appendFile(line)
          // The relay erases the message next: if the power failed now, a copy of it would be shown as new.
          await file.datasync()
        } catch (error) {
          // The next line would join a half-written one.
          await file.truncate(size).catch(() => {})
          throw error
        }
      } catch (error) {
        throw refuseWrite(`cannot write ${path}: ${systemReason(error)}`, error, 'the messages shown stay at the relay and will come again')
      }
    },
    async replace(text) {
      await makeFolder(folder)
      await writeWhole(path, text, { replace: true })
    },
  }
}

export interface LockedOutbox extends OutboxStore {
  /** Removes the lock. */
  release(): Promise<void>
}

/** Opens and locks the file `outbox.age` of the folder. @throws {CliError} if another process has it */
export async function openOutbox(folder: string, identity: Identity): Promise<LockedOutbox> {
  const path = join(folder, 'outbox.age')
  await makeFolder(folder)
  const lock = await takeLock(join(folder, 'outbox.lock'))
  if (typeof lock === 'number')
    throw new CliError(`another asfaleia, process ${lock}, is using the outbox`, { hint: 'stop it, or send without --outbox' })
  return {
    async load() {
      const sealed = await readBytes(path, OUTBOX_BYTES)
      if (sealed === undefined) return []
      const entries = decodeEntries(await openSealed(identity, sealed))
      if (entries === undefined)
        throw new CliError(`${path}: the file is damaged, or encrypted to another key`, {
          hint: 'it was left untouched; to continue without it, move it away',
        })
      return entries
    },
    async save(entries) {
      if (entries.length === 0) return removeFile(path)
      await writeWhole(path, await sealFor(identity, encodeEntries(entries)), { replace: true })
    },
    release: lock.release,
  }
}

const FORM = 'asfaleia-outbox/1'

const asBase64 = ({ buffer, byteOffset, length }: Uint8Array): string => Buffer.from(buffer, byteOffset, length).toString('base64')

function encodeEntries(entries: readonly OutboxEntry[]): Uint8Array {
  const lines = entries.map(
    ({ payload, text, ...entry }) => `${JSON.stringify({ ...entry, payload: asBase64(payload), ...(text && { text: asBase64(text) }) })}\n`,
  )
  return Buffer.from(`${FORM}\n${lines.join('')}`)
}

const isText = (value: unknown): boolean => typeof value === 'string'

/** @param held the number of relays that hold the message */
function isSent({ copies, again, runs }: NonNullable<OutboxEntry['sent']>, held: number): boolean {
  const areRuns = Array.isArray(runs) && runs.length === held && runs.every(isText)
  return areRuns && Number.isSafeInteger(copies) && copies >= 0 && Number.isFinite(again)
}

/** Decodes the text of {@link encodeEntries}. Checks its form, since anyone can encrypt a file to the user's key. */
function decodeEntries(text: Uint8Array | undefined): OutboxEntry[] | undefined {
  const [form, ...lines] = text === undefined ? [] : Buffer.from(text).toString().split('\n')
  if (form !== FORM || lines.pop() !== '') return undefined
  try {
    return lines.map((line) => {
      const entry = JSON.parse(line) as Omit<OutboxEntry, 'payload' | 'text'> & { payload: string; text?: string }
      const { id, to, relays, held, time, deadline, confirm, payload, text, left, daily, renewals, sent } = entry
      if (![id, to, payload].every(isText) || ![relays, held].every((list) => Array.isArray(list) && list.every(isText)))
        throw new TypeError()
      // JSON can spell numbers that become infinite.
      if (!Number.isFinite(time) || !Number.isFinite(deadline) || typeof confirm !== 'boolean') throw new TypeError()
      if (![left, renewals].every((value) => value === undefined || Number.isSafeInteger(value))) throw new TypeError()
      if ((text !== undefined && !isText(text)) || (daily !== undefined && daily !== true)) throw new TypeError()
      if (sent !== undefined && !isSent(sent, held.length)) throw new TypeError()
      return {
        id,
        to,
        relays,
        held,
        time,
        deadline,
        confirm,
        payload: Buffer.from(payload, 'base64'),
        ...(text !== undefined && { text: Buffer.from(text, 'base64') }),
        ...(left !== undefined && { left }),
        ...(daily === true && { daily }),
        ...(renewals !== undefined && { renewals }),
        ...(sent !== undefined && { sent }),
      }
    })
  } catch {
    return undefined
  }
}
