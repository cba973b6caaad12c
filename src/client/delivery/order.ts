/**
 * Puts messages into the order in which their sender wrote them, as a machine without I/O. Times are milliseconds. A
 * message names the previous one of its sender (`after`, docs/protocol.md, section 10). If that one has not arrived,
 * the message is held back, for a limited time and up to a limited number. Then it is released with `gap`, and the
 * missing one, if it arrives after all, is released as `late`.
 *
 * A sender can only delay its own messages.
 */
import { isOver } from './backoff.ts'

export const ORDER = Object.freeze({
  /** How long a message waits for the previous one, ms. */
  hold: 60_000,
  /** Most messages held back for one sender, and for all senders. */
  sender: 128,
  all: 1_024,
  /** Released ids to remember for a sender. */
  given: 512,
  /** Senders to remember. */
  senders: 1_024,
})

/** A released message. */
export interface Ordered<T> {
  readonly item: T
  /** The previous message did not arrive in time. */
  readonly gap?: true
  /** Later messages of the same sender were released before. */
  readonly late?: true
}

interface Message {
  readonly id: string
  readonly after?: string | undefined
  /** When its sender wrote it, by the sender's clock. */
  readonly time?: number | undefined
}

interface Held<T> {
  readonly id: string
  readonly after: string
  readonly time: number | undefined
  readonly item: T
  readonly until: number
}

interface Sender<T> {
  /** Released ids, oldest first. */
  readonly given: Set<string>
  /** By the id that each waits for, in the order of arrival. */
  readonly held: Map<string, Held<T>[]>
  count: number
  /** Ids of missing messages whose successors were released. If one arrives, it is late. */
  readonly missed: Set<string>
  /** Released ids that no released message follows. */
  readonly tips: Set<string>
  /**
   * Ids that a released message follows. A second message that follows the same id begins a branch: its sender gave up the
   * first one, and did not name it. A message that begins a branch, or a sequence, and is older than a released one is late,
   * as are those that follow it.
   */
  readonly followed: Set<string>
  /**
   * Released ids that were tips when a message was released behind a gap, or began a sequence or a branch: its sender did
   * not know the one before. A message that follows one of them and is not newer than all released ones fills the gap, so
   * it is late, too. The same for an older message that was released behind a gap of its own, and for those that follow it.
   */
  readonly before: Set<string>
  /** Whether a message was released behind a gap. */
  hasGap: boolean
  /** The latest time of a released message, and whether one of that time follows another message. */
  newest: number
  follows: boolean
}

export class Order<T> {
  readonly #senders = new Map<string, Sender<T>>()
  #count = 0

