/**
 * The user's secrets at relays (docs/protocol.md, section 14) on the disk: one text, encrypted to the user's own key as
 * the outbox is. Only the owner of the profile reads and writes it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { open, sealFor } from '../../client/format/envelope.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { SecretStore } from '../../client/messenger/options.ts'
import { makeFolder, readBytes, writeWhole } from '../disk/file.ts'
import { CliError } from '../program/error.ts'

/** The largest file. */
const SECRETS_BYTES = 1_048_576
const FILE = 'secrets.age'

/** Whether the folder has secrets at relays: addresses that contacts write to. */
export const hasSecrets = (folder: string): boolean => existsSync(join(folder, FILE))

/**
 * Opens the file `secrets.age` of the user's state. Its `load` throws a {@link CliError} that names a damaged file, and
 * leaves the file untouched; so does `save` if it cannot write, and the former file stays.
 */
export function openSecrets(folder: string, identity: Identity): SecretStore {
  const path = join(folder, FILE)
  return {
    async load() {
      const sealed = await readBytes(path, SECRETS_BYTES)
      if (sealed === undefined) return undefined
      const text = await open(identity, sealed)
      if (text !== undefined) return text
      throw new CliError(`${path}: the file is damaged, or encrypted to another key`, {
        hint: 'it was left untouched; restore it from a backup, or move it away: your contacts then learn new addresses from you',
      })
    },
    async save(text) {
      const sealed = await sealFor(identity, text)
      if (sealed.length > SECRETS_BYTES) throw new CliError(`cannot write ${path}: it would be larger than ${SECRETS_BYTES} bytes`)
      await makeFolder(folder)
      await writeWhole(path, sealed, { replace: true })
    },
  }
}
