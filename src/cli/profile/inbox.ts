/**
 * The inbox key of a profile (docs/protocol.md, section 14), in the file `inbox`, and what a card says about the places
 * at which people reach the user first.
 */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { generateSeedKey } from '../../auth/seed.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { CardVersion } from '../../client/format/card.ts'
import { type Identity, identityOf } from '../../client/format/identity.ts'
import { makeFolder, writeWhole } from '../disk/file.ts'
import { openSeedFile } from '../disk/keyfile.ts'
import type { CardFacts, Settings } from './home.ts'

/** The file names nobody. */
const COMMENT = 'asfaleia'

/** Reads the inbox key. @returns undefined if there is no such file @throws {CliError} that names the file */
export async function readInbox(path: string): Promise<Identity | undefined> {
  return existsSync(path) ? identityOf(await openSeedFile(path)) : undefined
}

/** Reads the inbox key, and makes it first if there is none. @throws {CliError} */
export async function makeInbox(path: string): Promise<Identity> {
  const old = await readInbox(path)
  if (old !== undefined) return old
  await makeFolder(dirname(path))
  try {
    await writeWhole(path, generateSeedKey().toFile(COMMENT), { replace: false })
  } catch (error) {
    // Another command has made it meanwhile.
    if (!existsSync(path)) throw error
  }
  return identityOf(await openSeedFile(path))
}

/**
 * Returns the facts for a card of a version.
 *
 * The inbox is at the first relay, and the addresses of contacts are at the others, so that no relay learns who talks to
 * whom. If the first relay knows the user's key, there is no inbox: people write to the mailbox of that key.
 *
 * @param inbox undefined if there is none yet
 */
export function factsOf(
  { name, relays, isPublic, memberAt }: Pick<Settings, 'relays' | 'isPublic' | 'memberAt'> & { readonly name: string },
  version: CardVersion,
  inbox: SshKey | undefined,
): CardFacts {
  const isMember = (relay: string): boolean => memberAt.includes(relay)
  const [first = ''] = relays
  if (version === 2 && isMember(first)) return { version, name, relays: isPublic ? relays : relays.filter(isMember) }
  return version === 1 || inbox === undefined ? { version, name, relays } : { version, name, relays: [first], inbox }
}
