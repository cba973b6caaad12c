/** The files of the conversations: offers that wait for the user, and the progress of each file. */
import type { FileSource } from '../client/delivery/file.ts'
import { fingerprintOf } from '../client/format/field.ts'
import type { Contact } from '../client/messenger/contact.ts'
import type { FileDelivery, FileEvent, FileOffer, FileReceiver } from '../client/messenger/transfers.ts'
import { DAMAGED, fileFailure, NOT_RECEIVED } from '../wording/delivery.ts'
import { formatBytes } from '../wording/figures.ts'
import type { Account } from './account.ts'
import { whyOf } from './check.ts'
import { MemoryFile, MOST_BYTES } from './files.ts'
import { conversationOf, type State, withArrival, withFile, withOwn } from './model.ts'

export interface TransferOptions {
  readonly account: Account
  readonly state: () => State
  readonly change: (work: (state: State) => State) => void
}

export class Transfers implements FileReceiver {
  readonly #options: TransferOptions
  /** Answers to offers, by the key of their entry. */
  readonly #offers = new Map<number, (sink: MemoryFile | undefined) => void>()
  readonly #files = new Map<number, MemoryFile>()
  /** The entry of each file, by sender and id; of the user's own without a sender. */
  readonly #entries = new Map<string, number>()

  constructor(options: TransferOptions) {
    this.#options = options
  }

  /** Sends a file. */
  async send(to: Contact, source: FileSource, post: (to: Contact, source: FileSource) => Promise<FileDelivery>): Promise<void> {
    const { state, change } = this.#options
    const key = state().nextKey
    const file = { name: source.name, total: source.size, moved: 0, state: 'moving' } as const
    change((before) => withOwn(before, fingerprintOf(to.key), { at: Date.now(), text: '', deliveries: [], file }))
    try {
      const delivery = await post(to, source)
      this.#entries.set(` ${delivery.file}`, key)
      this.onSent(delivery)
    } catch (error) {
      change((before) => withFile(before, key, { state: 'failed', note: fileFailure('failed', to.name, whyOf(error)) }))
    }
  }

  /** Asks the user whether to take a file. */
  async open({ from, file, name, total }: FileOffer): Promise<MemoryFile | undefined> {
    const { account, state, change } = this.#options
    const id = fingerprintOf(from.key)
    if (account.isBlocked(id)) return undefined
    const key = state().nextKey
    const view = { name, total, moved: 0 }
    const arrival = { conversation: id, author: from.name, fingerprint: id, at: Date.now(), verdict: 'genuine', text: '' } as const
    if (total > MOST_BYTES) {
      const note = `refused: it is larger than ${formatBytes(MOST_BYTES)}, the most that this page takes`
      change((before) => withArrival(before, { ...arrival, file: { ...view, state: 'failed', note } }))
      return undefined
    }
    change((before) => withArrival(before, { ...arrival, file: { ...view, state: 'offered' } }))
    this.#entries.set(`${id} ${file}`, key)
    return new Promise((resolve) => this.#offers.set(key, resolve))
  }

  /** Accepts or refuses an offered file. */
  decide(key: number, takes: boolean): void {
    const answer = this.#offers.get(key)
    this.#offers.delete(key)
    if (answer === undefined) return
    const file = takes ? new MemoryFile() : undefined
    if (file !== undefined) this.#files.set(key, file)
    this.#show(key, takes ? { state: 'moving' } : { state: 'failed', note: 'you refused it' })
    answer(file)
  }

  /** Returns a received file for the user to save, and its name. */
  fileOf(id: string, key: number): { readonly name: string; readonly blob: Blob } | undefined {
    const name = conversationOf(this.#options.state(), id)?.entries.find((each) => each.key === key)?.file?.name
    const file = this.#files.get(key)
    if (name === undefined || file === undefined) return undefined
    this.#show(key, { state: 'saved' })
    return { name, blob: file.blob() }
  }

  onReceived({ from, file }: FileOffer, state: Extract<FileEvent, { kind: 'file-received' }>['state'], bytes: number): void {
    const key = this.#entries.get(`${fingerprintOf(from.key)} ${file}`)
    if (key === undefined) return
    switch (state) {
      case 'receiving':
        return this.#show(key, { moved: bytes })
      case 'done':
        return this.#show(key, { state: 'ready', moved: bytes })
      case 'refused':
        return
      case 'damaged':
      case 'failed':
        this.#files.delete(key)
        return this.#show(key, { state: 'failed', note: state === 'damaged' ? DAMAGED : NOT_RECEIVED })
    }
  }

  onSent({ file, to, confirmed, state, error }: FileDelivery): void {
    const key = this.#entries.get(` ${file}`)
    if (key === undefined) return
    const isOver = state === 'refused' || state === 'expired' || state === 'failed'
    const note = isOver ? fileFailure(state, to.name, error === undefined ? undefined : whyOf(error)) : undefined
    const shown = isOver ? 'failed' : state === 'done' ? 'done' : 'moving'
    this.#show(key, { state: shown, moved: confirmed, ...(note !== undefined && { note }) })
  }

  /** Refuses what waits, and drops all files. */
  close(): void {
    for (const answer of this.#offers.values()) answer(undefined)
    this.#files.clear()
  }

  #show(key: number, view: Parameters<typeof withFile>[2]): void {
    this.#options.change((before) => withFile(before, key, view))
  }
}
