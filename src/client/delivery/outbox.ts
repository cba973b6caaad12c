/**
 * Holds unconfirmed messages and decides which relay gets which message when, as a machine without I/O. Time and
 * randomness are arguments. Times are milliseconds.
 *
 * A message leaves the outbox when its receiver confirms it, when its deadline passes, or when no relay of the receiver
 * will ever accept it. The answer of a relay is no confirmation: relays hold messages in memory, and may lie. So the
 * outbox sends a message again when a relay forgot it (`onRun`), to the receiver's next relay when the first one
 * cannot be reached, and on a slow schedule in any case. The receiver drops duplicates.
 *
 * Messages for one receiver leave in the order in which they were added, also when they are sent again.
 */
import type { RelayErrorCode } from '../wire/error.ts'
import { backoff, mailboxPause, isOver } from './backoff.ts'
import { Entries } from './entries.ts'
import { type Entry, isSingle, OUTBOX, type OutboxChange, type OutboxTask, relayOf } from './entry.ts'
import { Looks } from './looks.ts'
import { Reach } from './reach.ts'

type Opening = ReturnType<Reach['opening']>

/** The longest pause before a held message is sent again. */
const MOST_AGAIN = OUTBOX.again.at(-1)!

/** Refusals of the user as a whole, which the relay repeats until a person changes something. */
const LASTING: readonly RelayErrorCode[] = ['denied', 'bad-key', 'unsupported-key', 'onion-malformed']

export class Outbox extends Entries {
  readonly #reach = new Reach()
  readonly #looks = new Looks()
  /** By id: the receivers of delivered messages, for later `read` receipts. */
  readonly #confirmed = new Map<string, string>()
  readonly #twice: () => boolean

  /**
   * @param relaysOf returns a receiver's routes, the preferred one first; those of the inbox if `daily`
   * @param twice whether two relays shall hold a text at once, if the receiver has addresses at two
   */
  constructor(
    relaysOf: (to: string, daily: boolean) => readonly string[] | undefined = () => undefined,
    twice: () => boolean = () => false,
  ) {
    super(relaysOf)
    this.#twice = twice
  }

