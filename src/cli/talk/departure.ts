/** A file on its way to a contact: read from the disk as it is sent, with its progress on a terminal. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { FileSource } from '../../client/delivery/file.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { diagnose } from './diagnosis.ts'
import { readAt } from '../disk/file.ts'
import { systemReason } from '../disk/system.ts'
import type { Profile } from '../profile/profile.ts'
import { duration, toCliError } from './refusal.ts'
import { openTalk, type Talk } from './talk.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

export interface FileWanted {
  readonly path: string
  /** Seconds; until it is settled, or Ctrl-C, where not given. */
  readonly wait: number | undefined
  readonly json: boolean
}

/** @returns the exit code @throws {CliError} */
export async function sendFile(profile: Profile, to: Contact, { path, wait, json }: FileWanted, io: Io): Promise<number> {
  if (profile.relays.length === 0)
    throw new UsageError('--file wants relays of your own, where the receiver says what has come', {
      hint: '`asfaleia me --relay ADDRESS` says where you receive',
    })
  await using file = await openFile(path)
  const { size } = await file.stat()
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, { relays: profile.relays, more: [to], outbox: false })
    const { messenger } = talk
    const progress = new Progress(io)
    const events = messenger.events()
    const told = new Set<string>()
    void (async () => {
      for await (const event of events) {
        if (event.kind === 'file-sent') progress.show(event.file)
        // It goes on trying, and says once of each relay what keeps it.
        if (event.kind !== 'relay' || event.state !== 'down' || event.error === undefined || io.signal.aborted) continue
        const why = await diagnose(event.error, io, profile.socks).catch(() => undefined)
        const line = `${event.relay}: ${why instanceof CliError ? why.message : 'the relay cannot be used'}`
        if (!told.has(line)) progress.note(line)
        told.add(line)
      }
    })()
    const delivery = await messenger.sendFile(to, sourceOf(file, basename(path), size), { signal: io.signal })
    progress.show(delivery)
    await Promise.race([
      delivery.settled,
      new Promise((resolve) => setTimeout(resolve, Math.min((wait ?? Infinity) * 1_000, 2_147_483_647)).unref()),
    ])
    progress.clear()
    return conclude(delivery, wait, json, io)
  } catch (error) {
    if (error instanceof TypeError && !io.signal.aborted) throw new CliError(`cannot send ${path}: ${error.message}`)
    throw toCliError(error, io.signal)
  } finally {
    await talk?.close()
  }
}

function conclude(
  { state, confirmed, total, name, to, file, error }: FileDelivery,
  wait: number | undefined,
  json: boolean,
  io: Io,
): number {
  if (json) io.stdout.write(`${formatJson({ file, to: to.name, name, total, confirmed, state })}\n`)
  const who = sanitizeLine(to.name)
  switch (state) {
    case 'done':
      if (!json) io.stdout.write(`${who} has ${sanitizeLine(name)}, ${total} bytes, and its hash is right\n`)
      return EXIT.ok
    case 'offered':
    case 'sending':
      if (io.signal.aborted) throw new CliError('interrupted', { hint: 'the same command goes on where it ended' })
      io.stderr.write(`asfaleia: ${who} has ${confirmed} of ${total} bytes after ${duration(wait ?? 0)}; the same command goes on\n`)
      return EXIT.unconfirmed
    case 'refused':
      throw new CliError(`${to.name} does not take the file, or found it damaged`, {
        hint: 'they take files by `asfaleia get --files FOLDER`',
      })
    case 'expired':
      throw new CliError(`${to.name} did not take the file in time`)
    case 'failed':
      if (io.signal.aborted) throw new CliError('interrupted', { hint: 'the same command goes on where it ended' })
      throw toCliError(error, io.signal) ?? new CliError('the file could not be sent')
  }
}

/** @throws {CliError} where it cannot be read, or is no file */
export async function openFile(path: string): Promise<FileHandle> {
  try {
    // A pipe is not waited for.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`)
  }
  throw new CliError(`cannot read ${path}: it is not a regular file`)
}

/** @param name as the receiver sees it @param size bytes */
export function sourceOf(file: FileHandle, name: string, size: number): FileSource {
  return {
    name,
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length)
      return bytes.subarray(0, await readAt(file, bytes, offset))
    },
  }
}

const BAR = 30

/** One line that is drawn again, where there is a terminal. */
class Progress {
  readonly #io: Io
  #drawn = ''

  constructor(io: Io) {
    this.#io = io
  }

  show({ state, confirmed, total, to }: FileDelivery): void {
    if (this.#io.stderr.isTTY !== true) return
    const part = total === 0 ? 1 : confirmed / total
    const bar = '#'.repeat(Math.floor(part * BAR)).padEnd(BAR, '.')
    const line =
      state === 'offered'
        ? `waiting until ${sanitizeLine(to.name)} takes it`
        : `[${bar}] ${Math.floor(part * 100)} %, ${confirmed} of ${total} bytes`
    if (line === this.#drawn) return
    this.#drawn = line
    this.#io.stderr.write(`\r\u{1b}[K${line}`)
  }

  /** A line above it. */
  note(text: string): void {
    this.clear()
    this.#io.stderr.write(`asfaleia: ${sanitizeLine(text)}\n${this.#drawn}`)
  }

  clear(): void {
    if (this.#drawn !== '') this.#io.stderr.write('\r\u{1b}[K')
  }
}
