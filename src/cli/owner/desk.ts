/**
 * Hands each received message to one of the clients that share a messenger. A client that leaves gives back the messages
 * that it has not finished, and they go to the next one. A chat beside the client that has them all gets copies.
 */
import type { Received } from '../../client/messenger/inbox.ts'
import type { Takes } from './record.ts'

/** A client at the desk. */
export interface Taker {
  readonly takes: Takes
  /** Whether a client that takes all messages gets copies while another one has them. */
  readonly mirrors?: boolean
  /** Whether another client may have a message that this one took but does not show. */
  readonly releases?: (received: Received) => boolean
}

interface Item {
  readonly received: Received
  holder: Taker | undefined
  /** The message as the holder got it. */
  handed: Received | undefined
}

interface Place {
  /** Takes the next message; undefined if the client is not waiting. */
  wake: ((received: Received | undefined) => void) | undefined
  /** Called when the client waits and there is nothing for it. */
  readonly idle: Set<() => void>
  /** Messages of another client, to copy. */
  copies: Item[]
}

/** Most unfinished messages: with more, the desk reads no further. */
const ITEMS = 256

export class Desk {
  readonly #source: () => AsyncIterable<Received>
  readonly #items = new Set<Item>()
  /** In the order in which they came. */
  readonly #places = new Map<Taker, Place>()
  #reading = false
  #wakeReader: (() => void) | undefined
  #over = false

  constructor(source: () => AsyncIterable<Received>) {
    this.#source = source
  }

  /** Resolves with the next message for the client, or with undefined once it leaves. */
  next(taker: Taker): Promise<Received | undefined> {
    if (this.#over || taker.takes === 'none') return new Promise((resolve) => (this.#placeOf(taker).wake = resolve))
    if (!this.#reading) {
      this.#reading = true
      void this.#read()
    }
    return new Promise((resolve) => {
      this.#placeOf(taker).wake = resolve
      this.look()
    })
  }

  /** Resolves once the client waits and there is nothing for it. */
  idle(taker: Taker): Promise<void> {
    return new Promise((resolve) => {
      this.#placeOf(taker).idle.add(resolve)
      this.look()
    })
  }

  /** The client leaves. Its unfinished messages go to others. */
  leave(taker: Taker): void {
    const place = this.#places.get(taker)
    this.#places.delete(taker)
    for (const item of this.#items) if (item.holder === taker) item.holder = undefined
    place?.wake?.(undefined)
    for (const resolve of place?.idle ?? []) resolve()
    this.look()
  }

  /** Hands out all messages that a waiting client may have. */
  look(): void {
    for (const [taker, place] of this.#places) {
      if (place.wake === undefined) continue
      const copy = this.#nextCopy(taker, place)
      if (copy !== undefined) {
        const { wake } = place
        place.wake = undefined
        wake(this.#copy(copy))
        continue
      }
      const item = this.#findFor(taker)
      if (item !== undefined) {
        const { wake } = place
        place.wake = undefined
        item.holder = taker
        item.handed = this.#hand(item, taker)
        wake(item.handed)
        continue
      }
      const waiting = [...place.idle]
      place.idle.clear()
      for (const resolve of waiting) resolve()
    }
  }

  close(): void {
    this.#over = true
    this.#wakeReader?.()
    for (const taker of this.#places.keys()) this.leave(taker)
  }

  #placeOf(taker: Taker): Place {
    const before = this.#places.get(taker)
    if (before !== undefined) return before
    const place: Place = { wake: undefined, idle: new Set(), copies: [] }
    this.#places.set(taker, place)
    if (this.#isMirror(taker)) place.copies = [...this.#items]
    return place
  }

  /** The client that has every message. */
  #first(): Taker | undefined {
    return [...this.#places.keys()].find(({ takes }) => takes === 'all')
  }

  #isMirror(taker: Taker): boolean {
    return taker.takes === 'all' && taker.mirrors === true && this.#first() !== taker
  }

  #nextCopy(taker: Taker, place: Place): Item | undefined {
    // The client has become the first one, and gets the unfinished messages themselves.
    if (!this.#isMirror(taker)) place.copies = place.copies.filter((item) => !this.#items.has(item))
    return place.copies.shift()
  }

  /** Copies a message. Whichever client shows it first finishes it for all. */
  #copy(item: Item): Received {
    return {
      ...item.received,
      done: async () => {
        if (!this.#items.has(item)) return
        await item.received.done()
        this.#items.delete(item)
        this.#wakeReader?.()
      },
    }
  }

  #findFor(taker: Taker): Item | undefined {
    if (taker.takes === 'none') return undefined
    // The client that shows every message comes first, also if it is busy just now.
    const first = this.#first()
    for (const item of this.#items) {
      if (item.holder === undefined && (first === undefined || first === taker)) return item
      const { holder, handed } = item
      if (taker.takes !== 'rest' || holder === undefined || holder === taker || handed === undefined) continue
      if (holder.releases?.(handed) === true) return item
    }
    return undefined
  }

  #hand(item: Item, taker: Taker): Received {
    return {
      ...item.received,
      done: async () => {
        // Another client has taken it meanwhile.
        if (item.holder !== undefined && item.holder !== taker) return
        await item.received.done()
        this.#items.delete(item)
        this.#wakeReader?.()
      },
    }
  }

  async #read(): Promise<void> {
    for await (const received of this.#source()) {
      const item = { received, holder: undefined, handed: undefined }
      this.#items.add(item)
      for (const [taker, place] of this.#places) if (this.#isMirror(taker)) place.copies = [...place.copies, item].slice(-ITEMS)
      this.look()
      while (this.#items.size >= ITEMS && !this.#over) await new Promise<void>((resolve) => (this.#wakeReader = resolve))
      if (this.#over) return
    }
  }
}
