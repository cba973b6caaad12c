/**
 * The sending limits of keys, and the seniority of mailboxes. When memory runs short, messages to newcomers may fill half
 * of it only, and what each key may still send shrinks, so that people who were here before a flood can go on. A mailbox
 * is here once its key logged in, or its claim read it: senders that claim have no lasting name. Holds blinded ids, in
 * memory only, for a day after a key or mailbox was last used.
 */
import { Bucket } from './bucket.ts'

/** The time in which a used up sending limit refills. */
const SENDING_SECONDS = 3_600
/** The age at which a key becomes senior, if memory is not short. */
const SENIOR_MS = 60 * 60 * 1_000
/** A key that was not used for this time is forgotten. */
const FORGOTTEN_MS = 24 * 60 * 60 * 1_000
/** Senior keys and mailboxes, and newcomers, each. Of too many newcomers the oldest is forgotten. 9 MB each at most. */
export const MOST_KEYS = 32_768
/** The part of the memory budget that newcomers may fill. Memory is short when more than this is full. */
const NEWCOMERS_SHARE = 1 / 2
/** The least part of its limit that a key may send when memory is short. */
const LEAST_SCALE = 1 / 64

/** The used part of a key's sending limit. Senior keys are listed even if they used nothing. */
export interface Spent {
  /** The key's blinded id. */
  readonly sender: string
  readonly bytes: number
}

interface Key {
  readonly firstAt: number
  lastAt: number
  /** Created at the first message: most keys that log in only receive. */
  bucket: Bucket | undefined
}

export class Senders {
  readonly #perSender: number
  readonly #quotaOf: (sender: string) => number | undefined
  readonly #usedMemory: () => number
  readonly #seniors = new Map<string, Key>()
  readonly #newcomers = new Map<string, Key>()

  /**
   * @param perSender bytes that one key may send at once, and again within an hour
   * @param usedMemory returns the used part of the memory budget, from 0 to 1
   * @param quotaOf returns a key's own value of `perSender`, if it has one
   */
  constructor(perSender: number, usedMemory: () => number, quotaOf: (sender: string) => number | undefined = () => undefined) {
    this.#perSender = perSender
    this.#quotaOf = quotaOf
    this.#usedMemory = usedMemory
  }

  /** Creates a full bucket of a sending limit, by default the limit of keys without their own. */
  create(now: number, size = this.#perSender): Bucket {
    return new Bucket(size, size / SENDING_SECONDS, now)
  }

  #sizeOf(sender: string): number {
    return this.#quotaOf(sender) ?? this.#perSender
  }

  /** A key was proven, one of its tokens was used on a new connection, or its mailbox was read. */
  onKey(sender: string, now: number): void {
    this.#find(sender, now).lastAt = now
  }

  /** Returns the seconds until a sender may send `bytes` bytes; 0 allows it now. @param bucket its limit */
  wait(bucket: Bucket, bytes: number, now: number): number {
    const scale = this.#scale()
    // A smaller limit is one of which a part is always used.
    return bucket.wait(scale === 1 ? bytes : bytes + Math.floor(bucket.size * (1 - scale)), now)
  }

  /** Returns the part of the memory budget that a message from this key, or to this mailbox, may fill up to. */
  share(mailbox: string): number {
    return this.#seniors.has(mailbox) ? 1 : NEWCOMERS_SHARE
  }

  /** Forgets keys that are unused for a day, and lets newcomers become senior while memory is not short. */
  sweep(now: number): void {
    for (const keys of [this.#seniors, this.#newcomers]) {
      for (const [sender, { lastAt, bucket }] of keys) {
        if (now - lastAt >= FORGOTTEN_MS && (bucket === undefined || bucket.isFull(now))) keys.delete(sender)
      }
    }
    if (this.#usedMemory() > NEWCOMERS_SHARE) return
    for (const [sender, key] of this.#newcomers) {
      // In order of arrival.
      if (now - key.firstAt < SENIOR_MS || this.#seniors.size >= MOST_KEYS) break
      this.#newcomers.delete(sender)
      this.#seniors.set(sender, key)
    }
  }

  /** Gives the senior keys and the used limits, for the next relay. */
  *spent(now: number): Generator<Spent, void> {
    for (const [sender, { bucket }] of this.#seniors) yield { sender, bytes: usedOf(bucket, now) }
    for (const [sender, { bucket }] of this.#newcomers) {
      const bytes = usedOf(bucket, now)
      if (bytes > 0) yield { sender, bytes }
    }
  }

  /** Takes over a key of the relay before: it is senior here. */
  spend({ sender, bytes }: Spent, now: number): void {
    const size = this.#sizeOf(sender)
    const bucket = this.create(now, size)
    bucket.take(Math.min(bytes, size))
    if (this.#seniors.size < MOST_KEYS) this.#seniors.set(sender, { firstAt: now, lastAt: now, bucket })
  }

  clear(): void {
    this.#seniors.clear()
    this.#newcomers.clear()
  }

  /** The count of keys in memory. */
  get size(): number {
    return this.#seniors.size + this.#newcomers.size
  }

  /** Returns the part of its limit that each key may use: all of it, and less the shorter memory is. */
  #scale(): number {
    const used = this.#usedMemory()
    return used <= NEWCOMERS_SHARE ? 1 : Math.max((1 - used) / (1 - NEWCOMERS_SHARE), LEAST_SCALE)
  }

  /** Returns the sending limit of a key. */
  bucketOf(sender: string, now: number): Bucket {
    const key = this.#find(sender, now)
    const size = this.#sizeOf(sender)
    if (key.bucket?.size === size) return key.bucket
    // The operator changed the quota: the used part stays used.
    const used = Math.min(usedOf(key.bucket, now), size)
    key.bucket = this.create(now, size)
    key.bucket.take(used)
    return key.bucket
  }

  #find(sender: string, now: number): Key {
    const known = this.#seniors.get(sender) ?? this.#newcomers.get(sender)
    if (known !== undefined) return known
    if (this.#newcomers.size >= MOST_KEYS) {
      const [oldest] = this.#newcomers.keys()
      this.#newcomers.delete(oldest!)
    }
    const key = { firstAt: now, lastAt: now, bucket: undefined }
    this.#newcomers.set(sender, key)
    return key
  }
}

function usedOf(bucket: Bucket | undefined, now: number): number {
  return bucket === undefined ? 0 : Math.ceil(bucket.used(now))
}
