import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Introducer } from '../../client/messenger/options.ts'
import type { Known } from '../profile/book.ts'
import type { Profile } from '../profile/profile.ts'

/**
 * Adds the user's card to messages to people who may not have it, and remembers in the contact book who has: those who
 * were heard. If the card with its inbox is newer than that, it goes to them again until they are heard once more.
 */
export class CardGiver implements Introducer {
  readonly #profile: Profile
  /** What was recorded in this run, by fingerprint. */
  readonly #marked = new Set<string>()
  #card: Card | undefined
  #writing: Promise<unknown> = Promise.resolve()

  constructor(profile: Profile) {
    this.#profile = profile
  }

  /** Reads the user's card. */
  async read(): Promise<void> {
    const { home, identity } = this.#profile
    const card = await home?.readCard().catch(() => undefined)
    this.#card = card !== undefined && fingerprintOf(card.key) === fingerprintOf(identity.key) ? card : undefined
  }

  /** Resolves once the contact book is up to date. */
  async idle(): Promise<void> {
    await this.#writing
  }

  cardFor({ key }: Contact): string | undefined {
    const known = this.#profile.book.find(fingerprintOf(key))
    if (known?.met === undefined) return this.#card?.link
    if (!this.#isNewTo(known.met)) return undefined
    if (known.given === undefined || this.#isNewTo(known.given)) this.#mark(known, 'given')
    return this.#card?.link
  }

  onHeard({ key }: Contact): void {
    const known = this.#profile.book.find(fingerprintOf(key))
    if (known === undefined) return
    const { met, given } = known
    const wasGiven = given !== undefined && !this.#isNewTo(given)
    if (met === undefined || (this.#isNewTo(met) && wasGiven)) this.#mark(known, 'met')
  }

  /** Whether the card, with an inbox, was made after that time, seconds since 1970. */
  #isNewTo(time: number): boolean {
    return this.#card?.inbox !== undefined && time < this.#card.time
  }

  #mark(known: Known, what: 'met' | 'given'): void {
    const name = `${what} ${this.#card?.time} ${fingerprintOf(known.key)}`
    if (this.#marked.has(name)) return
    this.#marked.add(name)
    // If it cannot be written, the next messages have the card, too.
    this.#writing = Promise.all([this.#writing, this.#profile.book.mark(known, what).catch(() => {})])
  }
}
