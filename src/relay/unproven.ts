/**
 * The streams that have proven no key, and the choice of the one that gives way when there are too many. It is one of the
 * circuit with the most of them. Among these, streams that sent about the same count of bytes form a class, and the
 * oldest of the largest class goes: silent streams end silent streams, and not a login that is under way.
 *
 * The fewest bytes alone must not decide. Streams that sent much and then wait would keep their places, and every
 * newcomer would end before it could send its first packet (docs/decisions/0021-who-gives-way.md).
 *
 * Every operation takes constant time, however many streams there are.
 */

/** The part of a stream's place that matters here. */
export interface Candidate {
  /** The count of bytes of packets that came so far. */
  readonly received: number
  /** The level at which its group has it; 0 at first. The bytes may have reached a higher one since. */
  level: number
}

/** Members by level, each level in the order in which they reached it. */
class Levels<T> {
  readonly #levels: (Set<T> | undefined)[] = []

  add(member: T, level: number): void {
    const members = (this.#levels[level] ??= new Set())
    members.add(member)
  }

  delete(member: T, level: number): void {
    const members = this.#levels[level]
    members?.delete(member)
    if (members?.size === 0) this.#levels[level] = undefined
  }

  /** Returns the first member of the level with the most members; of the lowest one of these, if there are several. */
  get next(): T | undefined {
    let most: Set<T> | undefined
    for (const members of this.#levels) if (members !== undefined && members.size > (most?.size ?? 0)) most = members
    return most?.values().next().value
  }
}

/** The streams of one circuit, or those of no known circuit. */
export class Group<C extends Candidate> {
  readonly members = new Levels<C>()
  count = 0
  /** The level at which the groups of the same count have this one. */
  level = 0

  /** Finds the stream of this circuit that must give way for the next one. */
  findNext(): C | undefined {
    for (;;) {
      const { next } = this.members
      if (next === undefined) return undefined
      const reached = levelOf(next.received)
      if (reached <= next.level) return next
      // Each stream moves up some thirty times at most, so all moves together take a constant time for each.
      this.members.delete(next, next.level)
      next.level = reached
      this.members.add(next, reached)
    }
  }
}

/** All unproven streams. */
export class Unproven<C extends Candidate> {
  #count = 0
  /** Groups by their count, and then by the level of the stream that would give way. */
  readonly #groups = new Map<number, Levels<Group<C>>>()
  /** No group has a greater count. */
  #most = 0

  get count(): number {
    return this.#count
  }

  add(stream: C, group: Group<C>): void {
    this.#change(group, 1, () => group.members.add(stream, stream.level))
  }

  delete(stream: C, group: Group<C>): void {
    this.#change(group, -1, () => group.members.delete(stream, stream.level))
  }

  /** Finds the stream that must give way for the next one. */
  findNext(): C | undefined {
    const groups = this.#groups.get(this.#most)
    for (;;) {
      const group = groups?.next
      const next = group?.findNext()
      if (groups === undefined || group === undefined || next === undefined) return undefined
      if (next.level === group.level) return next
      groups.delete(group, group.level)
      group.level = next.level
      groups.add(group, group.level)
    }
  }

  #change(group: Group<C>, by: 1 | -1, change: () => void): void {
    this.#remove(group)
    change()
    group.count += by
    this.#count += by
    group.level = group.members.next?.level ?? 0
    if (group.count > 0) this.#insert(group)
  }

  #remove(group: Group<C>): void {
    const groups = this.#groups.get(group.count)
    if (groups === undefined) return
    groups.delete(group, group.level)
    if (groups.next !== undefined) return
    this.#groups.delete(group.count)
    // The group comes back with a count that differs by one, or was the last one.
    if (this.#most === group.count) this.#most--
  }

  #insert(group: Group<C>): void {
    let groups = this.#groups.get(group.count)
    if (groups === undefined) {
      groups = new Levels()
      this.#groups.set(group.count, groups)
    }
    groups.add(group, group.level)
    this.#most = Math.max(this.#most, group.count)
  }
}

/** Returns the level of a count of bytes: 0 for none, and one more for each doubling. */
function levelOf(bytes: number): number {
  return 32 - Math.clz32(Math.min(bytes, 2 ** 31))
}
