/** Reads single files of a profile. */
import { PrivateKeyError } from '../auth/key-error.ts'
import { parseSeedFile, type SeedKey } from '../auth/seed.ts'
import { parsePublicKey, type SshKey } from '../auth/ssh-key.ts'
import { type Card, CardError, normalizeRelay, parseCard } from '../client/format/card.ts'
import { decodeText } from '../client/format/field.ts'
import { type Contact, contactOf } from '../client/messenger/contact.ts'
import type { Fields } from '../profile/fields.ts'
import type { Files } from '../profile/files.ts'
import { AccountError } from './check.ts'

/** Returns a file as text; undefined if it is missing, or no UTF-8. */
export function textOf(files: Files, path: string): string | undefined {
  const bytes = files.get(path)
  return bytes === undefined ? undefined : decodeText(bytes)
}

/** @throws {AccountError} if the page cannot use the key of the profile */
export function readKey(files: Files, path: string): SeedKey {
  const advice = 'The page opens only profiles with an ed25519 key of their own, without a passphrase, as `asfaleia me` makes it.'
  const text = /^agent(?::|$)/.test(path) ? undefined : textOf(files, path)
  if (text === undefined) throw new AccountError(`the key of this profile is not in the file. ${advice}`)
  try {
    return parseSeedFile(text)
  } catch (error) {
    if (!(error instanceof PrivateKeyError)) throw error
    const why = { 'needs-passphrase': 'has a passphrase', unsupported: 'is of another type' }[error.code as string]
    throw new AccountError(`the key of this profile ${why ?? 'is damaged'}. ${advice}`)
  }
}

/** Reads the user's card; undefined if there is no valid one. */
export async function readCard(files: Files): Promise<Card | undefined> {
  const text = textOf(files, 'card')
  try {
    return text === undefined ? undefined : await parseCard(text)
  } catch (error) {
    // The profile has all that a new card needs.
    if (error instanceof CardError) return undefined
    throw error
  }
}

/** @throws {CardError} */
export async function readContact(signed: string): Promise<Contact & { readonly card: Card }> {
  const card = await parseCard(signed)
  return { ...contactOf(card), card }
}

/** @throws {AccountError | ProtocolError} */
export function readBareKey(name: string, fields: Fields): Contact {
  const [line, ...more] = fields.all('key')
  if (line === undefined || more.length > 0) throw new AccountError()
  const key: SshKey = parsePublicKey(line)
  return { name, key, relays: fields.all('relay').flatMap((relay) => normalizeRelay(relay) ?? []) }
}
