/**
 * The history of messages, if the user switches it on. Each session appends to a file of its own. Each line is the
 * base64 of an age file encrypted to the user's key, so `base64` and `age` can read it. Damaged or half-written lines
 * are reported and left untouched.
 */
import { open as openFile, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { open, sealFor } from '../../client/format/envelope.ts'
import { decodeText, encodeText } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { flush, makeFolder, readBytes, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'
import type { DeliveryState } from '../../wording/delivery.ts'
import type { Verdict } from '../../wording/verdict.ts'
import type { Kept } from './input.ts'

/** One record: a message, or the new state of one of the user's messages. */
export type Happened =
  | { readonly kind: 'message'; readonly message: Kept }
  | { readonly kind: 'state'; readonly id: string; readonly state: DeliveryState; readonly why?: string }

/** The most messages that the start shows: the newest. */
const MOST_MESSAGES = 500
const SUFFIX = '.history'
/** Ends the name of the mark beside a file whose time is over: it holds the time at which it was marked, in ms. */
const MARK = '.over'
const DAY_MS = 86_400_000
const MARK_BYTES = 32
/** The largest file of a session that is read. */
const HISTORY_BYTES = 268_435_456
const VERDICTS: ReadonlySet<string> = new Set<Verdict>([
  'unreadable',
  'unsigned',
  'unknown-version',
  'truncated',
  'malformed',
  'forged',
  'unverifiable',
  'readdressed',
  'replayed',
  'future',
  'stale',
  'genuine',
])

export interface Earlier {
  readonly kept: readonly Kept[]
  /** A sentence for each damaged file. */
  readonly problems: readonly string[]
}

export class History {
  readonly #folder: string
  readonly #owner: Pick<Identity, 'key' | 'opens' | 'recipient'>
  readonly #session: string
  /** For how long messages are kept, ms; undefined: for ever. */
  readonly #keep: number | undefined
  readonly #now: () => number
  #path: string
  /** When this session began its present file. */
  #begun: number
  #files = 0
  #tail: Promise<void> = Promise.resolve()

  /**
   * @param session names this session's files: the time, and a unique part
   * @param options.keep for how many seconds to keep messages
   */
  constructor(
    folder: string,
    owner: Pick<Identity, 'key' | 'opens' | 'recipient'>,
    session: string,
    { keep, now = Date.now }: { readonly keep?: number; readonly now?: () => number } = {},
  ) {
    this.#folder = folder
    this.#owner = owner
    this.#session = session
    this.#keep = keep === undefined ? undefined : keep * 1_000
    this.#now = now
    this.#begun = now()
    this.#path = this.#nextPath()
  }

  /** Reads the messages of earlier sessions, the oldest first. @throws {CliError} if the folder cannot be read */
  async read(): Promise<Earlier> {
    let found: Happened[] = []
    const problems: string[] = []
    for (const name of (await this.#names()).toReversed()) {
      const { happened, broken } = await this.#readFile(name)
      if (broken > 0) problems.push(`${join(this.#folder, name)}: ${broken} damaged lines; the file was left untouched`)
      found = [...happened, ...found]
      if (found.filter(({ kind }) => kind === 'message').length >= MOST_MESSAGES) break
    }
    return { kept: fold(found).slice(-MOST_MESSAGES), problems }
  }

  /**
   * Reads all messages that the history holds, the oldest first, as later changes left them. Reads one file at a time.
   * @throws {CliError} if the folder cannot be read
   */
  async search(): Promise<{ readonly found: readonly Kept[]; readonly problems: readonly string[] }> {
    await this.#tail
    const found = new Map<string, Kept>()
    const problems: string[] = []
    let count = 0
    for (const name of await this.#names()) {
      const { happened, broken } = await this.#readFile(name)
      if (broken > 0) problems.push(`${join(this.#folder, name)}: ${broken} damaged lines; the file was left untouched`)
      for (const each of happened) {
        if (each.kind === 'state') continue
        const { change, fingerprint, mine, id, text } = each.message
        const key = (of: string): string => `${mine ? 'me' : (fingerprint ?? '')} ${of}`
        if (change === undefined) found.set(id === undefined ? `${count++}` : key(id), each.message)
        else if (change.to === 'removed') found.delete(key(change.of))
        else {
          const old = found.get(key(change.of))
          if (old !== undefined) found.set(key(change.of), { ...old, text })
        }
      }
    }
    return { found: [...found.values()].filter(({ verdict }) => verdict !== 'forged'), problems }
  }

  /** Appends records and syncs them to the disk. @throws {CliError} if that fails; earlier records are unharmed */
  append(happened: readonly Happened[]): Promise<void> {
    const appended = this.#tail.then(() => this.#append(happened))
    this.#tail = appended.catch(() => {})
    return appended
  }

  /** Resolves when all writes are done. */
  idle(): Promise<void> {
    return this.#tail
  }

  /**
   * Erases files whose newest message is older than the history keeps messages. A file is only marked at first, and erased
   * at least 24 hours later, so that a clock that is wrong for some hours destroys nothing. If the clock goes back, the
   * mark goes. A file that cannot be erased stays for the next time.
   */
  async prune(): Promise<void> {
    if (this.#keep === undefined) return
    const now = this.#now()
    for (const name of await this.#names()) {
      const path = join(this.#folder, name)
      if (path === this.#path) continue
      try {
        const { mtimeMs } = await stat(path)
        const mark = await readBytes(path + MARK, MARK_BYTES)
        const marked = mark === undefined ? undefined : Number(mark.toString('latin1'))
        if (now - mtimeMs <= this.#keep || (marked !== undefined && !(marked <= now))) await rm(path + MARK, { force: true })
        else if (marked === undefined) await writeWhole(path + MARK, `${now}\n`, { replace: true })
        else if (now - marked >= DAY_MS) {
          await rm(path)
          await rm(path + MARK, { force: true })
        }
      } catch {
        // Another chat may have erased it.
      }
    }
  }

  /** A file ends after a day, because files are erased as a whole. */
  #nextPath(): string {
    const number = this.#keep === undefined ? '' : `.${String(this.#files++).padStart(4, '0')}`
    return join(this.#folder, this.#session + number + SUFFIX)
  }

  async #append(happened: readonly Happened[]): Promise<void> {
    if (this.#keep !== undefined && Math.abs(this.#now() - this.#begun) >= DAY_MS) {
      this.#begun = this.#now()
      this.#path = this.#nextPath()
    }
    const sealed = await sealFor(this.#owner, encodeText(happened.map((each) => `${JSON.stringify(each)}\n`).join('')))
    try {
      await makeFolder(this.#folder)
      await using file = await openFile(this.#path, 'a', 0o600)
      const { size } = await file.stat()
      try {
        await file.appendFile(`${Buffer.from(sealed).toString('base64')}\n`)
        await file.datasync()
      } catch (error) {
        // The next line would join a half-written one.
        await file.truncate(size).catch(() => {})
        throw error
      }
      if (size === 0) await flush(this.#folder)
    } catch (error) {
      if (error instanceof CliError) throw error
      throw new CliError(`cannot write the history: ${systemReason(error)}`)
    }
  }

  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => name.endsWith(SUFFIX)).toSorted()
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return []
      throw new CliError(`cannot read ${this.#folder}: ${systemReason(error)}`)
    }
  }

  async #readFile(name: string): Promise<{ happened: Happened[]; broken: number }> {
    const bytes = await readBytes(join(this.#folder, name), HISTORY_BYTES).catch(() => undefined)
    const text = bytes?.toString('latin1')
    if (text === undefined) return { happened: [], broken: 1 }
    const lines = text.split('\n')
    // A complete file ends with a line break.
    const half = lines.pop() === '' ? 0 : 1
    const read = await Promise.all(lines.map((line) => this.#readLine(line)))
    return { happened: read.flatMap((each) => each ?? []), broken: half + read.filter((each) => each === undefined).length }
  }

  async #readLine(line: string): Promise<Happened[] | undefined> {
    const bytes = await open(this.#owner, Buffer.from(line, 'base64'))
    const text = bytes === undefined ? undefined : decodeText(bytes)
    try {
      const happened = text
        ?.trimEnd()
        .split('\n')
        .map((each) => JSON.parse(each) as unknown)
      return happened?.every(isHappened) === true ? happened : undefined
    } catch {
      return undefined
    }
  }
}

function isHappened(value: unknown): value is Happened {
  const { kind, message, id, state } = (value ?? {}) as Record<string, unknown>
  if (kind === 'state') return typeof id === 'string' && typeof state === 'string'
  const { conversation, author, at, text, verdict, mine, deliveries } = (message ?? {}) as Record<string, unknown>
  return (
    kind === 'message' &&
    typeof conversation === 'string' &&
    typeof author === 'string' &&
    typeof at === 'number' &&
    typeof text === 'string' &&
    typeof verdict === 'string' &&
    VERDICTS.has(verdict) &&
    typeof mine === 'boolean' &&
    Array.isArray(deliveries) &&
    deliveries.every(isDelivery)
  )
}

function isDelivery(value: unknown): boolean {
  const fields = (value ?? {}) as Record<string, unknown>
  return ['id', 'member', 'to', 'state'].every((name) => typeof fields[name] === 'string')
}

/** Gives each message its latest states. */
function fold(happened: readonly Happened[]): Kept[] {
  // Two chats at once each wrote what came.
  const came = new Set<string>()
  const states = new Map(happened.flatMap((each) => (each.kind === 'state' ? [[each.id, each] as const] : [])))
  return happened.flatMap((each) => {
    if (each.kind === 'state') return []
    const { id, fingerprint, mine } = each.message
    if (!mine && id !== undefined && came.has(`${fingerprint} ${id}`)) return []
    if (!mine && id !== undefined) came.add(`${fingerprint} ${id}`)
    const deliveries = each.message.deliveries.map((delivery) => {
      const last = states.get(delivery.id)
      return last === undefined ? delivery : { ...delivery, state: last.state, ...(last.why !== undefined && { why: last.why }) }
    })
    return [{ ...each.message, deliveries }]
  })
}
