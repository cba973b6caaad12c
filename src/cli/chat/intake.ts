/**
 * Receives messages: decides in which conversation each appears and how, and acknowledges it once the front has shown
 * it, or once the history has it. Never before.
 */
import { decodeText, fingerprintOf } from '../../client/format/field.ts'
import type { Envelope } from '../../client/format/message.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { Archive } from './archive.ts'
import type { Context } from './context.ts'
import { STRANGERS } from './conversation.ts'
import { takeCard } from './group.ts'
import type { Arrival } from './input.ts'
import { warnOfInbox } from '../profile/sent-card.ts'
import { type Place, placeOf } from '../talk/place.ts'
import { conversationOf } from './people.ts'
import { describeContent, describeError } from './wording.ts'

/** The most unacknowledged messages of strangers: more could fill the window of a relay. */
const STRANGERS_HELD = 16

/** An arrival, or a note in a conversation. */
type Described = Arrival | { readonly conversation: string; readonly note: string }
type Facts = Pick<Arrival, 'at' | 'verdict' | 'fingerprint' | 'id' | 'protection' | 'gap' | 'late' | 'expires'>

export class Intake {
  readonly #context: Context
  readonly #archive: Archive
  /** Messages to acknowledge once they are shown. */
  readonly #tickets = new Map<number, Received>()
  readonly #warned = new Set<string>()
  #nextTicket = 1

  constructor(context: Context, archive: Archive) {
    this.#context = context
    this.#archive = archive
  }

