/**
 * Files on their way out and in, for a messenger: it makes messages of the parts, and says what came of a file. The
 * rules are in file.ts.
 */
import type { Contact } from './contact.ts'
import { fingerprintOf, makeFileName, makeId } from '../format/field.ts'
import {
  FILE,
  type FileArrival,
  type FileInfo,
  FileReceiving,
  FileSending,
  type FileSink,
  type FileSource,
  type FileState,
  hashOf,
} from '../delivery/file.ts'
import { type Content, countParts, type FilePart, PART_BYTES, PARTS, type PartRange } from '../format/content.ts'
import type { DeliveryState } from '../delivery/entry.ts'

/** A file that a contact wants to send. */
export interface FileOffer extends FileInfo {
  readonly from: Contact
}

/** What becomes of a file that was sent. */
export interface FileDelivery {
  readonly file: string
  readonly to: Contact
  readonly name: string
  /** Bytes, of the file and of what the receiver said it has. */
  readonly total: number
  readonly confirmed: number
  readonly state: FileState
  readonly error: unknown
  /** Resolves when nothing more is tried; as it stands when the messenger closes. */
  readonly settled: Promise<FileState>
}

export type FileEvent =
  | { readonly kind: 'file-sent'; readonly file: FileDelivery }
  | {
      readonly kind: 'file-received'
      readonly offer: FileOffer
      readonly state: FileArrival
      /** That are there. */ readonly bytes: number
      readonly error?: unknown
    }

/** Decides which files are wanted, and where they go. */
export interface FileReceiver {
  /**
   * @returns where its parts go; `done` for what is there already; undefined where it is not wanted
   * @throws where it could be wanted, and cannot be written: its sender is told that it was refused
   */
  open(offer: FileOffer): Promise<FileSink | 'done' | undefined>
}

/** What a messenger gives. */
export interface TransferPort {
  readonly now: () => number
  readonly random: () => number
  /** Writes to somebody. `onChange` is told what becomes of it; without one nobody confirms it. */
  readonly post: (to: Contact, content: Content, deadline: number, onChange?: (state: DeliveryState, error: unknown) => void) => string
  readonly remove: (id: string) => void
  readonly emit: (event: FileEvent) => void
  readonly schedule: () => void
}

interface Outgoing {
  readonly to: Contact
  readonly source: FileSource
  readonly sending: FileSending
  readonly deadline: number
  readonly delivery: FileDelivery
  /** By message: the part, 0 for an offer. */
  readonly flying: Map<string, number>
  readonly settle: (state: FileState) => void
  error: unknown
  /** Reads of the source come one after the other. */
  tail: Promise<void>
}

interface Incoming {
  readonly offer: FileOffer
  readonly receiving: Promise<FileReceiving | 'done' | 'refused'>
  told: boolean
  /** Parts under way. */
  taking: number
}

/** Files whose end is remembered. */
const REMEMBERED = 256

export class Transfers {
  readonly #port: TransferPort
  readonly #receiver: FileReceiver | undefined
  readonly #outgoing = new Map<string, Outgoing>()
  /**
   * By sender and content, the one that was heard of longest ago first: a sender that begins again, under another id, goes
   * on with the same file.
   */
  readonly #incoming = new Map<string, Incoming>()
  /** By sender and id. */
  readonly #settled = new Map<string, 'done' | 'refused'>()
  #writing = 0

  constructor(port: TransferPort, receiver: FileReceiver | undefined) {
    this.#port = port
    this.#receiver = receiver
  }

