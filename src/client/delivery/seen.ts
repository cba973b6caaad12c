/**
 * Remembers which messages came, to recognise replays by a relay or by an attacker who recorded a message. It keeps a
 * tag of each message for 15 days: the start of the SHA-256 of the sender's fingerprint and the id. Older messages are
 * `stale` anyway. If there are too many tags, it forgets the oldest, and all messages from before them become `stale`,
 * so that forgetting never makes an old message `genuine` again. Pure; runs in a browser too.
 */
import { base64urlnopad } from '@scure/base'
import { sha256 } from '../../auth/crypto.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { decodeText, encodeText, parseNumber } from '../format/field.ts'
import type { SeenBefore } from '../format/message.ts'

const FORM = 'asfaleia-seen/1'
/** Seconds to keep a tag: a day longer than messages count as fresh. */
const KEPT = 15 * 86_400
const TAG_BYTES = 16
/** Most tags. Their text has about 9 MB. A file of 1 GiB takes a quarter of them. */
const TAGS = 262_144
/** Fraction of the tags to forget when there are too many. */
const FORGOTTEN = 1 / 8

/** Keeps the tags between two runs, as a text that grows by lines. */
export interface SeenStore {
  /** @returns undefined if there is no text yet */
  load(): Promise<Uint8Array | undefined>
  append(line: Uint8Array): Promise<void>
  /** Replaces the whole text atomically. */
  replace(text: Uint8Array): Promise<void>
}

/** The set of messages that came. */
export class Seen implements SeenBefore {
  /** By tag: when to forget it, in seconds since 1970. */
  readonly #until = new Map<string, number>()
  readonly #most: number
  #since = -Infinity

  constructor(most: number = TAGS) {
    this.#most = most
  }

  /**
   * Reads a text that {@link encode} and {@link add} wrote. Ignores an incomplete last line.
   * @param now seconds since 1970
   * @returns undefined if the text is malformed
   */
  static decode(text: Uint8Array, now: number, most: number = TAGS): Seen | undefined {
    const seen = new Seen(most)
    const [form, ...lines] = (decodeText(text) ?? '').split('\n')
    if (form !== FORM) return undefined
    // The part after the last LF: empty, or an incomplete line.
    lines.pop()
    for (const line of lines) {
      const [tag = '', digits = '', ...more] = line.split(' ')
      const until = parseNumber(digits, 0, 1e12)
      if (until === undefined || more.length > 0) return undefined
      if (tag === 'since') seen.#since = Math.max(seen.#since, until)
      else if (!/^[A-Za-z0-9_-]{22}$/.test(tag)) return undefined
      else seen.#until.set(tag, Math.max(until, seen.#until.get(tag) ?? 0))
    }
    seen.#forget(now)
    return seen
  }

  get size(): number {
    return this.#until.size
  }

  /** Seconds since 1970. It no longer knows about messages from before this time. */
  get since(): number {
    return this.#since
  }

  /** Adds the tags of another program of the same user. */
  merge(other: Seen, now: number): void {
    for (const [tag, until] of other.#until) this.#until.set(tag, Math.max(until, this.#until.get(tag) ?? 0))
    this.#since = Math.max(this.#since, other.#since)
    if (this.#until.size > this.#most) this.#forget(now)
  }

  /**
   * Sets `since` back to now if it is later: the clock ran ahead once, and tags of messages that are dated ahead expired
   * by it. Otherwise every message would be stale until then.
   * @returns whether it was later
   */
  correct(now: number): boolean {
    if (this.#since <= now) return false
    this.#since = Math.floor(now)
    return true
  }

  has(from: Pick<SshKey, 'fingerprint'>, id: string): boolean {
    return this.#until.has(tagOf(from, id))
  }

  /**
   * Adds a message. Call it once the message is shown or stored.
   *
   * @param message.time the message's time, in seconds since 1970. Tags of messages from the future stay longer,
   *   at most 30 days.
   * @returns the line to append to a store
   */
  add(message: { readonly from: Pick<SshKey, 'fingerprint'>; readonly id: string; readonly time: number }, now: number): Uint8Array {
    const tag = tagOf(message.from, message.id)
    const until = Math.floor(Math.min(Math.max(message.time, now), now + KEPT)) + KEPT
    this.#until.set(tag, until)
    if (this.#until.size > this.#most) this.#forget(now)
    return encodeText(`${tag} ${until}\n`)
  }

  /** Returns the whole text, for a store. */
  encode(): Uint8Array {
    const since = this.#since === -Infinity ? '' : `since ${this.#since}\n`
    const lines = [...this.#until].map(([tag, until]) => `${tag} ${until}\n`)
    return encodeText(`${FORM}\n${since}${lines.join('')}`)
  }

  #forget(now: number): void {
    for (const [tag, until] of this.#until) if (until < now) this.#drop(tag, until, now)
    if (this.#until.size <= this.#most) return
    const oldest = [...this.#until].toSorted(([, one], [, other]) => one - other)
    const kept = Math.floor(this.#most * (1 - FORGOTTEN))
    for (const [tag, until] of oldest.slice(0, oldest.length - kept)) this.#drop(tag, until, now)
  }

  /** Drops a tag. An expired one moves `since` too, because the clock may be set back again. */
  #drop(tag: string, until: number, now: number): void {
    this.#until.delete(tag)
    // A message with this tag is not newer than that. If it is dated ahead, new messages must not become stale for it.
    this.#since = Math.max(this.#since, Math.min(until - KEPT + 1, Math.floor(now)))
  }
}

function tagOf(from: Pick<SshKey, 'fingerprint'>, id: string): string {
  return base64urlnopad.encode(sha256(concat(from.fingerprint, encodeText(id))).subarray(0, TAG_BYTES))
}
