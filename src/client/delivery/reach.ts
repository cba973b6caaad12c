/**
 * Which relays, and which mailboxes at them, an outbox should not try for now. Pure, times are milliseconds.
 */
import type { RelayErrorCode } from '../wire/error.ts'
import { isOver } from './backoff.ts'
import { OUTBOX, relayOf } from './entry.ts'

interface Block {
  until: number
  failures: number
  /** When the first of these failures was. */
  readonly since: number
  readonly code: RelayErrorCode
  /** When the relay was reached again. */
  reachedAt?: number
}

/** Once a relay was reached for so long, ms, the next pause is short again. */
const HELD_MS = 60_000

/** So many failures in a row, in about half a minute, and so long a time, ms, mean that a relay may not come back. */
const LOST_FAILURES = 6
const LOST_MS = 600_000

/** The longest block. A relay may ask for an hour, and backoff adds a little. */
const MOST_BLOCKED = 2 * OUTBOX.denied

/** Answers after which an earlier try would be rude or useless. */
const REFUSALS: readonly RelayErrorCode[] = ['rate-limited', 'denied', 'bad-key', 'unsupported-key', 'onion-malformed']

/** Returns how long to block, in ms. @param failures failures in a row, this one included */
type Pause = (failures: number) => number

export class Reach {
  /** By relay, not by route: relays that cannot be reached, or refuse everything for now. */
  readonly #down = new Map<string, Block>()
  /** By receiver and relay: mailboxes that are full, or closed to this user. */
  readonly #shut = new Map<string, Map<string, Block>>()

  /** When a relay was reached last. */
  #reachedAt = 0

  /** Whether any relay is blocked, or was a short while ago. */
  get hasDown(): boolean {
    return this.#down.size > 0
  }

  isDown(relay: string, now: number): boolean {
    return !isOver(this.downUntil(relay), now, MOST_BLOCKED)
  }

  /** Returns until when the relay is blocked; 0 if it is not. */
  downUntil(relay: string): number {
    return this.#down.get(relayOf(relay))?.until ?? 0
  }

  /** Returns how often in a row the relay failed; 0 once it was reached. */
  failures(relay: string): number {
    const block = this.#down.get(relayOf(relay))
    return block === undefined || block.reachedAt !== undefined ? 0 : block.failures
  }

  /**
   * Whether a message of that time must find another way: the relay failed many times in a row, and the message has waited
   * for ten minutes, or the relay has failed for so long. Failures count only if other relays can be reached.
   * @param isOnline whether a relay of the user can be reached; otherwise another one must have been, since the first failure
   */
  isLost(relay: string, time: number, now: number, isOnline: boolean): boolean {
    const since = this.#down.get(relayOf(relay))?.since ?? now
    const isTold = isOnline || this.#reachedAt >= since
    return isTold && this.failures(relay) >= LOST_FAILURES && now - Math.min(since, time) >= LOST_MS
  }

  /** Whether none of the relays that hold a message can be reached: its receiver cannot fetch it there either. */
  strands(held: ReadonlyMap<string, unknown>): boolean {
    for (const [relay] of held) if (this.failures(relay) < 2) return false
    return held.size > 0
  }

  /** Whether the mailbox refused a message, and took none since: one message is enough to try. */
  isDoubted(to: string, relay: string): boolean {
    return this.#shutAt(to, relay) !== undefined
  }

  /** Whether the relay had no good bundle of the receiver's inbox when it was asked last. */
  lacksBundle(to: string, relay: string): boolean {
    const code = this.#shutAt(to, relay)?.code
    return code === 'no-bundle' || code === 'old-bundle'
  }

