/**
 * The only file of the page that knows the messenger's options: opens it for an account, and keeps its stores in memory.
 * A new option of the messenger is added here.
 */
import type { SeenStore } from '../client/delivery/seen.ts'
import { concat } from '../auth/ssh-wire.ts'
import { fingerprintOf } from '../client/format/field.ts'
import type { Received } from '../client/messenger/inbox.ts'
import { type Messenger, openMessenger } from '../client/messenger/messenger.ts'
import type { MessengerOptions } from '../client/messenger/options.ts'
import type { FileReceiver } from '../client/messenger/transfers.ts'
import type { Account } from './account.ts'
import type { Protection } from './model.ts'

export interface SessionOptions {
  readonly files: FileReceiver
  /** The contact was heard for the first time. */
  readonly onMet: (fingerprint: string) => void
  /** For tests. */
  readonly change?: Pick<MessengerOptions, 'connect' | 'clock' | 'random'>
}

export function openSession(account: Account, { files, onMet, change = {} }: SessionOptions): Messenger {
  return openMessenger({
    identity: account.identity,
    relays: account.relays,
    contacts: { find: (fingerprint) => account.find(fingerprint) },
    receipts: account.receipts,
    seen: seenStore(account),
    files,
    introducer: {
      cardFor: ({ key }) => (account.find(fingerprintOf(key))?.met === undefined ? account.card.link : undefined),
      onHeard: ({ key }) => {
        const fingerprint = fingerprintOf(key)
        if (account.find(fingerprint)?.met === undefined) onMet(fingerprint)
      },
    },
    ...change,
  })
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
export function protectionOf(_received: Received): Protection {
  return 'key'
}
