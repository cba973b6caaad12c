/**
 * Watches the one-time keys and the secrets of a device: what its client stores of them, and that the disk and the memory
 * lose what docs/protocol.md, section 13, has erased.
 */
import { fingerprintOf } from '../../src/client/format/field.ts'
import { decodeSecrets, fingerprintOfSecret, SECRETS, type State } from '../../src/client/messenger/secrets.ts'
import type { RingStore, SecretStore } from '../../src/client/messenger/options.ts'
import { EMPTY, RING, type Ring } from '../../src/client/ring/state.ts'
import type { Process } from './kernel.ts'
import type { Person } from './person.ts'
import type { Text } from './truth.ts'
import type { World } from './world.ts'

/** Bounds of a ring, by its parts. */
const BOUNDS = { given: RING.given, held: RING.held, read: RING.read, runs: RING.runs, reports: RING.reports } as const

export class Keys {
  readonly #world: World
  readonly #person: Person
  /** The rings on the disk, by contact. */
  readonly #rings = new Map<string, Ring>()
  /** Since when the contact gave keys, as far as the disk knows. */
  readonly #movedAt = new Map<string, number>()
  /** The seeds in them, in base64. */
  #seeds = new Map<string, Set<string>>()
  #state: State | undefined
  /** Seeds that must be on no part of the disk. */
  readonly #erased = new Set<string>()

  constructor(world: World, person: Person) {
    this.#world = world
    this.#person = person
  }

  /**
   * The device sends a text under encryption to a key that lasts. It must not if the contact had an inbox or gave keys when
   * the text was written (S1). An earlier version of the client, and a text of one, may use the contact's own key.
   */
  onLasting(process: Process, { number, to, by, sentAt }: Text): void {
    const { truth, people } = this.#world
    const { name, owner, hiding } = this.#person
    if (!hiding.has(process) || !hiding.has(by)) return
    const contact = people.get(to)!.owner
    const movedAt = this.#movedAt.get(fingerprintOf(contact.identity.key)) ?? Number.POSITIVE_INFINITY
    const hasInbox = this.#person.contactOf(contact).inbox !== undefined
    const knownAt = (hasInbox ? owner.inboxes.get(contact) : undefined) ?? Number.POSITIVE_INFINITY
    if (sentAt > Math.min(movedAt, knownAt)) truth.violate(4, `${name} encrypts text ${number} to the own key of ${to}`)
  }

