/**
 * The files that a messenger receives: stores their parts, answers their senders, and reports progress. The rules are
 * in delivery/file.ts.
 */
import { FILE, type FileArrival, FileReceiving } from '../delivery/file.ts'
import type { FilePart, PartRange } from '../format/content.ts'
import { fingerprintOf } from '../format/field.ts'
import type { Contact } from './contact.ts'
import type { FileOffer, FileReceiver, TransferPort } from './transfers.ts'

interface IncomingFile {
  readonly offer: FileOffer
  readonly receiving: Promise<FileReceiving | 'done' | 'refused'>
  /** Whether the last event of this file was emitted. */
  told: boolean
  /** Parts that are being stored. */
  taking: number
}

/** How many finished files to remember. */
const REMEMBERED = 256

export class IncomingFiles {
  readonly #port: TransferPort
  readonly #receiver: FileReceiver | undefined
  /**
   * By sender, hash, size and name, least recently active first. So a sender that starts again with another id
   * continues the same file.
   */
  readonly #files = new Map<string, IncomingFile>()
  /** The final answers, by sender and file id. */
  readonly #settled = new Map<string, 'done' | 'refused'>()
  #writing = 0

  constructor(port: TransferPort, receiver: FileReceiver | undefined) {
    this.#port = port
    this.#receiver = receiver
  }

  /** Whether a received part is being stored. */
  get isWriting(): boolean {
    return this.#writing > 0
  }

  /**
   * Handles a part or an offer of a contact. Once this resolves, the messenger may confirm the message. It does not
   * reject: if an error occurs, the file is refused.
   */
  async onPart(from: Contact, part: FilePart): Promise<void> {
    const sender = fingerprintOf(from.key)
    const settled = this.#settled.get(`${sender} ${part.file}`)
    if (settled !== undefined) {
      if (part.part === 0) this.#answer(from, part.file, settled)
      return
    }
    const name = `${sender} ${part.hash} ${part.total} ${part.name}`
    const incoming = this.#files.get(name) ?? this.#open({ from, file: part.file, name: part.name, total: part.total, hash: part.hash })
    // No answer: the sender asks again, and there may be room then.
    if (incoming === undefined) return
    this.#files.delete(name)
    this.#files.set(name, incoming)
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
    for (const name of this.#files.keys()) this.#leave(name)
  }

  /** @returns undefined if there is no room, because parts of all open files are being stored */
  #open(offer: FileOffer): IncomingFile | undefined {
    const sender = `${fingerprintOf(offer.from.key)} `
    const ofSender = [...this.#files].filter(([name]) => name.startsWith(sender))
    // The least recently active file makes room. If its sender continues, the stored parts are still there.
    const crowded = ofSender.length >= FILE.contact ? ofSender : this.#files.size >= FILE.all ? [...this.#files] : []
    const [idle] = crowded.find(([, { taking }]) => taking === 0) ?? []
    if (idle !== undefined) this.#leave(idle)
    if (crowded.length > 0 && idle === undefined) return undefined
    return { offer, receiving: this.#ask(offer), told: false, taking: 0 }
  }

  async #ask({ from, ...info }: FileOffer): Promise<FileReceiving | 'done' | 'refused'> {
    if (this.#receiver === undefined) return 'refused'
    const sink = await this.#receiver.open({ from, ...info })
    return sink === undefined ? 'refused' : sink === 'done' ? 'done' : new FileReceiving(info, sink)
  }

  #leave(name: string): void {
    const incoming = this.#files.get(name)
    this.#files.delete(name)
    void incoming?.receiving.then((receiving) => (typeof receiving === 'string' ? undefined : receiving.close())).catch(() => {})
  }

  /** Emits the last event of a file and closes it. */
  #settle(name: string, incoming: IncomingFile, state: FileArrival, bytes: number, error?: unknown): void {
    if (incoming.told) return
    incoming.told = true
    if (this.#files.get(name) === incoming) this.#files.delete(name)
    this.#port.emit({ kind: 'file-received', offer: incoming.offer, state, bytes, ...(error !== undefined && { error }) })
  }

  /** Sends the final answer for a file, and remembers it for late parts. */
  #say(to: Contact, file: string, word: 'done' | 'refused'): void {
    this.#settled.set(`${fingerprintOf(to.key)} ${file}`, word)
    if (this.#settled.size > REMEMBERED) this.#settled.delete(this.#settled.keys().next().value!)
    this.#answer(to, file, word)
  }

  #answer(to: Contact, file: string, parts: readonly PartRange[] | 'done' | 'refused'): void {
    this.#port.post(to, { type: 'have', file, parts }, this.#port.now() + 3_600_000)
  }
}
