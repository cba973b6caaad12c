/** Sends a file to a contact: reads it part by part, and shows the progress on the terminal. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import type { FileSource } from '../../client/delivery/file.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { diagnose } from './diagnosis.ts'
import { readAt } from '../disk/file.ts'
import { systemHint, systemReason } from '../disk/system.ts'
import type { Profile } from '../profile/profile.ts'
import { duration } from '../../wording/figures.ts'
import { toCliError } from './refusal.ts'
import { openTalk, type Talk } from './talk.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { showName } from '../../wording/name.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

export interface FileWanted {
  readonly path: string
  /** How many seconds to wait for the receiver; undefined waits until the transfer ends, or for Ctrl-C. */
  readonly wait: number | undefined
  readonly json: boolean
  /** The value of `--socks`. */
  readonly socks?: string | undefined
}

/** @returns the exit code @throws {CliError} */
export async function sendFile(profile: Profile, to: Contact, { path, wait, json, socks }: FileWanted, io: Io): Promise<number> {
  if (profile.relays.length === 0)
    throw new UsageError('--file needs a relay of your own, where the receiver confirms the parts', {
      hint: 'set one with `asfaleia me --relay ADDRESS`',
    })
  await using file = await openFile(path)
  const { size } = await file.stat()
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, { what: 'send', relays: profile.relays, more: [to], outbox: false, socks })
    const { messenger } = talk
    const progress = new Progress(io)
    const events = messenger.events()
    const told = new Set<string>()
    void (async () => {
      for await (const event of events) {
        if (event.kind === 'file-sent') progress.show(event.file)
        // The messenger keeps trying; each problem of a relay is shown once.
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
    progress.end()
    return conclude(delivery, wait, json, io)
  } catch (error) {
    if (error instanceof TypeError && !io.signal.aborted) throw new CliError(`cannot send ${path}: ${error.message}`)
    throw toCliError(error, io.signal)
  } finally {
    await talk?.close()
  }
}

const CONTINUE_HINT = 'run the same command again to continue'

/** Reports how the transfer ended. @returns the exit code @throws {CliError} */
function conclude(
  { state, confirmed, total, name, to, file, error }: FileDelivery,
  wait: number | undefined,
  json: boolean,
  io: Io,
): number {
  if (json) io.stdout.write(`${formatJson({ file, to: to.name, name, total, confirmed, state })}\n`)
  const who = showName(to.name)
  switch (state) {
    case 'done':
      if (!json) io.stdout.write(`${who} has received ${sanitizeLine(name)}, ${total} bytes, and confirmed its hash\n`)
      return EXIT.ok
    case 'offered':
    case 'sending':
      if (io.signal.aborted) throw new CliError('interrupted', { hint: CONTINUE_HINT })
      io.stderr.write(`asfaleia: ${who} has ${confirmed} of ${total} bytes after ${duration(wait ?? 0)}; ${CONTINUE_HINT}\n`)
      return EXIT.unconfirmed
    case 'refused':
      throw new CliError(`${showName(to.name)} refused the file, or found it damaged`, {
        hint: 'they accept files with `asfaleia get --files FOLDER`',
      })
    case 'expired':
      throw new CliError(`${showName(to.name)} did not accept the file in time`)
    case 'failed':
      if (io.signal.aborted) throw new CliError('interrupted', { hint: CONTINUE_HINT })
      throw toCliError(error, io.signal) ?? new CliError('the file could not be sent')
  }
}

/** Opens a regular file for reading. Opening a pipe does not block. @throws {CliError} if it cannot be read */
export async function openFile(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    throw new CliError(`cannot read ${path}: ${systemReason(error)}`, systemHint(error))
  }
  throw new CliError(`cannot read ${path}: it is not a regular file`)
}

/** Makes a source of the file's parts. @param name the name that the receiver sees @param size in bytes */
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

/** One line that is redrawn, if stderr is a terminal. */
class Progress {
  readonly #io: Io
  #drawn = ''
  #isOver = false

  constructor(io: Io) {
    this.#io = io
  }

  show({ state, confirmed, total, to }: FileDelivery): void {
    if (this.#io.stderr.isTTY !== true || this.#isOver) return
    const part = total === 0 ? 1 : confirmed / total
    const bar = '#'.repeat(Math.floor(part * BAR)).padEnd(BAR, '.')
    const line =
      state === 'offered'
        ? `waiting for ${showName(to.name)} to accept the file`
        : `[${bar}] ${Math.floor(part * 100)} %, ${confirmed} of ${total} bytes`
    if (line === this.#drawn) return
    this.#drawn = line
    this.#io.stderr.write(`\r\u{1b}[K${line}`)
  }

  /** Prints a line above it. */
  note(text: string): void {
    this.#clear()
    this.#io.stderr.write(`asfaleia: ${sanitizeLine(text)}\n${this.#drawn}`)
  }

  /** Removes it: an event that comes later does not draw it behind the outcome. */
  end(): void {
    this.#clear()
    this.#drawn = ''
    this.#isOver = true
  }

  #clear(): void {
    if (this.#drawn !== '') this.#io.stderr.write('\r\u{1b}[K')
  }
}