  async onReceived(received: Received): Promise<void> {
    await this.#warn(received)
    let described: Described
    try {
      described = await this.#describe(received)
    } catch (error) {
      // A group cannot be stored, for example. The message stays at the relay.
      const why = describeError(error)
      if (why === undefined) throw error
      return this.#context.tell(why, true)
    }
    if ('note' in described) {
      this.#context.put({ kind: 'note', conversation: described.conversation, text: described.note })
      return this.#acknowledge(received)
    }
    const isStranger = described.conversation === STRANGERS
    if (!isStranger && (await this.#archive.keepArrival(described))) {
      await this.#acknowledge(received)
      return this.#context.put({ kind: 'arrival', arrival: described })
    }
    if (isStranger && [...this.#tickets.values()].filter(({ from }) => from === undefined).length >= STRANGERS_HELD) {
      this.#context.put({ kind: 'arrival', arrival: described })
      return this.#acknowledge(received)
    }
    const ticket = this.#nextTicket++
    this.#tickets.set(ticket, received)
    this.#context.put({ kind: 'arrival', arrival: { ...described, ticket } })
    this.#context.options.onHeld?.()
  }

  /** Says once for each contact that their card names another inbox. */
  async #warn({ verdict, envelope, from }: Received): Promise<void> {
    if (verdict !== 'genuine' || envelope === undefined || from === undefined) return
    const text = await warnOfInbox(this.#context.options.people.book, envelope)
    if (text === undefined || this.#warned.has(text)) return
    this.#warned.add(text)
    this.#context.put({ kind: 'note', conversation: fingerprintOf(from.key), text })
  }

  /** Gives a message away, unless it is on the screen or about to be. @returns whether it did */
  releases(received: Received): boolean {
    const [ticket] = [...this.#tickets].find(([, each]) => each === received) ?? []
    const { open, look, conversations } = this.#context.state
    // Plain mode prints every message at once.
    if (ticket === undefined || look.plain === true) return false
    const place = conversations.find(({ entries }) => entries.some(({ tickets }) => tickets.includes(ticket)))
    if (place === undefined || place.id === open) return false
    this.#tickets.delete(ticket)
    this.#context.put({ kind: 'taken', ticket })
    return true
  }

  /** The message of that ticket is on the screen. */
  onShown(ticket: number): void {
    const received = this.#tickets.get(ticket)
    this.#tickets.delete(ticket)
    if (received !== undefined) this.#context.attempt(() => this.#acknowledge(received))
  }

  async #acknowledge(received: Received): Promise<void> {
    try {
      await received.done()
    } catch (error) {
      this.#context.tell(describeError(error) ?? 'a message could not be acknowledged; it will come again', true)
    }
  }

  async #describe(received: Received): Promise<Described> {
    const { verdict, envelope, from, text: bare, protection, gap, late } = received
    if (envelope === undefined) {
      const text = bare === undefined ? '' : (decodeText(bare) ?? '(bytes that are not text)')
      return { conversation: STRANGERS, author: 'unknown', at: this.#context.now(), verdict, text }
    }
    const facts: Facts = {
      at: envelope.time * 1_000,
      verdict,
      fingerprint: fingerprintOf(envelope.from),
      id: envelope.id,
      ...(envelope.expires !== undefined && { expires: envelope.expires }),
      ...(protection !== undefined && { protection }),
      ...(gap === true && { gap }),
      ...(late === true && { late }),
    }
    const isOther = from === undefined || verdict === 'forged' || verdict === 'unverifiable' || verdict === 'readdressed'
    const { people, identity } = this.#context.options
    const place = placeOf(received, people.groups, identity.key)
    return isOther ? this.#describeStranger(envelope, facts, place) : this.#describeContact(envelope, from, facts, place)
  }

  async #describeStranger({ from, content }: Envelope, facts: Facts, place: Place): Promise<Described> {
    const fingerprint = fingerprintOf(from)
    const { people } = this.#context.options
    const named = people.find(fingerprint)
    // The signature does not prove the sender.
    const isClaim = facts.verdict === 'forged' || facts.verdict === 'unverifiable'
    const sender = named === undefined ? shortName(fingerprint) : `${named.name}, ${fingerprint}`
    const { text, card } = await describeContent(content, people.hasCard)
    // The author of a message to someone else did not send it here.
    const isSender = !isClaim && facts.verdict !== 'readdressed'
    const origin = isSender ? '' : `${isClaim ? 'claims to be from' : 'from'} ${sender}\n`
    return {
      ...facts,
      conversation: STRANGERS,
      author: isClaim ? facts.verdict : isSender ? shortName(fingerprint) : 'stranger',
      text: `${origin}${remarkOf(place)}${text}`,
      ...(card !== undefined && !isClaim && { card }),
    }
  }

  async #describeContact({ from: key, content }: Envelope, { name: author }: Contact, facts: Facts, place: Place): Promise<Described> {
    const { people } = this.#context.options
    const fingerprint = fingerprintOf(key)
    const { within } = place
    const remark = remarkOf(place)
    const conversation = within === undefined ? fingerprint : conversationOf(within)
    const message = { ...facts, conversation, author }
    // A message that may be a replay, or is dated in the future, changes nothing: it appears as a text.
    const isChange = content.type === 'edit' || content.type === 'remove' || content.type === 'group' || content.type === 'leave'
    if (isChange && facts.verdict !== 'genuine') return { ...message, text: remark + (await describeContent(content, people.hasCard)).text }
    switch (content.type) {
      case 'text':
        return { ...message, text: remark + content.text, ...(content.replyTo !== undefined && { replyTo: content.replyTo }) }
      case 'edit':
        return { ...message, text: remark + content.text, change: { of: content.of, to: 'edited' } }
      case 'remove':
        return { ...message, text: '', change: { of: content.of, to: 'removed' } }
      case 'group': {
        const shown = await takeCard(content.card, fingerprint, this.#context.options)
        if ('isTaken' in shown) this.#context.showPeople()
        if ('isJoined' in shown) this.#context.tell(shown.note)
        return 'note' in shown ? shown : { ...facts, author, ...shown }
      }
      case 'leave':
        if (within === undefined) return { ...message, text: `${remark}(left the group)` }
        await people.groups.leave(within, fingerprint)
        this.#context.showPeople()
        return { conversation, note: `${author} left` }
      case 'receipt':
      case 'file':
      case 'have':
      case 'unreadable':
      case 'card':
      case 'unknown': {
        const { text, card } = await describeContent(content, people.hasCard)
        return { ...message, text: remark + text, ...(card !== undefined && { card }) }
      }
    }
  }
}

/** Tells strangers apart on the screen. It proves nothing: anyone can make a key with the same short name. */
function shortName(fingerprint: string): string {
  return `stranger ${fingerprint.slice(7, 12)}`
}

/** Why the message does not belong to the group that it names, before its text. */
const remarkOf = ({ remark }: Place): string => (remark === undefined ? '' : `(${remark}) `)
