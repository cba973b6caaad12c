/** People with their own keys, and helpers for their messengers. */
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'
import type { Contact } from '../../src/client/messenger/contact.ts'
import type { MessengerOptions } from '../../src/client/messenger/options.ts'
import { type Messenger, openMessenger } from '../../src/client/messenger/messenger.ts'
import type { Received } from '../../src/client/messenger/inbox.ts'

export interface Person extends Contact {
  readonly identity: Identity
}

export function makePerson(name: string, ...relays: string[]): Person {
  const identity = identityOf(parsePrivateKey(Buffer.from(generatePrivateKey('').file)))
  return { name, identity, key: identity.key, relays }
}

/** Opens a messenger for a person with these contacts. */
export function messengerOf(person: Person, contacts: readonly Contact[], more: Partial<MessengerOptions> = {}): Messenger {
  return openMessenger({
    identity: person.identity,
    relays: person.relays,
    contacts: { find: (fingerprint) => contacts.find(({ key }) => fingerprintOf(key) === fingerprint) },
    ...more,
  })
}

/** Takes `count` messages and acknowledges each. */
export async function take(messenger: Messenger, count: number): Promise<Received[]> {
  const received: Received[] = []
  if (count === 0) return received
  for await (const each of messenger.received()) {
    received.push(each)
    await each.done()
    if (received.length === count) break
  }
  return received
}

export const textOf = ({ envelope }: Received): string | undefined =>
  envelope?.content.type === 'text' ? envelope.content.text : undefined
