import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Introducer } from '../../client/messenger/options.ts'
import type { Profile } from '../profile/profile.ts'

/** Adds the user's card to messages to people who were never heard, and remembers in the contact book who was. */
export class CardGiver implements Introducer {
  readonly #profile: Profile
  readonly #heard = new Set<string>()
  #link: string | undefined
  #writing: Promise<unknown> = Promise.resolve()

  constructor(profile: Profile) {
    this.#profile = profile
  }

  /** Reads the user's card. */
  async read(): Promise<void> {
    const { home, identity } = this.#profile
    const card = await home?.readCard().catch(() => undefined)
    this.#link = card !== undefined && fingerprintOf(card.key) === fingerprintOf(identity.key) ? card.link : undefined
  }

  /** Resolves once the contact book is up to date. */
  async idle(): Promise<void> {
    await this.#writing
  }

  cardFor({ key }: Contact, mayLackInbox: boolean): string | undefined {
    return mayLackInbox || this.#profile.book.find(fingerprintOf(key))?.met === undefined ? this.#link : undefined
  }

  onHeard({ key }: Contact): void {
    const { book } = this.#profile
    const fingerprint = fingerprintOf(key)
    const known = book.find(fingerprint)
    if (known === undefined || known.met !== undefined || this.#heard.has(fingerprint)) return
    this.#heard.add(fingerprint)
    // If it cannot be written, the next messages have the card, too.
    this.#writing = Promise.all([this.#writing, book.meet(known).catch(() => {})])
  }
}
