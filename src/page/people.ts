/** The people of the user: what the user can do about contacts and contact requests. */
import { type Card, CardError, parseCard } from '../client/format/card.ts'
import { fingerprintOf } from '../client/format/field.ts'
import { safetyWords } from '../client/format/safety.ts'
import type { Contact } from '../client/messenger/contact.ts'
import type { Account, Person } from './account.ts'
import { AccountError } from './check.ts'
import { type Link, readLink } from './link.ts'
import { type Party, type State, withPeople } from './model.ts'
import type { Requests } from './requests.ts'

export interface PeopleOptions {
  readonly account: Account
  readonly requests: Requests
  readonly change: (work: (state: State) => State) => void
  /** The account has changed since the user saved it last. */
  readonly touch: () => void
  /** Acknowledges everything in a conversation. */
  readonly release: (id: string) => void
  /** Sends receipts for the messages of a request. */
  readonly confirm: (person: Person, ids: readonly string[]) => void
}

export class People {
  readonly #options: PeopleOptions

  constructor(options: PeopleOptions) {
    this.#options = options
  }

  /** Adds the person of a link. @returns their conversation, and what the user should know @throws {AccountError} */
  async addLink(text: string, name?: string): Promise<{ readonly id: string | undefined; readonly link: Link }> {
    const link = await readLink(text, Date.now() / 1_000)
    const { card } = link
    if (card === undefined) return { id: undefined, link }
    const fingerprint = fingerprintOf(card.key)
    if (this.#options.account.find(fingerprint) === undefined && this.#options.requests.find(fingerprint) !== undefined)
      await this.accept(fingerprint, name)
    else await this.#add(card, name)
    return { id: fingerprint, link }
  }

  /** Adds the person whose card is in a message. @throws {AccountError} */
  async addCard(text: string): Promise<string> {
    try {
      return (await this.#add(await parseCard(text))).fingerprint
    } catch (error) {
      throw error instanceof CardError ? new AccountError(error.message) : error
    }
  }

  /** Makes the sender of a request a contact. @throws {AccountError} */
  async accept(id: string, name?: string): Promise<void> {
    const request = this.#options.requests.find(id)
    if (request === undefined) return
    const person = await this.#add(request.card, name)
    this.#options.requests.remove(id)
    this.#options.release(id)
    this.#options.confirm(person, request.ids)
    this.show()
  }

  ignore(id: string): void {
    this.#options.requests.remove(id)
    this.#options.release(id)
    this.show()
  }

  /** Drops everything that this person writes from now on. */
  block(id: string): void {
    this.#options.account.block(id, this.#options.account.find(id)?.name ?? this.#options.requests.find(id)?.card.name ?? 'a stranger')
    this.#options.requests.remove(id)
    this.#options.release(id)
    this.#options.touch()
    this.show()
  }

  unblock(id: string): void {
    this.#options.account.unblock(id)
    this.#options.touch()
    this.show()
  }

  /** @throws {AccountError} */
  async rename(id: string, name: string): Promise<void> {
    await this.#options.account.rename(id, name)
    this.#options.touch()
    this.show()
  }

  remove(id: string): void {
    this.#options.release(id)
    this.#options.account.remove(id)
    this.#options.touch()
    this.show()
  }

  /** Computes the safety words with a person. */
  words(id: string): Promise<string[]> {
    const key = this.#options.account.find(id)?.key ?? this.#options.requests.find(id)?.card.key
    return key === undefined ? Promise.resolve([]) : safetyWords(this.#options.account.identity.key, key)
  }

  /** The user compared the safety words, and they are equal. */
  async verify(id: string): Promise<void> {
    await this.#options.account.verify(id)
    this.#options.touch()
    this.show()
  }

  async #add(card: Card, name?: string): Promise<Person> {
    const person = await this.#options.account.add(card, name)
    this.#options.touch()
    this.show()
    return person
  }

  /** Shows the contacts and the requests. */
  show(): void {
    const contacts = this.#options.account.people().map((person): Party => this.#partyOf(person, person.fingerprint, 'contact'))
    const requests = this.#options.requests
      .list()
      .filter(([id]) => this.#options.account.find(id) === undefined)
      .map(([id, { card }]) => this.#partyOf(card, id, 'request'))
    this.#options.change((state) => withPeople(state, [...contacts, ...requests]))
  }

  #partyOf({ name }: Pick<Contact, 'name'>, id: string, kind: Party['kind']): Party {
    const twin = kind === 'request' ? this.#options.account.like(name, id)?.name : undefined
    const verified = this.#options.account.find(id)?.verified !== undefined
    return { id, kind, name, verified, blocked: this.#options.account.isBlocked(id), ...(twin !== undefined && { twin }) }
  }
}
