/** The people of a chat, by fingerprint: the contact book, and the members of the user's groups. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { Blocked } from '../profile/blocked.ts'
import type { Book } from '../profile/book.ts'
import { conversationOf, type Groups, type KnownGroup, membersOf } from '../profile/groups.ts'
import { showName } from '../../wording/name.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { Rules } from '../profile/rules.ts'
import { waitingOf } from '../talk/request.ts'
import { LOOKALIKE } from './conversation.ts'
import type { Party } from './input.ts'

export { conversationOf } from '../profile/groups.ts'

const GROUP = 'group:'

export class People {
  readonly book: Book
  readonly groups: Groups
  readonly rules: Rules
  readonly #me: string
  readonly #guest: Contact | undefined
  readonly blocked: Blocked
  /** The contact requests that wait. */
  requests: readonly ContactRequest[] = []
  /** Groups that the user left in this session. */
  readonly #left = new Map<string, KnownGroup>()

  /** @param guest a receiver from the command line who is not in the book */
  constructor(
    book: Book,
    groups: Groups,
    me: SshKey,
    guest?: Contact,
    { blocked = Blocked.empty(), rules = Rules.empty() }: { readonly blocked?: Blocked; readonly rules?: Rules } = {},
  ) {
    this.book = book
    this.blocked = blocked
    this.groups = groups
    this.rules = rules
    this.#me = fingerprintOf(me)
    this.#guest = guest
  }

  /** Finds a person to write to. A `~` marks a group member who is not a contact: the group's maker chose the name. */
  find(fingerprint: string): Contact | undefined {
    const known = this.book.find(fingerprint)
    if (known !== undefined) return { ...known, name: this.#show(known.name, fingerprint) }
    if (this.#guest !== undefined && fingerprintOf(this.#guest.key) === fingerprint) return this.#guest
    for (const { group } of this.groups.list()) {
      const card = group.members.find(({ key }) => fingerprintOf(key) === fingerprint)
      if (card !== undefined && fingerprint !== this.#me)
        return { ...this.book.contactOf(card), name: `~${this.#show(card.name, fingerprint)}` }
    }
    return undefined
  }

  /** Whether the user added this person. Only such people may send files, not every member of a group. */
  isContact(fingerprint: string): boolean {
    return this.book.find(fingerprint) !== undefined || (this.#guest !== undefined && fingerprintOf(this.#guest.key) === fingerprint)
  }

  nameOf(fingerprint: string): string {
    return fingerprint === this.#me ? 'you' : (this.find(fingerprint)?.name ?? fingerprint)
  }

  /** Returns the user's name for the owner of a card. */
  callOf({ key, name }: Card): string {
    const fingerprint = fingerprintOf(key)
    return fingerprint === this.#me ? 'you' : (this.find(fingerprint)?.name ?? `~${this.#show(name, fingerprint)}`)
  }

  /** Marks a name by `?` if it looks like the name of a contact who has another key. */
  #show(name: string, fingerprint: string): string {
    return `${this.book.like(name, fingerprint) === undefined ? '' : LOOKALIKE}${showName(name)}`
  }

  groupOf(conversation: string | undefined): KnownGroup | undefined {
    return this.groups.list().find((known) => conversationOf(known) === conversation)
  }

  /** The conversation of a message in the history: older versions named a group by its id alone. */
  earlier(conversation: string): string {
    const [known, other] = conversation.startsWith(GROUP) ? this.groups.withId(conversation.slice(GROUP.length)) : []
    return known === undefined || other !== undefined ? conversation : conversationOf(known)
  }

  /** Returns the receivers of a message in that conversation. */
  receivers(conversation: string): Contact[] {
    const known = this.groupOf(conversation)
    const one = known === undefined ? this.find(conversation) : undefined
    if (known === undefined) return one === undefined ? [] : [one]
    return membersOf(known).flatMap((card) => (fingerprintOf(card.key) === this.#me ? [] : (this.find(fingerprintOf(card.key)) ?? [])))
  }

  /** Whether the card is the user's own, or the stored one of a contact. */
  readonly hasCard = ({ key, text }: Card): boolean => {
    const fingerprint = fingerprintOf(key)
    return fingerprint === this.#me || this.book.find(fingerprint)?.card?.text === text
  }

  /** Whether a contact has that name already, or one that looks like it. */
  readonly isTaken = (name: string): boolean => this.book.like(name) !== undefined

  async leave(known: KnownGroup): Promise<void> {
    await this.groups.remove(known)
    this.#left.set(conversationOf(known), known)
  }

  /** Finds the request of a person. */
  request(fingerprint: string): ContactRequest | undefined {
    return this.#waiting().find(({ card }) => fingerprintOf(card.key) === fingerprint)
  }

  #waiting(): readonly ContactRequest[] {
    return waitingOf(this.requests, this.book, this.blocked)
  }

  #asking({ card, messages }: ContactRequest): Party {
    const id = fingerprintOf(card.key)
    const asked = messages.map(({ id: message, time, text, called }) => ({
      id: message,
      at: time * 1_000,
      text: text === '' ? (called === undefined ? '(wants to talk)' : `(invites you to the group ${showName(called, 'group')})`) : text,
    }))
    return { id, kind: 'request', name: this.#show(card.name, id), asked }
  }

  parties(): Party[] {
    const guest = this.#guest !== undefined && this.book.find(fingerprintOf(this.#guest.key)) === undefined ? [this.#guest] : []
    const left = [...this.#left.values()].filter(({ group }) => this.groups.find(group) === undefined)
    const party = (known: KnownGroup): Party => ({
      id: conversationOf(known),
      kind: 'group',
      name: showName(known.name, 'group'),
      members: membersOf(known).map((card) => this.callOf(card)),
    })
    const all = [
      ...guest.map(({ key, name }): Party => ({ id: fingerprintOf(key), kind: 'contact', name })),
      ...this.book.list().map(({ key, name, verified, card }): Party => {
        const id = fingerprintOf(key)
        return {
          id,
          kind: 'contact',
          name: this.#show(name, id),
          verified: verified !== undefined,
          ...(this.blocked.has(id) && { blocked: true }),
          ...(card !== undefined && { card: card.text }),
        }
      }),
      ...this.groups.list().map(party),
      ...left.map((known): Party => ({ ...party(known), left: true })),
      ...this.#waiting().map((request) => this.#asking(request)),
    ]
    return all.map((each) => {
      const expires = this.rules.expiresOf(each.id)
      return { ...each, ...(this.rules.isMuted(each.id) && { muted: true }), ...(expires !== undefined && { expires }) }
    })
  }
}
