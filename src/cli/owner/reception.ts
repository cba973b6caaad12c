/**
 * Receives strangers for the clients of a profile. It drops messages of blocked people, and keeps messages of people who
 * introduce themselves as contact requests. All other messages pass on to the desk.
 */
import { fingerprintOf } from '../../client/format/field.ts'
import { GroupError, parseGroup } from '../../client/format/group.ts'
import { introductionOf } from '../../client/format/introduction.ts'
import type { Envelope } from '../../client/format/message.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { ContactRequest, RequestMessage, Requests } from '../profile/requests.ts'

export const RECEPTION = Object.freeze({
  /**
   * Most messages that find no room among the requests and stay at the relay, unacknowledged. More could fill the
   * relay's window, so the oldest then passes on as a stranger's message.
   */
  held: 16,
})

/** The contact requests of the profile. */
export interface RequestDesk {
  /** Returns the requests that wait, the oldest first. */
  list(): Promise<readonly ContactRequest[]>
  /** Removes the request of a person. @throws {CliError} */
  ignore(fingerprint: string): Promise<void>
  /** `get` has shown these messages. @throws {CliError} */
  markShown(ids: readonly string[]): Promise<void>
  /** The command has changed contacts or blocked people: ends their requests. */
  refresh(): Promise<void>
}

export interface ReceptionOptions {
  /** Opens the stored requests; undefined if the client stores nothing. */
  readonly open: () => Promise<Requests> | undefined
  /** Finds a person in the contact book. */
  readonly find: (fingerprint: string) => Contact | undefined
  /** Whether the person is the user, or one that they know without the contact book. */
  readonly isGuest: (fingerprint: string) => boolean
  readonly isBlocked: (fingerprint: string) => boolean
  /** Whether the user is in a group of that id. */
  readonly isGroup: (id: string) => boolean
  /** A contact has sent a genuine message. */
  readonly onGenuine?: (envelope: Envelope) => Promise<unknown>
  /** The requests have changed. */
  readonly onChange: (requests: readonly ContactRequest[]) => void
  /** The requests cannot be read or written. */
  readonly onFailure: (error: unknown) => void
  /** The person is a contact now: confirms the messages of their request. */
  readonly confirm: (contact: Contact, ids: readonly string[]) => void
  /** Milliseconds since 1970. */
  readonly now: () => number
}

export class Reception {
  readonly #options: ReceptionOptions
  #store: Promise<Requests | undefined> | undefined
  /** The newest list, once it has been read. */
  #known: readonly ContactRequest[] = []
  readonly #held: Received[] = []
  /** Held messages of people whom the user knows now, to pass on. */
  readonly #released: Received[] = []
  #wake: () => void = () => {}
  #busy = 0
  #working: Promise<unknown> = Promise.resolve()

  constructor(options: ReceptionOptions) {
    this.#options = options
  }

  /** Yields the messages that are no requests. */
  async *screen(source: AsyncIterable<Received>): AsyncIterable<Received> {
    const messages = source[Symbol.asyncIterator]()
    let next = messages.next()
    try {
      for (;;) {
        yield* this.#released.splice(0)
        const woken = new Promise<undefined>((resolve) => (this.#wake = () => resolve(undefined)))
        const result = await Promise.race([next, woken])
        if (result === undefined) continue
        if (result.done === true) return
        yield* await this.#work(() => this.#take(result.value))
        next = messages.next()
      }
    } finally {
      await messages.return?.()
    }
  }

  /** Resolves once every message that has come is screened. */
  async idle(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#busy === 0) return
      await this.#working.catch(() => {})
    }
  }

  /** Returns the requests that wait, the oldest first. */
  async list(): Promise<readonly ContactRequest[]> {
    const { find, isBlocked } = this.#options
    const requests = (await this.#open())?.list() ?? []
    return requests.filter(({ card }) => find(fingerprintOf(card.key)) === undefined && !isBlocked(fingerprintOf(card.key)))
  }

  /** Whether a person's request waits, as far as the requests have been read. */
  has(fingerprint: string): boolean {
    return this.#known.some(({ card }) => fingerprintOf(card.key) === fingerprint)
  }

  /** Reads the requests, and tells of them if there are any. */
  async begin(): Promise<void> {
    await this.#work(async () => {
      await this.#open()
      await this.#settle()
      if ((await this.list()).length > 0) await this.#tell()
    })
  }

