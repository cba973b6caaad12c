/**
 * The roster: the keys that the relay admits, and the rights of each. Holds blinded ids, and no names. A roster does not
 * change; when a key expires, the relay makes a new one.
 */

/** A key of the operator's list. */
export interface Member {
  /** SHA-256 of the key's blob. */
  readonly fingerprint: Uint8Array
  /** If set, the key may only send, and has no mailbox, or may only receive. */
  readonly only?: 'send' | 'receive'
  /** From then on the key is not on the list, ms. */
  readonly expires?: number
  /** Bytes that the key may send at once, and again within an hour. */
  readonly perSender?: number
  /** Messages in the key's mailbox. */
  readonly places?: number
  /** A FIDO key must assert at each login that it verified its user. */
  readonly mustVerify?: boolean
}

/** Whether keys that are not on the list may send to those on it. */
export type Strangers = 'off' | 'send'

export class Roster {
  /** By blinded id; undefined if every key is admitted. */
  readonly #members: ReadonlyMap<string, Member> | undefined
  readonly #strangers: Strangers
  /** When the next key expires, ms. */
  readonly until: number

  /** @param members undefined admits every key, with all rights */
  constructor(members: readonly Member[] | undefined, strangers: Strangers, idOf: (fingerprint: Uint8Array) => string, now: number) {
    const valid = members?.filter(({ expires = Infinity }) => expires > now)
    this.#members = valid && new Map(valid.map((member) => [idOf(member.fingerprint), member]))
    this.#strangers = strangers
    this.until = (valid ?? []).reduce((first, { expires = Infinity }) => Math.min(first, expires), Infinity)
  }

  /** Whether the key may log in. */
  admits(id: string): boolean {
    return this.#members === undefined || this.#members.has(id) || this.#strangers === 'send'
  }

  sends(id: string): boolean {
    return this.admits(id) && this.#members?.get(id)?.only !== 'receive'
  }

  /** Whether the key has a mailbox. */
  receives(id: string): boolean {
    if (this.#members === undefined) return true
    const member = this.#members.get(id)
    return member !== undefined && member.only !== 'send'
  }

  isStranger(id: string): boolean {
    return this.#members !== undefined && !this.#members.has(id)
  }

  /** Returns the key's own quotas and conditions; undefined if the list gives it no quotas and conditions. */
  of(id: string): Pick<Member, 'perSender' | 'places' | 'mustVerify'> | undefined {
    return this.#members?.get(id)
  }
}
