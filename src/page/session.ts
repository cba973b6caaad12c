/**
 * The only file of the page that knows the messenger's options: opens it for an account, and keeps its stores in memory.
 * A new option of the messenger is added here.
 */
import type { SeenStore } from '../client/delivery/seen.ts'
import { concat } from '../auth/ssh-wire.ts'
import { fingerprintOf } from '../client/format/field.ts'
import type { Received } from '../client/messenger/inbox.ts'
import { type Messenger, openMessenger } from '../client/messenger/messenger.ts'
import type { MessengerOptions, Secrecy } from '../client/messenger/options.ts'
import type { FileReceiver } from '../client/messenger/transfers.ts'
import { decodeRing, encodeRing, RingError } from '../client/ring/text.ts'
import type { Account } from './account.ts'
import type { Protection } from './model.ts'

export interface SessionOptions {
  readonly files: FileReceiver
  /** The contact was heard for the first time. */
  readonly onMet: (fingerprint: string) => void
  /** There are new secrets at relays: a file that the user saved before lacks them. */
  readonly onSecrets: () => void
  /** For tests. */
  readonly change?: Pick<MessengerOptions, 'connect' | 'connectClaims' | 'clock' | 'random'>
}

export function openSession(account: Account, { files, onMet, onSecrets, change = {} }: SessionOptions): Messenger {
  return openMessenger({
    identity: account.identity,
    relays: account.relays,
    contacts: { find: (fingerprint) => account.find(fingerprint) },
    receipts: account.receipts,
    seen: seenStore(account),
    files,
    secrecy: secrecyOf(account, onSecrets),
    introducer: {
      cardFor: ({ key }) => (account.find(fingerprintOf(key))?.met === undefined ? account.card.link : undefined),
      onHeard: ({ key }) => onMet(fingerprintOf(key)),
    },
    ...change,
  })
}

/** Keeps rings and secrets in the account, so that a saved file has them. An older file heals as lost state does. */
function secrecyOf(account: Account, onSecrets: () => void): Secrecy {
  const { inbox, rings, reach } = account
  return {
    inbox,
    rings: {
      async load(contact) {
        const text = rings.get(contact)
        try {
          return text === undefined ? undefined : decodeRing(contact, text)
        } catch (error) {
          if (error instanceof RingError) return undefined
          throw error
        }
      },
      save: async (contact, ring) => void rings.set(contact, encodeRing(contact, ring)),
      remove: async (contact) => void rings.delete(contact),
      list: async () => [...rings.keys()],
    },
    secrets: {
      load: async () => account.secrets,
      async save(text) {
        account.secrets = Uint8Array.from(text)
        onSecrets()
      },
    },
    isPublic: reach.isPublic,
    relays: () => reach.relays,
    members: reach.memberAt,
  }
}

/** Keeps the tags of received messages in the account, so that a saved file has them. */
function seenStore(account: Account): SeenStore {
  return {
    load: async () => (account.seen.length === 0 ? undefined : concat(...account.seen)),
    append: async (line) => {
      account.seen.push(line)
    },
    replace: async (text) => {
      account.seen = [text]
    },
  }
}

/** Returns what protects a received message. */
export function protectionOf({ protection = 'key' }: Received): Protection {
  return protection
}
