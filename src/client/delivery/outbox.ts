/**
 * What was sent and is not confirmed: which relay is to get which message when, as a machine without I/O. It
 * has no clock, no randomness and no socket: they come as arguments. All times are milliseconds.
 *
 * A message leaves the outbox when its receiver confirmed it, when its deadline passed, or when no relay of the
 * receiver's will ever take it. That a relay took it confirms nothing: a relay holds messages in memory alone, and
 * may lie. So a message goes out again when the relay that holds it is known to have forgotten it (`onForgot`), to
 * the receiver's next relay when that one cannot be reached, and on a slow schedule whatever the relay says. The
 * receiver drops what comes twice.
 *
 * Messages for one receiver leave in the order in which they were added, also when they leave again.
 */
import { backoff } from './backoff.ts'
import type { RelayErrorCode } from '../wire/error.ts'

/** What of a message outlives the process, where the outbox is kept. */
export interface OutboxEntry {
  readonly id: string
  /** The receiver's fingerprint, `SHA256:…`. */
  readonly to: string
  /** The receiver's relays when the message was written, for when nobody knows newer ones. */
  readonly relays: readonly string[]
  /** An age file: encrypted and signed once, whatever becomes of it. */
  readonly payload: Uint8Array
  /** When it was written, and when it is given up. */
  readonly time: number
  readonly deadline: number
  /** False for what nobody confirms (receipts): that a relay took it is all that there is to know. */
  readonly confirm: boolean
  /** False for what belongs to something larger (a part of a file): it is not kept, and nothing comes after it. */
  readonly keep?: false
  /** The relays that took it, and have not forgotten it as far as is known. */
  readonly held: readonly string[]
}

/**
 * `waiting`: no relay took it yet. `held`: a relay did. `delivered`, `read`: the receiver said so. `expired`: its
 * deadline passed without a word of the receiver's. `failed`: no relay of the receiver's will take it.
 */
export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'

/** A change of a message's state. */
export interface OutboxChange {
  readonly id: string
  readonly to: string
  readonly state: DeliveryState
  /** The relay that took it, or that refused it last. */
  readonly relay?: string
  /** Why it failed, or why it still waits. */
  readonly code?: RelayErrorCode
}

/** What is to be done at a relay. */
export type OutboxTask =
  | { readonly kind: 'send'; readonly relay: string; readonly id: string; readonly to: string; readonly payload: Uint8Array }
  /** Connect with the former token: whether the relay still knows it says whether it forgot what it held. */
  | { readonly kind: 'look'; readonly relay: string }

export const OUTBOX = Object.freeze({
  /** Messages, and bytes of them, that an outbox takes. */
  entries: 10_000,
  bytes: 67_108_864,
  /** SENDs to one relay that are not answered. Behind one that is refused so many come out of order at most. */
  window: 32,
  /** Pauses until a held message goes out again, ms: the first, then the second, …; the last from then on. */
  again: Object.freeze([3_600_000, 14_400_000, 43_200_000, 86_400_000]),
  /** A relay is looked at after so long a pause, ms, which doubles up to the second number: below a token's time. */
  look: Object.freeze([240_000, 1_920_000] as const),
  /** What a relay refused for a reason that a person has to remove is tried again after, ms. */
  denied: 3_600_000,
  /** Confirmed messages that a later `read` is still taken for. */
  confirmed: 4_096,
})

/** The longest pauses, ms: of a message that is held, and of a relay, which may ask for an hour and gets a little more. */
const MOST_AGAIN = OUTBOX.again.at(-1)!
const MOST_BLOCKED = 2 * OUTBOX.denied

/** What a relay says to us as a whole and will say again, until a person changes something. */
const LASTING: readonly RelayErrorCode[] = ['denied', 'bad-key', 'unsupported-key', 'onion-malformed']

interface Entry extends Omit<OutboxEntry, 'held'> {
  /** Where its SEND is out and not answered. */
  flying: string | undefined
  /** Has to go out: nobody holds it, or whoever does is not counted on. */
  wanted: boolean
  readonly held: Set<string>
  state: 'waiting' | 'held'
  /** How often a relay took it. */
  copies: number
  /** When it goes out again if nothing is heard of it. */
  again: number
  /** Relays that will never take it, and why. */
  readonly refused: Map<string, RelayErrorCode>
}

interface Block {
  until: number
  failures: number
  readonly code: RelayErrorCode
}

export class Outbox {
  readonly #entries = new Map<string, Entry>()
  #bytes = 0
  /** Relays that cannot be reached, or refuse everything for now. */
  readonly #down = new Map<string, Block>()
  /** `to relay`: that mailbox is full, or closed to us. */
  readonly #shut = new Map<string, Block>()
  /** Relays without a connection that held something: whether they do still has to be known before more is sent. */
  readonly #doubted = new Set<string>()
  /** When those are looked at. */
  readonly #looks = new Map<string, { at: number; pause: number }>()
  readonly #confirmed = new Map<string, string>()
  readonly #relaysOf: (to: string) => readonly string[] | undefined

