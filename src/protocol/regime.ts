/**
 * How much time and how long a line a peer gets (docs/protocol.md, section 6). A stranger, a peer that has not proven a
 * key, gets less of both. Has no I/O, like the session that owns it; times are in ms.
 */
import type { Limits } from './limits.ts'

export class Regime {
  readonly #limits: Limits
  readonly #startedAt: number
  #peer: 'silent' | 'stranger' | 'proven' = 'silent'
  #heardAt: number
  /** When the write under way began. */
  #writingSince: number | undefined

  constructor(limits: Limits, now: number) {
    this.#limits = limits
    this.#startedAt = now
    this.#heardAt = now
  }

  /** Whether the peer has proven a key. */
  get isProven(): boolean {
    return this.#peer === 'proven'
  }

  /** Whether a write is under way. */
  get isWriting(): boolean {
    return this.#writingSince !== undefined
  }

  /** The bytes that a packet may have now. */
  get packetLimit(): number {
    const { lineBeforeToken, payload, lineOverhead } = this.#limits
    return this.isProven ? payload + lineOverhead : lineBeforeToken
  }

  /** When the peer runs out of time. */
  get deadline(): number {
    const { firstPacketSeconds, loginSeconds, idleSeconds, writeSeconds } = this.#limits
    let deadline = this.#heardAt + idleSeconds * 1_000
    if (this.#peer !== 'proven') deadline = Math.min(deadline, this.#startedAt + loginSeconds * 1_000)
    if (this.#peer === 'silent') deadline = Math.min(deadline, this.#startedAt + firstPacketSeconds * 1_000)
    if (this.#writingSince !== undefined) deadline = Math.min(deadline, this.#writingSince + writeSeconds * 1_000)
    return deadline
  }

  onBytes(now: number): void {
    this.#heardAt = now
  }

  onPacket(): void {
    if (this.#peer === 'silent') this.#peer = 'stranger'
  }

  onProven(): void {
    this.#peer = 'proven'
  }

  onWriting(now: number): void {
    this.#writingSince = now
  }

  onWritten(): void {
    this.#writingSince = undefined
  }
}
