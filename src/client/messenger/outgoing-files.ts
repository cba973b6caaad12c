/**
 * The files that a messenger sends: makes messages of their parts, and reports progress. The rules are in
 * delivery/file.ts.
 */
import { type FileInfo, FileSending, type FileSource, type FileState, hashOf } from '../delivery/file.ts'
import { countParts, PART_BYTES, PARTS, type PartRange } from '../format/content.ts'
import { fingerprintOf, makeFileName, makeId } from '../format/field.ts'
import type { Contact } from './contact.ts'
import type { FileDelivery, TransferPort } from './transfers.ts'

interface OutgoingFile {
  readonly to: Contact
  readonly source: FileSource
  readonly sending: FileSending
  readonly deadline: number
  readonly delivery: FileDelivery
  /** By message id: the part, 0 for an offer. */
  readonly flying: Map<string, number>
  readonly settle: (state: FileState) => void
  error: unknown
  /** The last read of the source; reads come one after the other. */
  tail: Promise<void>
}

export class OutgoingFiles {
  readonly #port: TransferPort
  /** By file id. */
  readonly #files = new Map<string, OutgoingFile>()

  constructor(port: TransferPort) {
    this.#port = port
  }

  /** Sends a file. @param deadline ms since 1970 @throws {TypeError} if the file is too large, or becomes shorter */
  async send(to: Contact, source: FileSource, deadline: number, signal: AbortSignal | undefined, file = makeId()): Promise<FileDelivery> {
    const { size } = source
    if (size > PARTS * PART_BYTES) throw new TypeError('the file is larger than 1 GiB')
    const count = countParts(size)
    const hash = await hashOf(count, async (index) => {
      signal?.throwIfAborted()
      return readPart(source, index + 1)
    })
    const info: FileInfo = { file, name: makeFileName(source.name), total: size, hash }
    const sending = new FileSending(info)
    const settled = Promise.withResolvers<FileState>()
    const outgoing: OutgoingFile = {
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
    this.#files.set(file, outgoing)
    const withdraw = (): void => this.#fail(outgoing, 'failed', signal?.reason)
    if (signal?.aborted === true) withdraw()
    signal?.addEventListener('abort', withdraw, { once: true })
    void settled.promise.then(() => signal?.removeEventListener('abort', withdraw))
    this.#port.schedule()
    return outgoing.delivery
  }

  /** Sends the parts that are due. */
  pump(): void {
    const now = this.#port.now()
    for (const outgoing of this.#files.values()) {
      if (outgoing.deadline <= now) {
        this.#fail(outgoing, 'expired', undefined)
        continue
      }
      for (const part of outgoing.sending.take(this.#port.random(), now))
        outgoing.tail = outgoing.tail.then(() => this.#sendPart(outgoing, part))
    }
  }

  /** Returns when to call `pump` next. */
  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { sending, deadline } of this.#files.values()) due = Math.min(due, sending.due(), deadline)
    return due
  }

  /**
   * A receiver reported which parts of a file it has. Ignored if the file was not sent to it.
   * @param from the receiver's fingerprint
   * @returns whether the report was accepted
   */
  onHave(from: string, file: string, parts: readonly PartRange[] | 'done' | 'refused'): boolean {
    const outgoing = this.#files.get(file)
    if (outgoing === undefined || fingerprintOf(outgoing.to.key) !== from) return false
    outgoing.sending.onHave(parts, this.#port.now())
    this.#withdraw(outgoing, (part) => part > 0 && outgoing.sending.has(part))
    this.#tell(outgoing)
    return true
  }

  close(): void {
    for (const { settle, sending } of this.#files.values()) settle(sending.state)
    this.#files.clear()
  }

  async #sendPart(outgoing: OutgoingFile, part: number): Promise<void> {
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

  #fail(outgoing: OutgoingFile, state: 'expired' | 'failed', error: unknown): void {
    if (outgoing.sending.isSettled) return
    outgoing.error = error
    outgoing.sending.onEnd(state)
    this.#tell(outgoing)
  }

  #tell(outgoing: OutgoingFile): void {
    const { sending, delivery, settle } = outgoing
    if (!this.#files.has(delivery.file)) return
    if (sending.isSettled) {
      this.#files.delete(delivery.file)
      this.#withdraw(outgoing, () => true)
      settle(sending.state)
    }
    this.#port.emit({ kind: 'file-sent', file: delivery })
    this.#port.schedule()
  }

  #withdraw({ flying }: OutgoingFile, isOver: (part: number) => boolean): void {
    for (const [id, part] of flying) {
      if (!isOver(part)) continue
      this.#port.withdraw(id)
      flying.delete(id)
    }
  }
}

async function readPart(source: FileSource, part: number): Promise<Uint8Array> {
  const offset = (part - 1) * PART_BYTES
  const length = Math.min(PART_BYTES, source.size - offset)
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) throw new TypeError('the file became shorter while it was being sent')
  return bytes
}