  /**
   * Takes a message that arrived.
   * @param known whether the previous message was released in an earlier run
   * @param remembers whether `known` also tells of earlier runs. Otherwise the first message of a sender begins the
   *   sequence, and waits for no earlier one
   * @returns the messages to release now, in order
   */
  push(from: string, message: Message, item: T, now: number, known = false, remembers = false): Ordered<T>[] {
    const isFirst = !remembers && !this.#senders.has(from)
    const sender = this.#sender(from)
    const { id, after, time } = message
    // Of the tips of earlier runs nothing is left: a message that follows one fills the gap, or begins a branch.
    if (known && after !== undefined && !sender.given.has(after)) remember(sender.hasGap ? sender.before : sender.followed, after)
    if (after === undefined || after === id || isFirst || known || sender.given.has(after)) return this.#give(sender, message, item)
    if (sender.missed.has(id)) {
      // It does not wait for the one before it, which is missing, too.
      remember(sender.missed, after)
      return this.#give(sender, message, item)
    }
    const waiting = sender.held.get(after) ?? []
    waiting.push({ id, after, time, item, until: now + ORDER.hold })
    sender.held.set(after, waiting)
    sender.count++
    this.#count++
    if (sender.count > ORDER.sender) return this.#giveOldest(sender)
    if (this.#count > ORDER.all) return this.release(() => true)
    return []
  }

  /** Releases messages that waited too long. */
  expire(now: number): Ordered<T>[] {
    const given: Ordered<T>[] = []
    const choose = ({ until }: Held<T>): boolean => isOver(until, now, ORDER.hold)
    for (const sender of this.#senders.values())
      for (let each = this.#giveOldest(sender, choose); each.length > 0; each = this.#giveOldest(sender, choose)) given.push(...each)
    return given
  }

  /**
   * Makes room: finds the sender with the most held messages that `choose` selects, and releases the oldest held
   * message of that sender, with those that follow it. So one sender cannot push out the messages of another.
   */
  release(choose: (item: T) => boolean): Ordered<T>[] {
    let [fullest, most]: [Sender<T> | undefined, number] = [undefined, 0]
    for (const sender of this.#senders.values()) {
      const count = countHeld(sender, choose)
      if (count > most) [fullest, most] = [sender, count]
    }
    return fullest === undefined ? [] : this.#giveOldest(fullest)
  }

  /** Returns when `expire` has a message to release; infinite if no message is held back. */
  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const sender of this.#senders.values()) due = Math.min(due, findOldest(sender)?.until ?? due)
    return due
  }

  /** Returns how many of the held messages `choose` selects. */
  count(choose: (item: T) => boolean): number {
    let count = 0
    if (this.#count > 0) for (const sender of this.#senders.values()) count += countHeld(sender, choose)
    return count
  }

  #sender(from: string): Sender<T> {
    const known = this.#senders.get(from)
    if (known !== undefined) {
      // Re-inserted, so that the least recently active sender is forgotten first.
      this.#senders.delete(from)
      this.#senders.set(from, known)
      return known
    }
    if (this.#senders.size >= ORDER.senders)
      for (const [name, { count }] of this.#senders)
        if (count === 0) {
          this.#senders.delete(name)
          break
        }
    const sender: Sender<T> = {
      given: new Set(),
      held: new Map(),
      count: 0,
      missed: new Set(),
      tips: new Set(),
      followed: new Set(),
      before: new Set(),
      hasGap: false,
      newest: Number.NaN,
      follows: false,
    }
    this.#senders.set(from, sender)
    return sender
  }

  /** Releases a message and those that waited for it. If several can be released next, the oldest one comes first. */
  #give(sender: Sender<T>, message: Message, item: T, gap = false): Ordered<T>[] {
    const given: Ordered<T>[] = []
    let ready = [{ ...message, item }]
    for (let next = ready.shift(); next !== undefined; next = ready.shift()) {
      const { id, after, time = -Infinity } = next
      const isBehind = gap && given.length === 0
      const isMissed = sender.missed.delete(id)
      // A message without a previous one begins a sequence, perhaps one of which a part was released before: behind a gap, or
      // in an earlier run. Two beginnings of the same second tell nothing about their order.
      const isBefore = after === undefined ? sender.missed.size > 0 || sender.follows : sender.before.delete(after)
      const isBranch = isBehind || after === undefined || sender.followed.has(after)
      const fills = (isBefore && time <= sender.newest) || (isBranch && time < sender.newest)
      if (fills && !isMissed) remember(sender.before, id)
      const late = isMissed || fills
      if (!(time < sender.newest)) {
        sender.follows = after !== undefined || (time === sender.newest && sender.follows)
        sender.newest = time
      }
      if (after !== undefined) remember(sender.followed, after)
      given.push({ item: next.item, ...(isBehind && { gap: true as const }), ...(late && { late: true as const }) })
      if (after !== undefined) sender.tips.delete(after)
      if (!late && (isBranch || isBefore)) for (const tip of sender.tips) remember(sender.before, tip)
      remember(sender.tips, id)
      remember(sender.given, id)
      const waiting = sender.held.get(id) ?? []
      sender.held.delete(id)
      sender.count -= waiting.length
      this.#count -= waiting.length
      ready = [...waiting, ...ready].toSorted((one, other) => (one.time ?? 0) - (other.time ?? 0))
    }
    return given
  }

  /**
   * Releases a held message without the previous one: the oldest that `choose` selects, or the first of those here that it
   * follows.
   */
  #giveOldest(sender: Sender<T>, choose?: (held: Held<T>) => boolean): Ordered<T>[] {
    const held = findFirst(sender, findOldest(sender, choose))
    if (held === undefined) return []
    const waiting = sender.held.get(held.after)!
    waiting.splice(waiting.indexOf(held), 1)
    if (waiting.length === 0) sender.held.delete(held.after)
    sender.count--
    this.#count--
    remember(sender.missed, held.after)
    sender.hasGap = true
    return this.#give(sender, held, held.item, true)
  }
}

function countHeld<T>({ held }: Sender<T>, choose: (item: T) => boolean): number {
  let chosen = 0
  for (const waiting of held.values()) for (const { item } of waiting) if (choose(item)) chosen++
  return chosen
}

/** Returns the first of the held messages that lead to one. Those that name each other in a circle have no first one. */
function findFirst<T>({ held }: Sender<T>, last: Held<T> | undefined): Held<T> | undefined {
  const all = [...held.values()].flat()
  let [first, before] = [last, last]
  for (let left = all.length; before !== undefined && left >= 0; left--) {
    first = before
    before = all.find(({ id }) => id === first!.after)
  }
  return first
}

function findOldest<T>({ held }: Sender<T>, choose: (held: Held<T>) => boolean = () => true): Held<T> | undefined {
  let oldest: Held<T> | undefined
  for (const [each] of held.values()) if (choose(each!) && (oldest === undefined || each!.until < oldest.until)) oldest = each
  return oldest
}

function remember(ids: Set<string>, id: string): void {
  ids.add(id)
  if (ids.size > ORDER.given) ids.delete(ids.values().next().value!)
}