  /** Whether a message waits to be sent, or for a relay's answer. One that waits for its receiver's bundle does not count. */
  get busy(): boolean {
    if (this.#looks.isFirst) return true
    const receivers = new Map<string, boolean>()
    for (const entry of this.all.values()) {
      if (entry.flying !== undefined) return true
      const isWithoutKey = entry.payload.length === 0 && this.relays(entry).some((route) => this.#reach.lacksBundle(entry.to, route))
      if ((entry.wanted || entry.state === 'waiting') && !isWithoutKey) return true
      if (
        this.#lacksCopy(entry, receivers) &&
        this.relays(entry).some((route) => !entry.held.has(route) && this.#reach.failures(route) === 0)
      )
        return true
    }
    return false
  }

  /** As {@link Entries.onRenewed}: another mailbox of the receiver may have room. */
  override onRenewed(id: string, renewed: Parameters<Entries['onRenewed']>[1]): void {
    super.onRenewed(id, renewed)
    this.#reach.onFetched(this.all.get(id)?.to ?? '')
  }

  /**
   * Opens the relays of a message that could not be reached lately.
   * @returns why it waits for those that stay closed
   */
  hurry(id: string, now: number): OutboxChange[] {
    const entry = this.all.get(id)
    if (entry === undefined) return []
    const { to, state } = entry
    return this.relays(entry).flatMap((relay) => {
      const code = this.#reach.hurry(to, relay, now)
      return code === undefined ? [] : [{ id, to, state, relay, code }]
    })
  }

  /** The messages of the store were added: asks their relays whether they still have them. */
  onStart(now: number): void {
    this.#looks.onStart(this.holding(), now)
  }

  /** Returns the work to do now. It counts as under way until an input answers it. */
  take(now: number): OutboxTask[] {
    const tasks: OutboxTask[] = []
    const flying = new Map<string, number>()
    /** Mailboxes, as `receiver relay`. */
    const tried = new Set<string>()
    for (const { flying: relay, to } of this.all.values()) {
      if (relay === undefined) continue
      flying.set(relay, (flying.get(relay) ?? 0) + 1)
      tried.add(`${to} ${relay}`)
    }
    /** Receivers with an earlier message that cannot leave now: sending more would break the order. */
    const stopped = new Set<string>()
    const receivers = new Map<string, boolean>()
    for (const entry of this.all.values()) {
      if (entry.flying !== undefined || entry.deadline <= now) continue
      // Also behind a message that cannot leave now: `due` would otherwise name this time again and again.
      if (isOver(entry.again, now, MOST_AGAIN)) {
        entry.wanted = true
        entry.again = Number.POSITIVE_INFINITY
      }
      if (stopped.has(entry.to)) continue
      // A short cut for the many messages that are held and need nothing.
      const isSecond = !entry.wanted && this.#lacksCopy(entry, receivers)
      if (!entry.wanted && !isSecond && !this.#reach.hasDown) continue
      const relay = this.#choose(entry, now, isSecond)
      if (relay === undefined) {
        // No text follows a receipt, nor a part of a file, which never goes to the inbox.
        if (entry.wanted && entry.keep !== false) stopped.add(entry.to)
        continue
      }
      const mailbox = `${entry.to} ${relay}`
      const count = flying.get(relay) ?? 0
      if (this.#looks.isDoubted(relay)) {
        // If the relay forgot messages, they go before this one.
        this.#looks.hurry(relay, now)
        if (!isSecond) stopped.add(entry.to)
        continue
      }
      if (count >= OUTBOX.window || (tried.has(mailbox) && this.#reach.isDoubted(entry.to, relay))) {
        if (!isSecond) stopped.add(entry.to)
        continue
      }
      flying.set(relay, count + 1)
      tried.add(mailbox)
      entry.flying = relay
      entry.wanted = false
      entry.isSecond = isSecond
      this.#looks.cancel(relay)
      const { id, to, payload, copies } = entry
      tasks.push({ kind: 'send', relay, id, to, payload, copies, daily: entry.daily === true })
    }
    for (const relay of this.#looks.take(now, (relay) => this.#reach.isDown(relay, now))) tasks.push({ kind: 'look', relay })
    return tasks
  }

  /**
   * Returns the messages that go to their receivers' inboxes now: no relay of an address takes them (S4).
   * @param isOnline as in `Reach.isLost`
   */
  stranded(now: number, isOnline: boolean): string[] {
    const isLost = ({ time }: Entry, route: string): boolean => this.#reach.isLost(route, time, now, isOnline)
    return [...this.all.values()].filter((entry) => entry.wanted && this.fallsBack(entry, isLost)).map(({ id }) => id)
  }

  /** Returns when to call `take` and `expire` next; infinite if only an input can change anything. */
  due(now: number): number {
    let due = Number.POSITIVE_INFINITY
    /** By receiver, for messages to addresses and to the inbox: the blocked relays, and when they open again. */
    const [direct, daily] = [new Map<string, Opening>(), new Map<string, Opening>()]
    for (const entry of this.all.values()) {
      due = Math.min(due, entry.deadline)
      if (entry.flying !== undefined) continue
      due = Math.min(due, entry.again)
      if (!entry.wanted && entry.held.size === 0) continue
      const openings = entry.daily === true ? daily : direct
      let relays = openings.get(entry.to)
      if (relays === undefined) openings.set(entry.to, (relays = this.#reach.opening(entry.to, this.relays(entry), now)))
      for (const [relay, until] of relays) if (!entry.refused.has(relay)) due = Math.min(due, until)
    }
    return Math.min(
      due,
      this.#looks.due((relay) => this.#reach.downUntil(relay)),
    )
  }

  /** The relay accepted a message. @param seconds how long the relay says it will hold it */
  onSent(id: string, relay: string, seconds: number, now: number): OutboxChange | undefined {
    const entry = this.all.get(id)
    if (entry?.flying !== relay) return undefined
    entry.flying = undefined
    this.#reach.onTaken(entry.to, relay, now)
    entry.held.set(relay, now + seconds * 1_000)
    const pause = OUTBOX.again[Math.min(entry.copies++, OUTBOX.again.length - 1)]!
    if (entry.isSecond) {
      entry.isSecond = false
      return undefined
    }
    // The next copy arrives before this one expires: the relay's time began earlier, and dialling takes time.
    entry.again = now + Math.min(pause, Math.max(seconds * 900, 60_000))
    if (!entry.confirm) this.remove(id)
    if (entry.state === 'held') return undefined
    entry.state = 'held'
    return { id, to: entry.to, state: 'held', relay }
  }

  /**
   * The relay refused a message, and the connection stays open.
   * @param seconds how long the relay asks to wait
   * @param random in [0, 1)
   */
  onRefused(
    id: string,
    relay: string,
    code: RelayErrorCode,
    seconds: number | undefined,
    random: number,
    now: number,
  ): OutboxChange | undefined {
    const entry = this.all.get(id)
    if (entry?.flying !== relay) return undefined
    land(entry)
    switch (code) {
      // The pauses let the connection end. The next one shows whether the relay still has this name.
      case 'mailbox-full':
      case 'no-bundle':
      case 'old-bundle':
        this.#reach.blockMailbox(entry.to, relay, code, now, (failures) => mailboxPause(failures, random))
        break
      case 'too-large':
        entry.refused.set(relay, code)
        break
      case 'denied':
        entry.refused.set(relay, code)
        this.#reach.blockMailbox(entry.to, relay, code, now, () => OUTBOX.denied)
        break
      default:
        this.#reach.blockRelay(relay, code, now, (failures) => backoff(failures, random, seconds))
    }
    if (!this.isRefused(entry)) return { id, to: entry.to, state: entry.state, relay, code, seconds }
    this.remove(id)
    return { id, to: entry.to, state: 'failed', relay, code, seconds }
  }

  /** The relay could not be reached, or the connection broke. Messages that were under way there are sent again. */
  onLost(relay: string, code: RelayErrorCode, seconds: number | undefined, random: number, now: number): OutboxChange[] {
    const lasting = LASTING.includes(code)
    this.#reach.blockRelay(relay, code, now, (failures) => (lasting ? OUTBOX.denied : backoff(failures, random, seconds)))
    const changes: OutboxChange[] = []
    for (const entry of this.all.values()) {
      if (entry.flying === relay) land(entry)
      const relays = this.relays(entry)
      if (entry.state !== 'waiting' || !relays.includes(relay)) continue
      if (lasting) entry.refused.set(relay, code)
      const failed = this.isRefused(entry)
      if (failed) this.remove(entry.id)
      changes.push({ id: entry.id, to: entry.to, state: failed ? 'failed' : 'waiting', relay, code })
    }
    // A relay that cannot be reached at the start may have lost what it held.
    if (this.holding().has(relay) && this.#looks.onLost(relay, now))
      for (const entry of this.all.values()) if (entry.held.has(relay)) entry.wanted = entry.flying === undefined
    return changes
  }

  /** The relay can be reached. */
  onReached(relay: string, now: number): void {
    this.#reach.onReached(relay, now)
  }

  /** A connection for sending is up. If the relay forgot its messages, `onRun` was called before. */
  onUp(relay: string, now: number): void {
    this.#reach.onReached(relay, now)
    this.#looks.onUp(relay)
  }

  /** The client ended the connection because there was nothing to do. @param random in [0, 1) */
  onIdle(relay: string, random: number, now: number): void {
    if (this.holding().has(relay)) this.#looks.onIdle(relay, random, now)
  }

  /**
   * A relay named its run. If it is not the one in which the relay accepted messages, it lost them all, whichever route they
   * came by. Copies that expired elsewhere do not count either.
   * @param random in [0, 1) if the user receives from the relay, which then may have lost receipts, too: unconfirmed messages
   *   are sent again within 5 to 15 seconds, so that their receivers repeat their receipts
   * @returns whether it is another run
   */
  onRun(relay: string, run: string, random: number | undefined, now: number): boolean {
    if (!this.isOther(relay, run)) return false
    const soon = random === undefined ? Number.POSITIVE_INFINITY : now + 5_000 + random * 10_000
    for (const entry of this.all.values())
      for (const [route, until] of entry.held) {
        if (relayOf(route) === relay || until <= now) entry.held.delete(route)
        entry.again = Math.min(entry.again, soon)
        if (entry.held.size > 0) continue
        entry.wanted = entry.flying === undefined
        // The copy that is under way is the only one now.
        entry.isSecond = false
        entry.again = Number.POSITIVE_INFINITY
      }
    this.#reach.onForgot(relay)
    return true
  }

  /** `from` confirms that messages were delivered or read. Ignores ids of messages that were not sent to `from`. */
  onReceipt(from: string, ids: readonly string[], state: 'delivered' | 'read'): OutboxChange[] {
    const changes: OutboxChange[] = []
    for (const id of ids) {
      const entry = this.all.get(id)
      if (entry?.to === from) {
        this.remove(id)
        this.#confirmed.set(id, from)
        if (this.#confirmed.size > OUTBOX.confirmed) this.#confirmed.delete(this.#confirmed.keys().next().value!)
      } else if (state !== 'read' || this.#confirmed.get(id) !== from) continue
      if (state === 'read') this.#confirmed.delete(id)
      changes.push({ id, to: from, state })
    }
    if (changes.length > 0) this.#reach.onFetched(from)
    return changes
  }

  /** Gives up messages whose deadline has passed. */
  expire(now: number): OutboxChange[] {
    const changes: OutboxChange[] = []
    for (const { id, to, deadline, confirm } of this.all.values()) {
      if (deadline > now) continue
      this.remove(id)
      if (confirm) changes.push({ id, to, state: 'expired' })
    }
    this.#looks.expire(() => this.holding())
    this.#reach.expire(now)
    return changes
  }

  /** Whether one relay holds a text that shall be at two. @param receivers remembers who has addresses at two */
  #lacksCopy(entry: Entry, receivers: Map<string, boolean>): boolean {
    if (!isSingle(entry)) return false
    const hasTwo = receivers.get(entry.to) ?? (this.#twice() && this.relays(entry).length > 1)
    receivers.set(entry.to, hasTwo)
    return hasTwo
  }

  /** Chooses the relay that an entry goes to now, if it should go to any. @param isSecond for a second copy */
  #choose(entry: Entry, now: number, isSecond: boolean): string | undefined {
    if (!entry.wanted && !isSecond && !this.#reach.strands(entry.held)) return undefined
    const relays = this.relays(entry)
    const open = (relay: string): boolean => !entry.refused.has(relay) && this.#reach.isOpen(entry.to, relay, now)
    // Relays that never had the message come before one that had it without a receipt following.
    return relays.find((relay) => open(relay) && !entry.held.has(relay)) ?? (entry.wanted ? relays.find(open) : undefined)
  }
}

/** A SEND was not accepted. If it was for a second relay, the first one holds the message. */
function land(entry: Entry): void {
  entry.flying = undefined
  entry.wanted = !entry.isSecond
  entry.isSecond = false
}
