/** People with an inbox, and with the state that a program keeps between two runs, as texts. */
import { generateSeedKey } from '../../src/auth/seed.ts'
import { identityOf } from '../../src/client/format/identity.ts'
import type { OutboxEntry } from '../../src/client/delivery/entry.ts'
import type { SeenStore } from '../../src/client/delivery/seen.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { MessengerEvent } from '../../src/client/messenger/event.ts'
import type { Messenger } from '../../src/client/messenger/messenger.ts'
import type { MessengerOptions, OutboxStore, Secrecy } from '../../src/client/messenger/options.ts'
import { decodeRing, encodeRing } from '../../src/client/ring/text.ts'
import { makePerson, messengerOf, type Person } from './people.ts'

/** Everything that a program has on its disk. A copy is a backup. */
export interface Disk {
  readonly rings: ReadonlyMap<string, Uint8Array>
  readonly secrets: Uint8Array | undefined
  readonly outbox: readonly OutboxEntry[]
  readonly seen: Uint8Array | undefined
}

export type Write = 'ring' | 'secrets' | 'outbox' | 'seen'

export interface Secret extends Person {
  readonly secrecy: Secrecy
  readonly outbox: OutboxStore
  readonly seen: SeenStore
  disk: Disk
  /** Called before each write. If it throws, the write fails, and the disk stays as it was. */
  onWrite: (what: Write) => void
}

export const EMPTY_DISK: Disk = { rings: new Map(), secrets: undefined, outbox: [], seen: undefined }

/** @param more properties of the person's `secrecy` */
export function makeSecret(name: string, relays: readonly string[], more: Partial<Secrecy> = {}): Secret {
  const inbox = identityOf(generateSeedKey())
  const secret: Secret = {
    ...makePerson(name, ...relays),
    inbox: inbox.key,
    disk: EMPTY_DISK,
    onWrite: () => {},
    secrecy: {
      inbox,
      relays: () => relays,
      rings: {
        load: async (contact) => {
          const text = secret.disk.rings.get(contact)
          return text && decodeRing(contact, text)
        },
        save: async (contact, ring) => {
          secret.onWrite('ring')
          secret.disk = { ...secret.disk, rings: new Map(secret.disk.rings).set(contact, encodeRing(contact, ring)) }
        },
        remove: async (contact) => {
          secret.onWrite('ring')
          secret.disk = { ...secret.disk, rings: new Map([...secret.disk.rings].filter(([each]) => each !== contact)) }
        },
        list: async () => [...secret.disk.rings.keys()],
      },
      secrets: {
        load: async () => secret.disk.secrets?.slice(),
        save: async (text) => {
          secret.onWrite('secrets')
          secret.disk = { ...secret.disk, secrets: text.slice() }
        },
      },
      ...more,
    },
    outbox: {
      load: async () => secret.disk.outbox,
      save: async (entries) => {
        secret.onWrite('outbox')
        secret.disk = { ...secret.disk, outbox: entries.map((entry) => ({ ...entry })) }
      },
    },
    seen: {
      load: async () => secret.disk.seen?.slice(),
      replace: async (text) => {
        secret.onWrite('seen')
        secret.disk = { ...secret.disk, seen: text.slice() }
      },
      append: async (text) => {
        secret.onWrite('seen')
        secret.disk = { ...secret.disk, seen: Buffer.concat([secret.disk.seen ?? new Uint8Array(0), text]) }
      },
    },
  }
  return secret
}

/** The contact as other people know it, by the card of version 2. */
export const cardOf = ({ name, key, relays, inbox }: Secret): Contact => ({ name, key, relays, ...(inbox && { inbox }) })

/** Opens a messenger on the person's disk. */
export function openSecret(person: Secret, contacts: readonly Contact[], more: Partial<MessengerOptions> = {}): Messenger {
  const { secrecy, outbox, seen } = person
  return messengerOf(person, contacts, { secrecy, outbox, seen, ...more })
}

/** Returns a list to which the messenger's events are added from now on. */
export function watch(messenger: Messenger): MessengerEvent[] {
  const events: MessengerEvent[] = []
  void (async () => {
    for await (const event of messenger.events()) events.push(event)
  })()
  return events
}