  /** @param deadline ms since 1970 @throws {TypeError} for a file that is too large, or has no name that can be sent */
  async send(to: Contact, source: FileSource, deadline: number, signal: AbortSignal | undefined, file = makeId()): Promise<FileDelivery> {
    const { size } = source
    if (size > PARTS * PART_BYTES) throw new TypeError('a file has at most 1 GiB')
    const count = countParts(size)
    const hash = await hashOf(count, async (index) => {
      signal?.throwIfAborted()
      return readPart(source, index + 1)
    })
    const info: FileInfo = { file, name: makeFileName(source.name), total: size, hash }
    const sending = new FileSending(info)
    const settled = Promise.withResolvers<FileState>()
    const outgoing: Outgoing = {
      to,
      source,
      sending,
      deadline,
      flying: new Map(),
      settle: settled.resolve,
      error: undefined,
      tail: Promise.resolve(),
      delivery: Object.freeze({
        file,
        to,
        name: info.name,
        total: size,
        get confirmed() {
          return sending.confirmed
        },
        get state() {
          return sending.state
        },
        get error() {
          return outgoing.error
        },
        settled: settled.promise,
      }),
    }
    this.#outgoing.set(file, outgoing)
    const takeBack = (): void => this.#fail(outgoing, 'failed', signal?.reason)
    if (signal?.aborted === true) takeBack()
    signal?.addEventListener('abort', takeBack, { once: true })
    void settled.promise.then(() => signal?.removeEventListener('abort', takeBack))
    this.#port.schedule()
    return outgoing.delivery
  }

