/**
 * The subscriptions of one connection (docs/protocol.md, section 4): one for each label, and one without. They are
 * served in turns. Has no I/O, like the session.
 */
import { ProtocolError } from './errors.ts'
import type { Ports, Reader, Subscriber } from './ports.ts'

export class Subscription implements Subscriber {
  readonly owner: number
  readonly mailbox: string
  /** Empty for the unlabelled subscription. */
  readonly label: string
  /** Whether there may be a message to take. */
  isReady = false
  readonly #all: Subscriptions

  constructor(all: Subscriptions, owner: number, mailbox: string, label: string) {
    this.#all = all
    this.owner = owner
    this.mailbox = mailbox
    this.label = label
  }

  onWaiting(): void {
    this.#all.onWaiting(this)
  }

  onTakenOver(): void {
    this.#all.onTakenOver(this)
  }
}

export class Subscriptions {
  readonly #ports: Ports
  readonly #reader: Reader
  /** An array, since most connections have one subscription, and none has more than 65. */
  #all: Subscription[] = []
  /** Those that may have a message to take, the next one first. */
  #ready: Subscription[] = []
  /** The labels of those that newer subscribers took over, and of which the peer does not know yet. */
  #lost: string[] | undefined

  constructor(ports: Ports, reader: Reader) {
    this.#ports = ports
    this.#reader = reader
  }

  get count(): number {
    return this.#all.length
  }

  has(mailbox: string): boolean {
    return this.#find(mailbox) !== undefined
  }

  /**
   * Subscribes a mailbox under a label, in place of what the label had before. A mailbox that another label of this
   * connection has comes under this one.
   *
   * @returns the count of waiting messages, and the mailbox that the label had before, which the connection must leave
   * @throws {ProtocolError} `relay-full`; then everything is as before
   */
  add(label: string, mailbox: string): { readonly waiting: number; readonly left: string | undefined } {
    const known = this.#find(mailbox)
    const isSame = known?.label === label
    const subscription = isSame ? known : new Subscription(this, this.#reader.owner, mailbox, label)
    const waiting = this.#ports.mailboxes.subscribe(mailbox, subscription)
    if (waiting === undefined) throw new ProtocolError('relay-full')
    const left = isSame ? undefined : this.end(label)
    if (!isSame) {
      if (known !== undefined) this.#forget(known)
      this.#all.push(subscription)
    }
    if (waiting > 0) this.#mark(subscription)
    return { waiting, left }
  }

  /** Forgets the subscription of a label. Returns its mailbox, which the connection must leave. */
  end(label: string): string | undefined {
    const ended = this.#all.find((each) => each.label === label)
    if (ended !== undefined) this.#forget(ended)
    return ended?.mailbox
  }

  /** There may be a message to take in a mailbox, if it is one of these. */
  mark(mailbox: string): void {
    const subscription = this.#find(mailbox)
    if (subscription !== undefined) this.#mark(subscription)
  }

  /** A mailbox may have a message. */
  onWaiting(subscription: Subscription): void {
    this.#mark(subscription)
    this.#reader.wake()
  }

  /** A newer subscriber of another connection has the mailbox. */
  onTakenOver(subscription: Subscription): void {
    this.#forget(subscription)
    this.#lost ??= []
    this.#lost.push(subscription.label)
    this.#reader.wake()
  }

  /** Returns the next subscription that may have a message to take. */
  get next(): Subscription | undefined {
    return this.#ready[0]
  }

  /**
   * The next one was served.
   *
   * @param isEmpty nothing waits, or the window is full: the mailbox calls when that changes
   */
  onServed(isEmpty: boolean): void {
    if (!isEmpty && this.#ready.length === 1) return
    const served = this.#ready.shift()!
    if (isEmpty) served.isReady = false
    else this.#ready.push(served)
  }

  /** Returns and forgets the label of a subscription that was lost; undefined if there is none. */
  takeLost(): string | undefined {
    return this.#lost?.shift()
  }

  #find(mailbox: string): Subscription | undefined {
    for (const each of this.#all) if (each.mailbox === mailbox) return each
    return undefined
  }

  #mark(subscription: Subscription): void {
    if (subscription.isReady) return
    subscription.isReady = true
    this.#ready.push(subscription)
  }

  #forget(subscription: Subscription): void {
    this.#all = this.#all.filter((each) => each !== subscription)
    this.#ready = this.#ready.filter((each) => each !== subscription)
  }
}
