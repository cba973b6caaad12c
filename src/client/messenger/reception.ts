/**
 * Messages that came and are for a person: each is given once, by whichever relays and however often it came, and each
 * sender's in order (order.ts). One is acknowledged, wherever it came, when whoever took it says that it is done. It knows
 * neither time nor disk, and trusts no verdict more than it says.
 */
import { Channel } from './channel.ts'
import type { Contact } from './contact.ts'
import { fingerprintOf } from '../format/field.ts'
import type { Incoming } from './incoming.ts'
import type { Envelope, Opened } from '../format/message.ts'
import { Order, type Ordered } from '../delivery/order.ts'

/** A message that came. What may be believed of it is its verdict. */
export type Received = ReceivedContent & {
  /** The contact whose key signed it. */
  readonly from?: Contact
  /** The relay that it came by. */
  readonly relay: string
  /** The message that its sender wrote before it did not come. */
  readonly gap?: true
  /** Later messages of its sender were given before it. */
  readonly late?: true
  /** It was shown or stored: now the relay may erase it, and its sender is told. Until then it comes again. */
  done(): Promise<void>
}

/** As {@link Opened}, without those that came before. */
export type ReceivedContent =
  | { readonly verdict: 'genuine' | 'future' | 'stale' | 'forged' | 'readdressed'; readonly envelope: Envelope; readonly text?: undefined }
  /** What was sent with age alone: nothing says by whom. */
  | { readonly verdict: 'unsigned'; readonly text: Uint8Array; readonly envelope?: undefined }
  | {
      readonly verdict: 'unreadable' | 'unknown-version' | 'truncated' | 'malformed'
      readonly text?: undefined
      readonly envelope?: undefined
    }

/** What is given. */
export type Given = Exclude<Opened, { verdict: 'replayed' }>
/** What its sender's key answers for. */
export type Signed = Extract<Given, { envelope: Envelope }>

/** A message as one relay has it: a sender leaves it at several, and at one again. */
export interface Copy {
  readonly incoming: Incoming
  readonly relay: string
  readonly id: string
}

/** A message on its way to whoever takes it: all its copies are acknowledged together. */
interface Pending {
  /** Its sender and id; where nobody's key answers for them, a relay and the relay's id. */
  readonly name: string
  readonly copies: [Copy, ...Copy[]]
  readonly opened: Given
  readonly from: Contact | undefined
  done: Promise<void> | undefined
}

/** Messages that wait for who takes them: with more, no relay is listened to. An honest one has 64 unacknowledged at most. */
const UNTAKEN = 256
/** Copies of a message that are acknowledged together with it. */
const COPIES = 16

export class Reception {
  readonly #onDone: (opened: Given, from: Contact | undefined) => Promise<void>
  readonly #received = new Channel<Received>()
  readonly #order = new Order<Pending>()
  /** By name: what came and is not done. */
  readonly #pending = new Map<string, Pending>()

  /** @param onDone a message was shown or stored; when it resolves its copies are acknowledged */
  constructor(onDone: (opened: Given, from: Contact | undefined) => Promise<void>) {
    this.#onDone = onDone
  }

  get received(): AsyncIterable<Received> {
    return this.#received
  }

  /** For what no key answers for: nothing is known of it but that it came, and, where it comes again, by which relay. */
  give(copy: Copy, opened: Given): void {
    const name = `${copy.relay} ${copy.id}`
    if (!this.#isHere(name, copy)) this.#give({ item: this.#keep({ name, copies: [copy], opened, from: undefined, done: undefined }) })
  }

  /** Resolves when few enough messages wait for who takes them. */
  room(): Promise<void> {
    return this.#received.until(UNTAKEN)
  }

  /**
   * Gives it, when it is its turn.
   * @param known whether the message before it was given in an earlier run
   * @returns false for one that is here already
   */
  take(copy: Copy, opened: Signed, from: Contact | undefined, now: number, known: boolean): boolean {
    const { id, after, content } = opened.envelope
    const sender = fingerprintOf(opened.envelope.from)
    const name = `${sender} ${id}`
    if (this.#isHere(name, copy)) return false
    const pending = this.#keep({ name, copies: [copy], opened, from, done: undefined })
    // Nothing is kept for strangers.
    if (from === undefined || content.type === 'file') this.#give({ item: pending })
    else {
      for (const each of this.#order.push(sender, { id, after }, pending, now, known)) this.#give(each)
      this.#makeRoom(copy.incoming)
    }
    return true
  }

  /** Gives what waited too long for the one before it. */
  expire(now: number): void {
    for (const each of this.#order.expire(now)) this.#give(each)
  }

  due(): number {
    return this.#order.due()
  }

  close(): void {
    this.#received.close()
  }

  #keep(pending: Pending): Pending {
    this.#pending.set(pending.name, pending)
    return pending
  }

  /** Whether that came before and is not done: then this is one more copy of it. */
  #isHere(name: string, copy: Copy): boolean {
    const here = this.#pending.get(name)
    if (here === undefined) return false
    if (here.done !== undefined) copy.incoming.ack(copy.id)
    // One that is forgotten comes again, and is known then.
    else if (here.copies.length < COPIES && !here.copies.some((each) => each.incoming === copy.incoming && each.id === copy.id))
      here.copies.push(copy)
    return true
  }

  /** What is held back takes places in the relay's window, behind which the message may be that it waits for. */
  #makeRoom(incoming: Incoming): void {
    const most = Math.max(1, Math.floor(incoming.window / 2))
    const isHere = ({ copies }: Pending): boolean => copies.some((copy) => copy.incoming === incoming)
    while (this.#order.count(isHere) >= most) for (const each of this.#order.release(isHere)) this.#give(each)
  }

  #give({ item, gap, late }: Ordered<Pending>): void {
    const { opened, copies, from } = item
    this.#received.push({
      ...(opened as ReceivedContent),
      relay: copies[0].relay,
      ...(from !== undefined && { from }),
      ...(gap && { gap }),
      ...(late && { late }),
      done: () =>
        (item.done ??= this.#done(item).catch((error: unknown) => {
          item.done = undefined
          throw error
        })),
    })
  }

  async #done({ name, opened, copies, from }: Pending): Promise<void> {
    await this.#onDone(opened, from)
    this.#pending.delete(name)
    for (const { incoming, id } of copies) incoming.ack(id)
  }
}
