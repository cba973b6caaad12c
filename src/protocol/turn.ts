/**
 * The work that one connection may do in a turn of the event loop. Without such a bound, a peer that pipelines would
 * hold up all others for as long as its bytes last. The session rests once the budget is spent, and the relay lets it go
 * on in a later turn (src/relay/relay.ts, round robin).
 *
 * Counts work, not time, because the session has no clock. The unit is about the work of a byte of a message, 2.5 ns: a
 * byte counts 1 when it is read and 1 when it is written. Packets without a payload cost a peer next to nothing to send,
 * so they weigh more than they take, and a turn has fewer of them.
 */
import type { RequestName } from './packets.ts'

/** The budget. 90 messages of 1 KiB fit, sent or received; a client's window has 64. At most some 0.4 ms of work. */
const TURN = 196_608
/** With less left than this, the session reads nothing more: a further chunk would hardly fit, and be copied. */
const RESERVE = TURN / 3

/** The work of each request beside its bytes. */
const WEIGHTS: Record<RequestName, number> = {
  AUTH: 4_096,
  VERIFY: 4_096,
  // 13 to 35 µs: a hash, the blinded id and a token.
  CLAIM: 14_336,
  SEND: 256,
  GET: 1_024,
  ACK: 256,
  SUBSCRIBE: 2_048,
  PING: 2_048,
  HELLO: 4_096,
  WIPE: 2_048,
  PUBLISH: 4_096,
  FETCH: 2_048,
}
/** Each message id of an ACK: the mailbox looks for it. */
const ID = 128
/** A frame of a WebSocket that completes no packet. */
const IDLE_FRAME = 256
/** An ERROR. */
const REFUSAL = 4_096
/** The signature of a token that the connection did not show before. */
const TOKEN = 2_048
/** The key of a receiver that the connection did not name in the same bytes before. */
const RECEIVER = 6_144

export class Turn {
  #left = TURN

  /** Whether the budget is spent. */
  get isOver(): boolean {
    return this.#left <= 0
  }

  /** Whether enough is left for another chunk. */
  get hasRoom(): boolean {
    return this.#left >= RESERVE
  }

  /** A new turn. Work beyond the last budget is a debt, for one packet may cost more than a budget. */
  begin(): void {
    this.#left = Math.min(TURN, this.#left + TURN)
  }

  onBytes(bytes: number): void {
    this.#left -= bytes
  }

  /** @param count of its fields */
  onRequest(name: RequestName, count: number): void {
    this.#left -= WEIGHTS[name]
    if (name === 'ACK') this.#left -= count * ID
  }

  onIdleFrames(count: number): void {
    this.#left -= count * IDLE_FRAME
  }

  onRefusal(): void {
    this.#left -= REFUSAL
  }

  onToken(): void {
    this.#left -= TOKEN
  }

  onReceiver(): void {
    this.#left -= RECEIVER
  }
}