  /** Sends what is due. */
  pump(): void {
    const now = this.#port.now()
    for (const outgoing of this.#outgoing.values()) {
      if (outgoing.deadline <= now) {
        this.#fail(outgoing, 'expired', undefined)
        continue
      }
      for (const part of outgoing.sending.take(this.#port.random(), now))
        outgoing.tail = outgoing.tail.then(() => this.#sendPart(outgoing, part))
    }
  }

  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { sending, deadline } of this.#outgoing.values()) due = Math.min(due, sending.due(), deadline)
    return due
  }

  /** Whether a part that came is on its way to where it goes. */
  get isWriting(): boolean {
    return this.#writing > 0
  }

  /**
   * `from` (a fingerprint) says what it has of a file. Of files that were not sent to it, it has nothing to say.
   * @returns whether that changed anything
   */
  onHave(from: string, file: string, parts: readonly PartRange[] | 'done' | 'refused'): boolean {
    const outgoing = this.#outgoing.get(file)
    if (outgoing === undefined || fingerprintOf(outgoing.to.key) !== from) return false
    outgoing.sending.onHave(parts, this.#port.now())
    this.#takeBack(outgoing, (part) => part > 0 && outgoing.sending.has(part))
    this.#tell(outgoing)
    return true
  }

  /**
   * A part, or an offer, came from a contact; it is the messenger's to say that it did, once this resolves. Nothing that
   * goes wrong with a file makes it reject: then the file is refused.
   */
  async onPart(from: Contact, part: FilePart): Promise<void> {
    const sender = fingerprintOf(from.key)
    const settled = this.#settled.get(`${sender} ${part.file}`)
    if (settled !== undefined) {
      if (part.part === 0) this.#answer(from, part.file, settled)
      return
    }
    const name = `${sender} ${part.hash} ${part.total} ${part.name}`
    const incoming = this.#incoming.get(name) ?? this.#open({ from, file: part.file, name: part.name, total: part.total, hash: part.hash })
    this.#incoming.delete(name)
    this.#incoming.set(name, incoming)
    incoming.taking++
    try {
      const receiving = await incoming.receiving
      if (typeof receiving === 'string') {
        this.#settle(name, incoming, receiving, receiving === 'done' ? part.total : 0)
        return this.#say(from, part.file, receiving)
      }
      this.#writing++
      const { state, answer, bytes } = await receiving.take(part).finally(() => this.#writing--)
      if (state === 'receiving') this.#port.emit({ kind: 'file-received', offer: incoming.offer, state, bytes })
      else this.#settle(name, incoming, state, bytes)
      if (answer === 'done' || answer === 'refused') this.#say(from, part.file, answer)
      else if (answer !== undefined) this.#answer(from, part.file, answer)
    } catch (error) {
      this.#settle(name, incoming, 'failed', 0, error)
      this.#say(from, part.file, 'refused')
    } finally {
      incoming.taking--
    }
  }

  close(): void {
    for (const { settle, sending } of this.#outgoing.values()) settle(sending.state)
    this.#outgoing.clear()
    for (const name of this.#incoming.keys()) this.#leave(name)
  }

  // Out

  async #sendPart(outgoing: Outgoing, part: number): Promise<void> {
    const { to, source, sending, deadline, flying } = outgoing
    if (sending.isSettled) return
    try {
      const bytes = part === 0 ? new Uint8Array(0) : await readPart(source, part)
      const id: string = this.#port.post(to, { type: 'file', ...sending.info, part, bytes }, deadline, (state, error) => {
        if (state === 'waiting' || state === 'held') return
        flying.delete(id)
        if (state === 'expired' || state === 'failed') return this.#fail(outgoing, state, error)
        sending.onConfirmed(part, this.#port.now())
        this.#tell(outgoing)
      })
      flying.set(id, part)
    } catch (error) {
      this.#fail(outgoing, 'failed', error)
    }
  }

  #fail(outgoing: Outgoing, state: 'expired' | 'failed', error: unknown): void {
    if (outgoing.sending.isSettled) return
    outgoing.error = error
    outgoing.sending.onEnd(state)
    this.#tell(outgoing)
  }

  #tell(outgoing: Outgoing): void {
    const { sending, delivery, settle } = outgoing
    if (!this.#outgoing.has(delivery.file)) return
    if (sending.isSettled) {
      this.#outgoing.delete(delivery.file)
      this.#takeBack(outgoing, () => true)
      settle(sending.state)
    }
    this.#port.emit({ kind: 'file-sent', file: delivery })
    this.#port.schedule()
  }

  #takeBack({ flying }: Outgoing, isOver: (part: number) => boolean): void {
    for (const [id, part] of flying) {
      if (!isOver(part)) continue
      this.#port.remove(id)
      flying.delete(id)
    }
  }

  // In

  #open(offer: FileOffer): Incoming {
    const sender = `${fingerprintOf(offer.from.key)} `
    const ofSender = [...this.#incoming].filter(([name]) => name.startsWith(sender))
    // The one that nothing came of for longest makes room; whoever asks for it again finds what is there.
    const crowded = ofSender.length >= FILE.contact ? ofSender : this.#incoming.size >= FILE.all ? [...this.#incoming] : []
    const [idle] = crowded.find(([, { taking }]) => taking === 0) ?? []
    if (idle !== undefined) this.#leave(idle)
    const isFull = crowded.length > 0 && idle === undefined
    return { offer, receiving: isFull ? Promise.resolve('refused') : this.#ask(offer), told: false, taking: 0 }
  }

  async #ask({ from, ...info }: FileOffer): Promise<FileReceiving | 'done' | 'refused'> {
    if (this.#receiver === undefined) return 'refused'
    const sink = await this.#receiver.open({ from, ...info })
    return sink === undefined ? 'refused' : sink === 'done' ? 'done' : new FileReceiving(info, sink)
  }

  #leave(name: string): void {
    const incoming = this.#incoming.get(name)
    this.#incoming.delete(name)
    void incoming?.receiving.then((receiving) => (typeof receiving === 'string' ? undefined : receiving.close())).catch(() => {})
  }

  /** Says once what came of a file, and lets it go. */
  #settle(name: string, incoming: Incoming, state: FileArrival, bytes: number, error?: unknown): void {
    if (incoming.told) return
    incoming.told = true
    if (this.#incoming.get(name) === incoming) this.#incoming.delete(name)
    this.#port.emit({ kind: 'file-received', offer: incoming.offer, state, bytes, ...(error !== undefined && { error }) })
  }

  /** The last word on a file, which is remembered for what comes late. */
  #say(to: Contact, file: string, word: 'done' | 'refused'): void {
    this.#settled.set(`${fingerprintOf(to.key)} ${file}`, word)
    if (this.#settled.size > REMEMBERED) this.#settled.delete(this.#settled.keys().next().value!)
    this.#answer(to, file, word)
  }

  #answer(to: Contact, file: string, parts: readonly PartRange[] | 'done' | 'refused'): void {
    this.#port.post(to, { type: 'have', file, parts }, this.#port.now() + 3_600_000)
  }
}

async function readPart(source: FileSource, part: number): Promise<Uint8Array> {
  const offset = (part - 1) * PART_BYTES
  const length = Math.min(PART_BYTES, source.size - offset)
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) throw new TypeError('the file became shorter while it was sent')
  return bytes
}
