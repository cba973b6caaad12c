import { FUTURE, STALE } from '../format/message.ts'

/** How the clock of this machine seems to be wrong, and by how many seconds at least. */
export interface ClockFault {
  readonly off: 'ahead' | 'behind'
  readonly by: number
}

/** So many contacts must agree: one alone may have a wrong clock. */
const WITNESSES = 2

/**
 * Suspects that the clock of this machine is wrong: the latest messages of several contacts are all dated ahead, or all
 * older than a relay holds messages. Strangers have no say.
 */
export class ClockDoubt {
  /** By the contact's fingerprint. */
  readonly #faults = new Map<string, ClockFault>()
  #told: ClockFault['off'] | undefined

  /**
   * Takes a message that a contact signed.
   * @param from the contact's fingerprint
   * @param time the message's time, seconds since 1970
   * @param now seconds since 1970
   * @returns the fault, once
   */
  onMessage(from: string, time: number, now: number): ClockFault | undefined {
    const off = time > now + FUTURE ? 'behind' : time < now - STALE ? 'ahead' : undefined
    if (off === undefined) {
      this.#faults.clear()
      this.#told = undefined
      return undefined
    }
    this.#faults.set(from, { off, by: Math.floor(Math.abs(time - now)) })
    const all = [...this.#faults.values()]
    if (all.length < WITNESSES || all.some((fault) => fault.off !== off) || this.#told === off) return undefined
    this.#told = off
    return { off, by: Math.min(...all.map(({ by }) => by)) }
  }
}
