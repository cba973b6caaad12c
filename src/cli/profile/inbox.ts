/** The inbox key of a profile (docs/protocol.md, section 14), in the file `inbox`. */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { generateSeedKey } from '../../auth/seed.ts'
import { type Identity, identityOf } from '../../client/format/identity.ts'
import { makeFolder, writeWhole } from '../disk/file.ts'
import { openSeedFile } from '../disk/keyfile.ts'

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
