/**
 * The rings of one-time keys on the disk, a file for each contact, encrypted to the user's own key as the outbox is. Only
 * the owner of the profile reads and writes them. Erasing a key is rewriting its file: flash storage and file systems
 * that copy may keep the old blocks, so full-disk encryption, or a folder in memory, is the user's protection.
 */
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { open, sealFor } from '../../client/format/envelope.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { RingStore } from '../../client/messenger/options.ts'
import { hasKey } from '../../client/ring/sending.ts'
import type { Ring } from '../../client/ring/state.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Protection } from '../../wording/delivery.ts'
import { decodeRing, encodeRing, readContact, RingError } from '../../client/ring/text.ts'
import { makeFolder, readBytes, removeFile, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

const RING_NAME = /^[0-9a-f]{32}\.age$/
/** The largest ring has 460 KB. */
const RING_BYTES = 1_048_576

/**
 * Opens the folder `ring` of the user's state. Its `load` and `list` throw a {@link CliError} that names a damaged file, and
 * leave the file untouched; so does `save` if it cannot write, and the former file stays.
 */
export function openRings(folder: string, identity: Identity): RingStore {
  const rings = join(folder, 'ring')
  const pathOf = (contact: string): string => join(rings, `${createHash('sha256').update(contact).digest('hex').slice(0, 32)}.age`)
  /** @returns undefined if there is no such file */
  const read = async <T>(path: string, decode: (text: Uint8Array) => T): Promise<T | undefined> => {
    const sealed = await readBytes(path, RING_BYTES)
    if (sealed === undefined) return undefined
    const text = await open(identity, sealed)
    try {
      if (text === undefined) throw new CliError(`${path}: the file is damaged, or encrypted to another key`, { hint: LEFT })
      return decode(text)
    } catch (error) {
      if (error instanceof RingError) throw new CliError(`${path}: ${error.message}`, { hint: LEFT })
      throw error
    } finally {
      text?.fill(0)
    }
  }
  return {
    load: (contact) => read(pathOf(contact), (text) => decodeRing(contact, text)),
    async list() {
      const contacts: string[] = []
      for (const name of await listFolder(rings)) {
        const contact = RING_NAME.test(name) ? await read(join(rings, name), readContact) : undefined
        if (contact !== undefined) contacts.push(contact)
      }
      return contacts
    },
    async save(contact, ring) {
      await makeFolder(rings)
      const text = encodeRing(contact, ring)
      try {
        await writeWhole(pathOf(contact), await sealFor(identity, text), { replace: true })
      } finally {
        text.fill(0)
      }
    },
    remove: (contact) => removeFile(pathOf(contact)),
  }
}

/** Returns what would protect the next message to a contact. @param now in seconds */
export function protectionOf({ inbox }: Pick<Contact, 'inbox'>, ring: Ring | undefined, now: number): Protection {
  if (ring !== undefined && hasKey(ring, now)) return 'one-time'
  return inbox === undefined ? 'key' : 'daily'
}

/** @returns nothing if there is no such folder */
async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new CliError(`cannot read ${folder}: ${systemReason(error)}`)
  }
}

const LEFT = 'it was left untouched; to begin anew with this contact, move it away'
