/** Sends the user's messages and their changes, and follows how they get on. */
import { fingerprintOf } from '../../client/format/field.ts'
import type { Content } from '../../client/format/content.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { codeOf } from '../talk/talk.ts'
import type { Archive } from './archive.ts'
import type { Context } from './context.ts'
import type { Effect } from './input.ts'
import { describeError, NO_RECEIVER, shownDelivery } from './wording.ts'

export class Dispatch {
  readonly #context: Context
  readonly #archive: Archive
  /** By message id: what this session sent and no receiver has confirmed. */
  readonly #sent = new Map<string, Delivery>()
  /** By the receiver's fingerprint: the relays at which the mailbox is full, and how many messages were said to wait. */
  readonly #full = new Map<string, { readonly relays: Set<string>; told: number }>()

  constructor(context: Context, archive: Archive) {
    this.#context = context
    this.#archive = archive
  }

  /** Sends a text to a contact, or to each member of a group. */
  send({ key, conversation, text, replyTo, expires }: Extract<Effect, { kind: 'send' }>): void {
    const { people } = this.#context.options
    const receivers = people.receivers(conversation)
    if (receivers.length === 0) return this.#context.put({ kind: 'unsent', key, why: NO_RECEIVER })
    const group = people.groupOf(conversation)?.group.id
    const replied = this.#context.state.conversations
      .find(({ id }) => id === conversation)
      ?.entries.find(({ id, from }) => from === 'them' && id === replyTo)
    const deliveries = receivers.map((contact) => {
      // Each member of a group gets a message of its own, so only the author knows the id of the one replied to. The
      // others get its first line.
      const knows = replyTo === undefined || group === undefined || replied?.fingerprint === fingerprintOf(contact.key)
      const content: Content = knows
        ? { type: 'text', text, ...(replyTo !== undefined && { replyTo }) }
        : {
            type: 'text',
            text: `> ${replied?.author ?? ''}: ${replied?.expires === undefined ? (replied?.text ?? '').split('\n')[0] : '…'}\n${text}`,
          }
      return shownDelivery(this.post(contact, content, group, expires))
    })
    this.#context.put({ kind: 'sent', key, deliveries })
    if (expires !== undefined) return
    this.#archive.keepSent(conversation, text, deliveries, { id: deliveries[0]!.id, ...(replyTo !== undefined && { replyTo }) })
  }

  /** Edits or removes a message that was sent. */
  change(effect: Extract<Effect, { kind: 'edit' | 'remove' }>): void {
    const { people } = this.#context.options
    const { conversation, of } = effect
    const group = people.groupOf(conversation)?.group.id
    const expires = effect.kind === 'edit' ? effect.expires : undefined
    for (const { id, member } of of) {
      const contact = people.find(member)
      if (contact === undefined || id === '') continue
      this.post(contact, effect.kind === 'edit' ? { type: 'edit', of: id, text: effect.text } : { type: 'remove', of: id }, group, expires)
    }
    if (expires !== undefined) return
    const to = effect.kind === 'edit' ? 'edited' : 'removed'
    this.#archive.keepSent(conversation, effect.kind === 'edit' ? effect.text : '', [], { change: { of: of[0]?.id ?? '', to } })
  }

  /** Hands a message to the messenger. */
  post(contact: Contact, content: Content, group: string | undefined, expires?: number): Delivery {
    const { messenger, people } = this.#context.options
    const spread = group !== undefined && people.groups.withId(group).some((each) => each.group.members.length > 2)
    const delivery = messenger.send(contact, content, {
      ...(group !== undefined && { group, spread }),
      ...(expires !== undefined && { expires }),
    })
    this.#sent.set(delivery.id, delivery)
    return delivery
  }

  /** Shows the new state of a message. */
  onDelivery(delivery: Delivery): void {
    const { id, state, error, to, protection } = delivery
    this.#noteFull(delivery)
    const why = error === undefined ? undefined : describeError(error)
    // A change or a card has no entry of its own that could show the failure.
    if ((state === 'failed' || state === 'expired') && this.#sent.has(id) && !this.#isShown(id))
      this.#context.tell(`a change did not reach ${to.name}${why === undefined ? '' : `: ${why}`}`, true)
    this.#context.put({ kind: 'delivery', id, state, ...(why !== undefined && { why }), ...(protection !== undefined && { protection }) })
    this.#archive.keepState(id, state, why)
    // A failed one stays: the chat then ends with an error.
    if (state === 'delivered' || state === 'read' || state === 'expired') this.#sent.delete(id)
  }

  #isShown(id: string): boolean {
    const { conversations } = this.#context.state
    return conversations.some(({ entries }) => entries.some(({ deliveries }) => deliveries.some((each) => each.id === id)))
  }

  /** Says once that a contact's mailbox is full at every relay. */
  #noteFull({ state, error, to, relay, relays }: Delivery): void {
    const fingerprint = fingerprintOf(to.key)
    if (state !== 'waiting') return void this.#full.delete(fingerprint)
    if (relay === undefined || codeOf(error) !== 'mailbox-full') return
    const full = this.#full.get(fingerprint) ?? { relays: new Set(), told: 0 }
    full.relays.add(relay)
    this.#full.set(fingerprint, full)
    if (full.told === 0) this.#tellFull(to, relays)
  }

  #tellFull(to: Contact, relays: readonly string[]): void {
    const fingerprint = fingerprintOf(to.key)
    const full = this.#full.get(fingerprint)
    if (full === undefined || !relays.every((relay) => full.relays.has(relay))) return
    const count = [...this.#sent.values()].filter((each) => each.state === 'waiting' && fingerprintOf(each.to.key) === fingerprint).length
    if (count === 0 || count === full.told) return
    full.told = count
    this.#context.tell(`${to.name}'s mailbox is full; ${count === 1 ? '1 message waits' : `${count} messages wait`}`, true)
  }

  /** Resolves when every message has been accepted by a relay, or has failed. Says which wait for a full mailbox. */
  async accepted(): Promise<void> {
    for (const { to, relays } of this.#sent.values()) this.#tellFull(to, relays)
    await Promise.all([...this.#sent.values()].map(({ accepted }) => accepted))
  }

  /** Whether every message is at a relay, or further. */
  get isDone(): boolean {
    return [...this.#sent.values()].every(({ state }) => state !== 'waiting' && state !== 'failed')
  }
}