  /** Removes the request of a person. @throws {CliError} */
  async ignore(fingerprint: string): Promise<void> {
    await this.#work(async () => {
      await (await this.#open())?.remove([fingerprint])
      await this.#retry()
      await this.#tell()
    })
  }

  /** Marks messages as shown by `get`. @throws {CliError} */
  async markShown(ids: readonly string[]): Promise<void> {
    await this.#work(async () => {
      await (await this.#open())?.markShown(ids)
      await this.#tell()
    })
  }

  /** The contacts or the blocked people have changed: ends the requests of those who are either now. */
  async settle(): Promise<void> {
    // Not read yet, so there is nothing to tell.
    if (this.#store === undefined) return
    await this.#work(async () => {
      if (await this.#settle()) await this.#tell()
    })
  }

  async #settle(): Promise<boolean> {
    const { find, isBlocked, confirm } = this.#options
    const store = await this.#open()
    const ended: string[] = []
    for (const { card, messages } of store?.list() ?? []) {
      const fingerprint = fingerprintOf(card.key)
      const contact = find(fingerprint)
      if (isBlocked(fingerprint)) ended.push(fingerprint)
      else if (contact !== undefined) {
        ended.push(fingerprint)
        confirm(
          contact,
          messages.map(({ id }) => id),
        )
      }
    }
    if (ended.length === 0) return false
    await store?.remove(ended)
    await this.#retry()
    return true
  }

  /** @returns the messages to pass on */
  async #take(received: Received): Promise<Received[]> {
    const { verdict, envelope } = received
    if (envelope === undefined) return [received]
    if (await this.#isDropped(received)) return []
    if (verdict !== 'genuine' || (await this.#isKnown(received))) return [received]
    try {
      const outcome = await this.#keep(received)
      if (outcome === 'no-request') return [received]
      if (outcome === 'kept') return []
    } catch (error) {
      this.#options.onFailure(error)
    }
    this.#held.push(received)
    return this.#held.length > RECEPTION.held ? [this.#held.shift()!] : []
  }

  /** Acknowledges a message of a blocked person. */
  async #isDropped({ verdict, envelope, done }: Received): Promise<boolean> {
    const isProven = verdict === 'genuine' || verdict === 'future' || verdict === 'stale'
    if (envelope === undefined || !isProven || !this.#options.isBlocked(fingerprintOf(envelope.from))) return false
    await done().catch(() => {})
    return true
  }

  /** Whether the sender of a genuine message is no stranger. */
  async #isKnown({ envelope }: Received): Promise<boolean> {
    const { isGuest, find, onGenuine } = this.#options
    if (envelope === undefined) return false
    const fingerprint = fingerprintOf(envelope.from)
    if (find(fingerprint) === undefined) return isGuest(fingerprint)
    await onGenuine?.(envelope)
    return true
  }

  /** Names the contact who sent a message when the user did not know them, and confirms it once it is done. */
  #knownBy(received: Received): Received {
    const { find, confirm } = this.#options
    const { envelope } = received
    const from = envelope && find(fingerprintOf(envelope.from))
    if (envelope === undefined || from === undefined) return received
    const done = async (): Promise<void> => {
      await received.done()
      confirm(from, [envelope.id])
    }
    return { ...received, from, done }
  }

  async #keep(received: Received): Promise<'kept' | 'full' | 'no-request'> {
    const { envelope } = received
    const message = envelope === undefined ? undefined : await this.#messageOf(envelope)
    const store = message === undefined ? undefined : await this.#open()
    const card = store === undefined || envelope === undefined ? undefined : await introductionOf(envelope)
    if (message === undefined || store === undefined || card === undefined) return 'no-request'
    if (!(await store.add(card, message, Math.floor(this.#options.now() / 1_000)))) return 'full'
    await this.#tell()
    // If this fails, the message comes again, and is in the store already.
    await received.done().catch(() => {})
    return 'kept'
  }

  /** @returns undefined if a message of this kind cannot be a request */
  async #messageOf({ id, time, group, expires, content }: Envelope): Promise<RequestMessage | undefined> {
    switch (content.type) {
      case 'text':
        return group === undefined ? { id, time, text: content.text, ...(expires !== undefined && { expires }) } : undefined
      case 'card':
        return group === undefined ? { id, time, text: '' } : undefined
      case 'group':
        if (group !== undefined && this.#options.isGroup(group)) return undefined
        try {
          return { id, time, text: '', group: content.card, called: (await parseGroup(content.card)).name }
        } catch (error) {
          if (error instanceof GroupError) return undefined
          throw error
        }
      case 'edit':
      case 'remove':
      case 'leave':
      case 'receipt':
      case 'file':
      case 'have':
      case 'unreadable':
      case 'unknown':
        return undefined
    }
  }

  /** Tries again to keep the messages that found no room. Those of people whom the user knows now pass on. */
  async #retry(): Promise<void> {
    let isFull = false
    for (const each of this.#held.splice(0)) {
      if (await this.#isDropped(each)) continue
      if (await this.#isKnown(each)) this.#released.push(this.#knownBy(each))
      else if (isFull || (await this.#keep(each).catch(() => 'full')) !== 'kept') {
        isFull = true
        this.#held.push(each)
      }
    }
    if (this.#released.length > 0) this.#wake()
  }

  async #open(): Promise<Requests | undefined> {
    this.#store ??= (async () => {
      try {
        return await this.#options.open()
      } catch (error) {
        this.#options.onFailure(error)
        return undefined
      }
    })()
    return this.#store
  }

  async #tell(): Promise<void> {
    this.#known = await this.list()
    this.#options.onChange(this.#known)
  }

  #work<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++
    const worked = this.#working.catch(() => {}).then(work)
    this.#working = worked
    return worked.finally(() => this.#busy--)
  }
}