  /** @param relaysOf the relays of a receiver in the order of preference, where they are known */
  constructor(relaysOf: (to: string) => readonly string[] | undefined = () => undefined) {
    this.#relaysOf = relaysOf
  }

  get size(): number {
    return this.#entries.size
  }

  /** Whether something waits for an answer of a relay, or to be sent. */
  get busy(): boolean {
    for (const entry of this.#entries.values()) if (entry.wanted || entry.flying !== undefined) return true
    return false
  }

  /** The last message to `to` that is not confirmed. */
  last(to: string): string | undefined {
    let last: string | undefined
    for (const entry of this.#entries.values()) if (entry.to === to && entry.confirm && entry.keep !== false) last = entry.id
    return last
  }

  /** False if there is no room for it, or if it is there already. */
  add(entry: OutboxEntry): boolean {
    if (this.#entries.has(entry.id) || this.#entries.size >= OUTBOX.entries || this.#bytes + entry.payload.length > OUTBOX.bytes)
      return false
    this.#bytes += entry.payload.length
    const held = entry.held.length > 0
    this.#entries.set(entry.id, {
      ...entry,
      flying: undefined,
      // Of an earlier process: whether the relay has it still is not known, and a copy too many is dropped.
      wanted: true,
      held: new Set(),
      state: held ? 'held' : 'waiting',
      copies: held ? 1 : 0,
      again: Number.POSITIVE_INFINITY,
      refused: new Map(),
    })
    return true
  }

  /** Takes a message back, wherever it is; false if it is not there. */
  remove(id: string): boolean {
    const entry = this.#entries.get(id)
    if (entry === undefined) return false
    this.#entries.delete(id)
    this.#bytes -= entry.payload.length
    return true
  }

  /** All that is unconfirmed and would be missed, oldest first. */
  entries(): OutboxEntry[] {
    return [...this.#entries.values()]
      .filter(({ confirm, keep }) => confirm && keep !== false)
      .map(({ id, to, relays, payload, time, deadline, confirm, held, state }) => {
        const where = held.size > 0 || state === 'waiting' ? [...held] : relays.slice(0, 1)
        return { id, to, relays, payload, time, deadline, confirm, held: where }
      })
  }

  /** What is to be done now; it counts as under way from here on, until the input that answers it. */
  take(now: number): OutboxTask[] {
    const tasks: OutboxTask[] = []
    const flying = new Map<string, number>()
    for (const { flying: relay } of this.#entries.values()) if (relay !== undefined) flying.set(relay, (flying.get(relay) ?? 0) + 1)
    /** Receivers whose order would break. */
    const stopped = new Set<string>()
    for (const entry of this.#entries.values()) {
      if (entry.flying !== undefined || entry.deadline <= now || stopped.has(entry.to)) continue
      // Most of many are held, and rest: they cost a look each, whenever anything is sent.
      if (!entry.wanted && !isOver(entry.again, now, MOST_AGAIN) && this.#down.size === 0) continue
      if (isOver(entry.again, now, MOST_AGAIN)) {
        entry.wanted = true
        entry.again = Number.POSITIVE_INFINITY
      }
      const relay = this.#choose(entry, now)
      if (relay === undefined) {
        if (entry.wanted && entry.confirm) stopped.add(entry.to)
        continue
      }
      const count = flying.get(relay) ?? 0
      if (this.#doubted.has(relay)) {
        // What it has lost goes before what is new.
        const look = this.#looks.get(relay)
        if (look === undefined) this.#looks.set(relay, { at: now, pause: OUTBOX.look[0] })
        else if (look.at < Number.POSITIVE_INFINITY) look.at = now
        stopped.add(entry.to)
        continue
      }
      if (count >= OUTBOX.window) {
        stopped.add(entry.to)
        continue
      }
      flying.set(relay, count + 1)
      entry.flying = relay
      entry.wanted = false
      this.#looks.delete(relay)
      tasks.push({ kind: 'send', relay, id: entry.id, to: entry.to, payload: entry.payload })
    }
    for (const [relay, look] of this.#looks) {
      if (!isOver(look.at, now, OUTBOX.look[1]) || this.#isDown(relay, now)) continue
      look.at = Number.POSITIVE_INFINITY
      if (this.#doubted.has(relay)) tasks.push({ kind: 'look', relay })
      else this.#looks.delete(relay)
    }
    return tasks
  }

  /** When `take` or `expire` has something to do next; infinite if only an input can tell. */
  due(now: number): number {
    let due = Number.POSITIVE_INFINITY
    /** By receiver: its relays that open again, and when. */
    const opening = new Map<string, readonly (readonly [relay: string, until: number])[]>()
    for (const entry of this.#entries.values()) {
      due = Math.min(due, entry.deadline)
      if (entry.flying !== undefined) continue
      due = Math.min(due, entry.again)
      if (!entry.wanted && entry.held.size === 0) continue
      let relays = opening.get(entry.to)
      if (relays === undefined) opening.set(entry.to, (relays = this.#opening(entry, now)))
      for (const [relay, until] of relays) if (!entry.refused.has(relay)) due = Math.min(due, until)
    }
    for (const [relay, { at }] of this.#looks) due = Math.min(due, Math.max(at, this.#down.get(relay)?.until ?? 0))
    return due
  }

  /** The relay took it. @param seconds how long it says that it will hold it */
  onSent(id: string, relay: string, seconds: number, now: number): OutboxChange | undefined {
    const entry = this.#entries.get(id)
    if (entry?.flying !== relay) return undefined
    entry.flying = undefined
    unblock(this.#shut, `${entry.to} ${relay}`, now)
    unblock(this.#down, relay, now)
    const pause = OUTBOX.again[Math.min(entry.copies, OUTBOX.again.length - 1)]!
    entry.copies++
    entry.held.add(relay)
    entry.again = now + Math.min(pause, Math.max(seconds, 60) * 1_000)
    if (!entry.confirm) this.remove(id)
    if (entry.state === 'held') return undefined
    entry.state = 'held'
    return { id, to: entry.to, state: 'held', relay }
  }

  /**
   * The relay refused it, and the connection stays.
   * @param seconds what the relay said about coming back
   * @param random in [0, 1)
   */
  onRefused(
    id: string,
    relay: string,
    code: RelayErrorCode,
    seconds: number | undefined,
    random: number,
    now: number,
  ): OutboxChange | undefined {
    const entry = this.#entries.get(id)
    if (entry?.flying !== relay) return undefined
    entry.flying = undefined
    entry.wanted = true
    const shut = `${entry.to} ${relay}`
    switch (code) {
      case 'mailbox-full':
        block(this.#shut, shut, code, now, (failures) => backoff(failures, random, seconds))
        break
      case 'too-large':
        entry.refused.set(relay, code)
        break
      case 'denied':
        entry.refused.set(relay, code)
        block(this.#shut, shut, code, now, () => OUTBOX.denied)
        break
      default:
        block(this.#down, relay, code, now, (failures) => backoff(failures, random, seconds))
    }
    const relays = this.#relays(entry)
    if (!relays.every((each) => entry.refused.has(each))) return { id, to: entry.to, state: entry.state, relay, code }
    this.remove(id)
    return { id, to: entry.to, state: 'failed', relay, code }
  }

  /** The relay cannot be reached, or the connection was lost: what was under way there is sent again. */
  onLost(relay: string, code: RelayErrorCode, seconds: number | undefined, random: number, now: number): OutboxChange[] {
    const lasting = LASTING.includes(code)
    block(this.#down, relay, code, now, (failures) => (lasting ? OUTBOX.denied : backoff(failures, random, seconds)))
    const changes: OutboxChange[] = []
    for (const entry of this.#entries.values()) {
      if (entry.flying === relay) {
        entry.flying = undefined
        entry.wanted = true
      }
      const relays = this.#relays(entry)
      if (entry.state !== 'waiting' || !relays.includes(relay)) continue
      if (lasting) entry.refused.set(relay, code)
      const failed = relays.every((each) => entry.refused.has(each))
      if (failed) this.remove(entry.id)
      changes.push({ id: entry.id, to: entry.to, state: failed ? 'failed' : 'waiting', relay, code })
    }
    if (!this.#holds(relay)) return changes
    // To be known as soon as it can be.
    this.#doubted.add(relay)
    this.#looks.set(relay, { at: now, pause: OUTBOX.look[0] })
    return changes
  }

  /** The relay can be reached. */
  onReached(relay: string): void {
    this.#down.delete(relay)
  }

  /** We are connected for sending; if it forgot, that was said before. */
  onUp(relay: string): void {
    this.#down.delete(relay)
    this.#doubted.delete(relay)
  }

  /** Our connection to the relay ended because nothing was to be done there. */
  onIdle(relay: string, random: number, now: number): void {
    if (!this.#holds(relay)) return
    this.#doubted.add(relay)
    const pause = Math.min((this.#looks.get(relay)?.pause ?? OUTBOX.look[0] / 2) * 2, OUTBOX.look[1])
    this.#looks.set(relay, { at: now + pause * (0.75 + random / 4), pause })
  }

  /** The relay has lost all that it held. */
  onForgot(relay: string): void {
    for (const entry of this.#entries.values()) {
      if (!entry.held.delete(relay) || entry.held.size > 0) continue
      entry.wanted = entry.flying === undefined
      entry.again = Number.POSITIVE_INFINITY
    }
    for (const shut of this.#shut.keys()) if (shut.endsWith(` ${relay}`)) this.#shut.delete(shut)
  }

  /**
   * A relay of our own has lost all that it held, receipts among it: what is unconfirmed goes out again soon, so that
   * its receiver says once more what it said.
   */
  onReceiptsLost(random: number, now: number): void {
    const soon = now + 5_000 + random * 10_000
    for (const entry of this.#entries.values()) if (entry.held.size > 0) entry.again = Math.min(entry.again, soon)
  }

  /** `from` says of messages that they came, or were read. Of messages that were not sent to it, it has nothing to say. */
  onReceipt(from: string, ids: readonly string[], state: 'delivered' | 'read'): OutboxChange[] {
    const changes: OutboxChange[] = []
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (entry?.to === from) {
        this.remove(id)
        this.#confirmed.set(id, from)
        if (this.#confirmed.size > OUTBOX.confirmed) this.#confirmed.delete(this.#confirmed.keys().next().value!)
      } else if (state !== 'read' || this.#confirmed.get(id) !== from) continue
      if (state === 'read') this.#confirmed.delete(id)
      changes.push({ id, to: from, state })
    }
    // Who takes messages has room for more.
    if (changes.length > 0)
      for (const [shut, { code }] of this.#shut) if (code === 'mailbox-full' && shut.startsWith(`${from} `)) this.#shut.delete(shut)
    return changes
  }

  /** Gives up what is past its deadline. */
  expire(now: number): OutboxChange[] {
    const changes: OutboxChange[] = []
    for (const { id, to, deadline, confirm } of this.#entries.values()) {
      if (deadline > now) continue
      this.remove(id)
      if (confirm) changes.push({ id, to, state: 'expired' })
    }
    for (const relay of this.#doubted)
      if (!this.#holds(relay)) {
        this.#doubted.delete(relay)
        this.#looks.delete(relay)
      }
    for (const [relay, { until }] of this.#down) if (until < now - OUTBOX.denied) this.#down.delete(relay)
    for (const [shut, { until }] of this.#shut) if (until < now - OUTBOX.denied) this.#shut.delete(shut)
    return changes
  }

  #relays(entry: Entry): readonly string[] {
    const known = this.#relaysOf(entry.to)
    return known === undefined || known.length === 0 ? entry.relays : known
  }

  /** The relays of the entry's receiver that cannot take anything now, and when they are tried again. */
  #opening(entry: Entry, now: number): (readonly [relay: string, until: number])[] {
    return this.#relays(entry)
      .map((relay) => [relay, Math.max(this.#down.get(relay)?.until ?? 0, this.#shut.get(`${entry.to} ${relay}`)?.until ?? 0)] as const)
      .filter(([, until]) => !isOver(until, now))
  }

  #isDown(relay: string, now: number): boolean {
    return !isOver(this.#down.get(relay)?.until ?? 0, now)
  }

  /** Where an entry goes now, if it has to go anywhere. */
  #choose(entry: Entry, now: number): string | undefined {
    const relays = this.#relays(entry)
    const open = (relay: string): boolean =>
      !entry.refused.has(relay) && !this.#isDown(relay, now) && isOver(this.#shut.get(`${entry.to} ${relay}`)?.until ?? 0, now)
    if (entry.wanted) {
      // A relay that took it and left it unconfirmed comes after those that did not have it yet.
      return relays.find((relay) => open(relay) && !entry.held.has(relay)) ?? relays.find(open)
    }
    // Where all that hold it cannot be reached, its receiver cannot either.
    if (entry.held.size === 0 || [...entry.held].some((relay) => (this.#down.get(relay)?.failures ?? 0) < 2)) return undefined
    return relays.find((relay) => open(relay) && !entry.held.has(relay))
  }

  #holds(relay: string): boolean {
    for (const { held } of this.#entries.values()) if (held.has(relay)) return true
    return false
  }
}

function block(blocks: Map<string, Block>, name: string, code: RelayErrorCode, now: number, pause: (failures: number) => number): void {
  const before = blocks.get(name)
  // Many refusals that were under way together are one.
  if (before !== undefined && !isOver(before.until, now)) return
  const failures = (before?.failures ?? 0) + 1
  blocks.set(name, { until: now + pause(failures), failures, code })
}

/** Whether a time has come; also one that is further ahead than any pause is, because the clock was set back. */
function isOver(time: number, now: number, most = MOST_BLOCKED): boolean {
  return time <= now || (time < Number.POSITIVE_INFINITY && time > now + most)
}

/** What was under way before a refusal came may have been taken: that takes nothing back. */
function unblock(blocks: Map<string, Block>, name: string, now: number): void {
  if ((blocks.get(name)?.until ?? now + 1) <= now) blocks.delete(name)
}