  /** Whether the relay may be tried with a message for `to`. */
  isOpen(to: string, relay: string, now: number): boolean {
    return !this.isDown(relay, now) && isOver(this.#shutUntil(to, relay), now, MOST_BLOCKED)
  }

  /** Returns those of the relays that cannot take a message for `to` now, each with the time of the next try. */
  opening(to: string, relays: readonly string[], now: number): (readonly [relay: string, until: number])[] {
    return relays
      .map((relay) => [relay, Math.max(this.downUntil(relay), this.#shutUntil(to, relay))] as const)
      .filter(([, until]) => !isOver(until, now, MOST_BLOCKED))
  }

  /** Blocks a relay. */
  blockRelay(relay: string, code: RelayErrorCode, now: number, pause: Pause): void {
    block(this.#down, relayOf(relay), code, now, pause)
  }

  /** Blocks a mailbox at a relay. */
  blockMailbox(to: string, relay: string, code: RelayErrorCode, now: number, pause: Pause): void {
    const mailboxes = this.#shut.get(to) ?? new Map<string, Block>()
    this.#shut.set(to, mailboxes)
    block(mailboxes, relay, code, now, pause)
  }

  /** The relay can be reached. If the connection ends soon, the next pause is longer all the same. */
  onReached(relay: string, now: number): void {
    this.#reachedAt = now
    const block = this.#down.get(relayOf(relay))
    if (block === undefined) return
    block.until = Math.min(block.until, now)
    block.reachedAt ??= now
  }

  /** Opens a relay, and a full mailbox, for the next try. @returns why the relay stays closed: it said so itself */
  hurry(to: string, relay: string, now: number): RelayErrorCode | undefined {
    for (const block of [this.#down.get(relayOf(relay)), this.#shutAt(to, relay)]) {
      if (block === undefined || isOver(block.until, now, MOST_BLOCKED)) continue
      if (REFUSALS.includes(block.code)) return block.code
      // The next failure in a row makes the pause longer, as before.
      block.until = now
    }
    return undefined
  }

  /** The relay accepted a message for `to`. */
  onTaken(to: string, relay: string, now: number): void {
    unblock(this.#shut.get(to), relay, now)
    unblock(this.#down, relayOf(relay), now)
  }

  /** The relay lost its messages, so its mailboxes are no longer full. */
  onForgot(relay: string): void {
    for (const mailboxes of this.#shut.values()) for (const route of mailboxes.keys()) if (relayOf(route) === relay) mailboxes.delete(route)
  }

  /** The receiver fetched messages, so its mailboxes have room again. */
  onFetched(to: string): void {
    const mailboxes = this.#shut.get(to)
    for (const [route, { code }] of mailboxes ?? []) if (code === 'mailbox-full') mailboxes!.delete(route)
  }

  /** Forgets blocks that ended long ago, and with them how often a relay failed. */
  expire(now: number): void {
    for (const blocks of [this.#down, ...this.#shut.values()])
      for (const [name, { until }] of blocks) if (until < now - OUTBOX.denied) blocks.delete(name)
    for (const [to, mailboxes] of this.#shut) if (mailboxes.size === 0) this.#shut.delete(to)
  }

  #shutUntil(to: string, relay: string): number {
    return this.#shutAt(to, relay)?.until ?? 0
  }

  #shutAt(to: string, relay: string): Block | undefined {
    return this.#shut.get(to)?.get(relay)
  }
}

function block(blocks: Map<string, Block>, name: string, code: RelayErrorCode, now: number, pause: Pause): void {
  const before = blocks.get(name)
  // Several requests that were under way together and are refused count as one failure.
  if (before !== undefined && !isOver(before.until, now, MOST_BLOCKED)) return
  const isNew = before?.reachedAt !== undefined && now - before.reachedAt > HELD_MS
  const failures = isNew ? 1 : (before?.failures ?? 0) + 1
  const since = before?.reachedAt === undefined ? (before?.since ?? now) : now
  blocks.set(name, { until: now + pause(failures), failures, since, code })
}

/** Removes a block that is over. One that lasts stays: the accepted message may have been sent before the refusal. */
function unblock(blocks: Map<string, Block> | undefined, name: string, now: number): void {
  if ((blocks?.get(name)?.until ?? now + 1) <= now) blocks!.delete(name)
}
