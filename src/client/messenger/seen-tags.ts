/** The tags of messages that came, and their store. The rules are in delivery/seen.ts. */
import { formatFingerprint, type SshKey } from '../../auth/ssh-key.ts'
import { Seen } from '../delivery/seen.ts'
import type { Envelope, SeenBefore } from '../format/message.ts'
import type { Context } from './context.ts'
import { MessengerError } from './error.ts'

export class SeenTags {
  readonly #context: Context
  #seen = new Seen()
  /** Messages whose tags are not in the store yet: a copy of one is no replay, since that would have it erased. */
  readonly #unstored = new Set<string>()
  /** Whether the store lacks tags, because it could not be written. */
  #isBehind = false

  constructor(context: Context) {
    this.#context = context
  }

  get seen(): Seen {
    return this.#seen
  }

  /** The tags that the store has, too. */
  get stored(): SeenBefore {
    const { since } = this.#seen
    return { has: (from, id) => this.#seen.has(from, id) && !this.#unstored.has(nameOf(from, id)), since }
  }

  /**
   * Whether a store tells which messages came in earlier runs. In a first run none did: a message that names an earlier
   * one waits for it, and is marked if it does not come.
   */
  get remembers(): boolean {
    return this.#context.options.seen !== undefined
  }

  /** @throws {MessengerError} `broken-store` */
  async load(): Promise<void> {
    const { options, clock } = this.#context
    const store = options.seen
    const text = await store?.load()
    const seen = text === undefined ? new Seen() : Seen.decode(text, clock.now() / 1_000)
    if (seen === undefined) throw new MessengerError('broken-store')
    this.#seen = seen
    // Expired tags and an incomplete last line are dropped now.
    const all = seen.encode()
    if (text === undefined || text.length !== all.length) await this.#replace()
  }

  /**
   * Merges the tags in the store. Another program with the same store may have had the mailbox until now. The relay
   * delivers again the messages that the other program received and did not acknowledge.
   */
  async reread(): Promise<void> {
    const { options, clock } = this.#context
    const now = clock.now() / 1_000
    const text = await options.seen?.load()
    const seen = text === undefined ? undefined : Seen.decode(text, now)
    if (seen !== undefined) this.#seen.merge(seen, now)
  }

  /** As `Seen.correct`. */
  async correct(now: number): Promise<boolean> {
    if (!this.#seen.correct(now)) return false
    await this.#replace()
    return true
  }

  /** Adds a message. @throws errors of the store */
  async remember(envelope: Envelope): Promise<void> {
    const { options, clock } = this.#context
    const line = this.#seen.add(envelope, clock.now() / 1_000)
    const name = nameOf(envelope.from, envelope.id)
    this.#unstored.add(name)
    try {
      if (!this.#isBehind) {
        await options.seen?.append(line)
        this.#unstored.delete(name)
        return
      }
      const written = [...this.#unstored]
      await options.seen?.replace(this.#seen.encode())
      for (const each of written) this.#unstored.delete(each)
      this.#isBehind = false
    } catch (error) {
      this.#isBehind = true
      throw error
    }
  }

  /** Writes all tags. If the store fails, messages can be received, but a message that has a sender cannot be done. */
  async #replace(): Promise<void> {
    try {
      await this.#context.options.seen?.replace(this.#seen.encode())
      this.#isBehind = false
    } catch {
      // The next message that is done says why.
      this.#isBehind = true
    }
  }
}

const nameOf = (from: Pick<SshKey, 'fingerprint'>, id: string): string => `${formatFingerprint(from.fingerprint)} ${id}`
