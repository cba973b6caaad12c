/**
 * Received messages on their way to the program. Each message is delivered once, from however many relays and however
 * often it arrives, and each sender's in order (delivery/order.ts). When the program calls `done`, every relay that has
 * the message gets an acknowledgement. Without I/O; the time is an argument.
 */
import { Channel } from './channel.ts'
import type { Contact } from './contact.ts'
import { fingerprintOf } from '../format/field.ts'
import type { Place } from '../ring/state.ts'
import type { Protection } from './sealer.ts'
import type { Envelope, Opened } from '../format/message.ts'
import { Order, type Ordered } from '../delivery/order.ts'

/** A received message. Its verdict says how far to trust it. */
export type Received = ReceivedContent & {
  /** The contact whose key signed it. */
  readonly from?: Contact
  /** The relay that delivered it. */
  readonly relay: string
  /** What protected it, if the messenger knows. */
  readonly protection?: Protection
  /** The previous message of the sender is missing. */
  readonly gap?: true
  /** Later messages of the sender were delivered before. */
  readonly late?: true
  /**
   * Call it once the message is shown or stored: relays erase it, and its sender gets a receipt. A message that is not
   * done comes again.
   */
  done(): Promise<void>
}

/** The verdict and the content, as in `Opened`, except `replayed`. */
export type ReceivedContent =
  | {
      readonly verdict: 'genuine' | 'future' | 'stale' | 'forged' | 'unverifiable' | 'readdressed'
      readonly envelope: Envelope
      readonly text?: undefined
    }
  /** A text that was encrypted with age alone, by an unknown sender. */
  | { readonly verdict: 'unsigned'; readonly text: Uint8Array; readonly envelope?: undefined }
  | {
      readonly verdict: 'unreadable' | 'unknown-version' | 'truncated' | 'malformed'
      readonly text?: undefined
      readonly envelope?: undefined
    }

/** A message to deliver. */
export type Given = Exclude<Opened, { verdict: 'replayed' }>
/** A message with a sender. */
export type Signed = Extract<Given, { envelope: Envelope }>

/** Where messages come from: a connection that receives, or one of its mailboxes. */
export interface Source {
  /** How many unacknowledged messages the relay delivers at most. */
  readonly window: number
  /** Acknowledges a message. */
  ack(id: string): void
}

/** How a message was opened. */
export interface Way {
  /** The tag of its payload. */
  readonly tag: string
  readonly protection: Protection
  /** The one-time key that opened it. */
  readonly key?: Place
}

/** A message at one relay. A sender may store it at several relays, and at one relay again. */
export interface Copy {
  readonly incoming: Source
  readonly relay: string
  readonly id: string
  readonly way?: Way
}

/** A message that is not done. All its copies are acknowledged together. */
interface Pending {
  /** The sender and the message's id; without a sender, the relay and the relay's id. */
  readonly name: string
  readonly copies: [Copy, ...Copy[]]
  readonly opened: Given
  readonly from: Contact | undefined
  done: Promise<void> | undefined
}

/** Untaken messages above which relays are not read. An honest relay has at most 64 unacknowledged ones. */
const UNTAKEN = 256
/** Most copies of a message to acknowledge with it. */
const COPIES = 16

export class Inbox {
  readonly #onDone: (opened: Given, from: Contact | undefined, copies: readonly Copy[]) => Promise<void>
  readonly #received = new Channel<Received>()
  readonly #order = new Order<Pending>()
  /** By name: messages that are not done. */
  readonly #pending = new Map<string, Pending>()

  /** @param onDone called when the program calls `done`; once it resolves, all copies are acknowledged */
  constructor(onDone: (opened: Given, from: Contact | undefined, copies: readonly Copy[]) => Promise<void>) {
    this.#onDone = onDone
  }

  get received(): AsyncIterable<Received> {
    return this.#received
  }

  /** Delivers a message without a proven sender. If it comes again, only the relay's id tells so. */
  give(copy: Copy, opened: Given): void {
    const name = `${copy.relay} ${copy.id}`
    if (!this.#isHere(name, copy)) this.#give({ item: this.#keep({ name, copies: [copy], opened, from: undefined, done: undefined }) })
  }

  /** Resolves once the program has taken enough messages that more may come. */
  room(): Promise<void> {
    return this.#received.until(UNTAKEN)
  }

  /**
   * Delivers a message, once the previous one of its sender is delivered or waited for too long.
   * @param known whether the previous message was delivered in an earlier run
   * @param remembers whether the memory of earlier runs is there
   * @returns false if the message is a copy of one that is not done
   */
  take(copy: Copy, opened: Signed, from: Contact | undefined, now: number, known: boolean, remembers: boolean): boolean {
    const { id, after, time, content } = opened.envelope
    const sender = fingerprintOf(opened.envelope.from)
    const name = `${sender} ${id}`
    if (this.#isHere(name, copy)) return false
    const pending = this.#keep({ name, copies: [copy], opened, from, done: undefined })
    // Messages of strangers are not held back, so that strangers use no memory.
    if (from === undefined || content.type === 'file') this.#give({ item: pending })
    else {
      for (const each of this.#order.push(sender, { id, after, time }, pending, now, known, remembers)) this.#give(each)
      this.#makeRoom(copy.incoming)
    }
    return true
  }

  /** Delivers messages that waited too long for the previous one. */
  expire(now: number): void {
    for (const each of this.#order.expire(now)) this.#give(each)
  }

  /** Returns when to call `expire` next. */
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

  /** If the message is here already, adds the copy to it. @returns whether it is */
  #isHere(name: string, copy: Copy): boolean {
    const here = this.#pending.get(name)
    if (here === undefined) return false
    // While `done` is under way the message may still fail to be stored, so this copy waits, too. A copy that is not
    // recorded comes again later, and is a replay then.
    if (here.copies.length < COPIES && !here.copies.some((each) => each.incoming === copy.incoming && each.id === copy.id))
      here.copies.push(copy)
    return true
  }

  /**
   * Limits the messages of a relay that are held back to half of its window. The relay sends no more when its window is
   * full, and the message that they wait for may be behind it.
   */
  #makeRoom(incoming: Source): void {
    const most = Math.max(1, Math.floor(incoming.window / 2))
    const isHere = ({ copies }: Pending): boolean => copies.some((copy) => copy.incoming === incoming)
    while (this.#order.count(isHere) >= most) for (const each of this.#order.release(isHere)) this.#give(each)
  }

  #give({ item, gap, late }: Ordered<Pending>): void {
    const { opened, copies, from } = item
    this.#received.push({
      ...(opened as ReceivedContent),
      relay: copies[0].relay,
      ...(copies[0].way && { protection: copies[0].way.protection }),
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
    await this.#onDone(opened, from, copies)
    this.#pending.delete(name)
    for (const { incoming, id } of copies) incoming.ack(id)
  }
}