  /** Whether a ring has a one-time key with that seed. */
  has(seed: Buffer): boolean {
    const text = seed.toString('base64')
    for (const seeds of this.#seeds.values()) if (seeds.has(text)) return true
    return false
  }

  /** Whether a ring says that a message was read. */
  hasRead(id: string): boolean {
    for (const { seen } of this.#rings.values()) for (const each of seen.values()) if (each === id) return true
    return false
  }

  /** Whether the device has an address at a relay. */
  readsAt(relay: string): boolean {
    return this.#state?.addresses.some((each) => each.relay === relay) === true
  }

  /** Returns the relay of an address of the device. @param mailbox its fingerprint */
  relayOf(mailbox: string): string | undefined {
    return this.#state?.addresses.find(({ secret }) => fingerprintOfSecret(secret) === mailbox)?.relay
  }

  /** A message to a one-time key was acknowledged, and it said that other keys are left: its key is erased (R2). */
  onAcked(seed: Uint8Array): void {
    if (this.#person.isDowngraded) return
    const text = Buffer.from(seed).toString('base64')
    for (const [contact, seeds] of this.#seeds)
      if (seeds.has(text)) this.#world.truth.violate(4, `${this.#person.name} read a message of ${contact}, and keeps its one-time key`)
  }

  /** Notes what goes to the disk. */
  watchRings(store: RingStore): RingStore {
    const { truth, kernel } = this.#world
    return {
      list: () => store.list(),
      remove: async (contact) => {
        await store.remove(contact)
        this.#take(contact, EMPTY)
      },
      load: async (contact) => {
        const ring = await store.load(contact)
        this.#take(contact, ring ?? EMPTY)
        return ring
      },
      save: async (contact, ring) => {
        const { name } = this.#person
        for (const [part, most] of Object.entries(BOUNDS)) {
          const { length } = ring[part as keyof typeof BOUNDS]
          truth.most(`${part} in a ring`, length)
          if (length > most) truth.violate(5, `${name} has ${length} of ${part} in a ring`)
        }
        for (const part of ['seen', 'unread'] as const) {
          truth.most(`${part} in a ring`, ring[part].size)
          if (ring[part].size > RING[part]) truth.violate(5, `${name} has ${ring[part].size} of ${part} in a ring`)
        }
        await store.save(contact, ring)
        const before = this.#rings.get(contact)
        const kept = new Set(ring.given.map(({ seed }) => seed))
        const gone = before?.given.filter(({ seed }) => !kept.has(seed)).map(({ seed }) => seed) ?? []
        this.#take(contact, ring)
        for (const seed of gone) this.#erased.add(Buffer.from(seed).toString('base64'))
        kernel.at(kernel.now, undefined, () => {
          if (gone.some((seed) => seed.some((byte) => byte !== 0)))
            truth.violate(4, `the client of ${name} keeps an erased one-time key in memory`)
        })
      },
    }
  }

  #take(contact: string, ring: Ring): void {
    this.#rings.set(contact, ring)
    if (!isMoved(ring)) this.#movedAt.delete(contact)
    else if (!this.#movedAt.has(contact)) this.#movedAt.set(contact, this.#world.kernel.now)
    const seeds = new Set(ring.given.map(({ seed }) => Buffer.from(seed).toString('base64')))
    this.#seeds.set(contact, seeds)
    for (const seed of seeds) this.#erased.delete(seed)
  }

  /** Notes what goes to the disk. */
  watchSecrets(store: SecretStore): SecretStore {
    const { truth, kernel } = this.#world
    const take = (text: Uint8Array): void => {
      const state = decodeSecrets(Uint8Array.from(text))
      const { name } = this.#person
      if (state === undefined) return truth.violate(5, `the client of ${name} writes secrets that it cannot read`)
      for (const part of ['addresses', 'days'] as const) {
        truth.most(part, state[part].length)
        if (state[part].length > SECRETS[part]) truth.violate(5, `${name} has ${state[part].length} ${part}`)
      }
      for (const part of ['bundles', 'strangers'] as const) {
        truth.most(part, state[part].size)
        if (state[part].size > SECRETS[part]) truth.violate(5, `${name} has ${state[part].size} ${part}`)
      }
      const kept = new Set(state.days.map(({ seed }) => Buffer.from(seed).toString('base64')))
      for (const { seed } of this.#state?.days ?? []) {
        const each = Buffer.from(seed).toString('base64')
        if (!kept.has(each)) this.#erased.add(each)
      }
      this.#state = state
    }
    return {
      load: async () => {
        const text = await store.load()
        if (text !== undefined) take(text)
        return text
      },
      save: async (text) => {
        const copy = Uint8Array.from(text)
        await store.save(text)
        take(copy)
        kernel.at(kernel.now, undefined, () => {
          if (text.some((byte) => byte !== 0))
            truth.violate(4, `the client of ${this.#person.name} keeps the text of its secrets in memory`)
        })
      },
    }
  }

  /** Checks that nothing on the disk has a seed that was erased since the last check. */
  check(): void {
    if (this.#erased.size === 0) return
    for (const seed of this.#erased) {
      const path = this.#person.disk.whereIs(seed)
      if (path !== undefined) this.#world.truth.violate(4, `the disk of ${this.#person.name} has an erased key in ${path}`)
    }
    this.#erased.clear()
  }
}

/** Whether a contact gave keys. */
const isMoved = ({ held, last, known, usedAt }: Ring): boolean => held.length > 0 || last !== undefined || known || usedAt !== undefined
