/**
 * Which messages came before, so that one that a relay, or whoever caught it, delivers again is told. Of a message
 * only a tag is kept: the beginning of SHA-256 over its sender's fingerprint and its id. For 15 days; older messages
 * are `stale` anyway. Where the bound on their number is reached the oldest are forgotten, and whatever is from
 * before them is `stale` from then on: forgetting never makes an old message genuine. Pure, also in a browser.
 */
import { base64urlnopad } from '@scure/base'
import { sha256 } from '../../auth/crypto.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { decodeText, encodeText, parseNumber } from '../format/field.ts'
import type { SeenBefore } from '../format/message.ts'

const FORM = 'asfaleia-seen/1'
/** Seconds that a tag is kept: a day more than messages count as fresh. */
const KEPT = 15 * 86_400
const TAG_BYTES = 16
/** Their text has about 9 MB; a file of a GiB comes in as many messages as a quarter of them. */
const TAGS = 262_144
/** How many are forgotten at once where there are too many. */
const FORGOTTEN = 1 / 8

/** Where the tags are kept between two runs: a text, to which lines are added. */
export interface SeenStore {
  /** @returns undefined where there is none yet */
  load(): Promise<Uint8Array | undefined>
  append(line: Uint8Array): Promise<void>
  /** Instead of all that is there, as a whole or not at all. */
  replace(text: Uint8Array): Promise<void>
}

export class Seen implements SeenBefore {
  /** By tag: until when it is kept, in seconds since 1970. */
  readonly #until = new Map<string, number>()
  readonly #most: number
  #since = -Infinity

  constructor(most: number = TAGS) {
    this.#most = most
  }

  /**
   * What {@link encode} and {@link add} wrote. A last line that was not written to its end is left out.
   * @param now in seconds since 1970
   * @returns undefined where it is not of that form
   */
  static decode(text: Uint8Array, now: number, most: number = TAGS): Seen | undefined {
    const seen = new Seen(most)
    const [form, ...lines] = (decodeText(text) ?? '').split('\n')
    if (form !== FORM) return undefined
    // What stands after the last LF.
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

  /** Messages from before this time, in seconds, it cannot tell any more. */
  get since(): number {
    return this.#since
  }

  /** What another program of the same person knows, too. */
  merge(other: Seen, now: number): void {
    for (const [tag, until] of other.#until) this.#until.set(tag, Math.max(until, this.#until.get(tag) ?? 0))
    this.#since = Math.max(this.#since, other.#since)
    if (this.#until.size > this.#most) this.#forget(now)
  }

  has(from: Pick<SshKey, 'fingerprint'>, id: string): boolean {
    return this.#until.has(tagOf(from, id))
  }

  /**
   * To be called when the message was shown or stored.
   *
   * @param message.time the message's own, in seconds since 1970; one from the future is kept longer, 30 days at most
   * @returns what is to be appended to a store
   */
  add(message: { readonly from: Pick<SshKey, 'fingerprint'>; readonly id: string; readonly time: number }, now: number): Uint8Array {
    const tag = tagOf(message.from, message.id)
    const until = Math.floor(Math.min(Math.max(message.time, now), now + KEPT)) + KEPT
    this.#until.set(tag, until)
    if (this.#until.size > this.#most) this.#forget(now)
    return encodeText(`${tag} ${until}\n`)
  }

  /** All that is kept, for a store. */
  encode(): Uint8Array {
    const since = this.#since === -Infinity ? '' : `since ${this.#since}\n`
    const lines = [...this.#until].map(([tag, until]) => `${tag} ${until}\n`)
    return encodeText(`${FORM}\n${since}${lines.join('')}`)
  }

  #forget(now: number): void {
    for (const [tag, until] of this.#until) if (until < now) this.#drop(tag, until)
    if (this.#until.size <= this.#most) return
    const oldest = [...this.#until].toSorted(([, one], [, other]) => one - other)
    const kept = Math.floor(this.#most * (1 - FORGOTTEN))
    for (const [tag, until] of oldest.slice(0, oldest.length - kept)) this.#drop(tag, until)
  }

  /** Also one whose time is over: the clock that says so may be set back again. */
  #drop(tag: string, until: number): void {
    this.#until.delete(tag)
    // A message is not younger than this, unless it came from the future.
    this.#since = Math.max(this.#since, until - KEPT + 1)
  }
}

function tagOf(from: Pick<SshKey, 'fingerprint'>, id: string): string {
  return base64urlnopad.encode(sha256(concat(from.fingerprint, encodeText(id))).subarray(0, TAG_BYTES))
}
