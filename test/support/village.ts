/** People with their own keys, cards, books and groups, in a folder that is removed after the test. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generatePrivateKey, parsePrivateKey } from '../../src/auth/private-key.ts'
import { People } from '../../src/cli/chat/people.ts'
import { Book } from '../../src/cli/profile/book.ts'
import { Groups } from '../../src/cli/profile/groups.ts'
import { type Card, makeCard } from '../../src/client/format/card.ts'
import { fingerprintOf } from '../../src/client/format/field.ts'
import { type Identity, identityOf } from '../../src/client/format/identity.ts'

export interface Person {
  readonly name: string
  readonly identity: Identity
  readonly fingerprint: string
  readonly card: Card
  readonly folder: string
  readonly people: People
}

export interface Village {
  readonly folder: string
  /** @param knows the people in their contact book */
  add(name: string, knows?: readonly Person[]): Promise<Person>
  remove(): void
}

export function createVillage(relay = 'localhost'): Village {
  const folder = mkdtempSync(join(tmpdir(), 'asf-people-'))
  return {
    folder,
    async add(name, knows = []) {
      const identity = identityOf(parsePrivateKey(Buffer.from(generatePrivateKey(name).file)))
      const card = await makeCard(identity, { name, relays: [relay], time: Math.floor(Date.now() / 1_000) })
      const own = join(folder, name)
      const book = await Book.open(join(own, 'contacts'), true)
      for (const each of knows) await book.add({ card: each.card })
      const groups = await Groups.open(join(own, 'groups'))
      return { name, identity, fingerprint: fingerprintOf(identity.key), card, folder: own, people: new People(book, groups, identity.key) }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
