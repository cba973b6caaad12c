/**
 * Reads the introduction of a new contact: a card as text or link, a public key, a line of authorized_keys, or a file
 * that holds exactly one of these. Only a card is signed; a bare key proves nothing about its owner.
 */
import { CardError, findCard, parseCard } from '../../client/format/card.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { readBytes } from '../disk/file.ts'
import { isKeyText, readPublicKey, refuseOther, type Source } from '../disk/public-key.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'

export type Given = { readonly kind: 'card'; readonly card: Card } | { readonly kind: 'key'; readonly key: SshKey }

const MOST_BYTES = 65_536
const CARD = /^asfaleia-card\/[^]*^-----END SSH SIGNATURE-----$/m

/**
 * @param word the card or key itself, a path, or `-` for standard input
 * @throws {CliError}
 */
export async function readIntroduction(word: string, io: Io): Promise<Given> {
  if (word === '-') return parseIntroduction(await readInput(io), { name: 'standard input' })
  if (word.includes('asfaleia:card/') || word.startsWith('asfaleia-card/') || word.startsWith('asfaleia:') || isKeyText(word))
    return parseIntroduction(Buffer.from(word), { name: 'the argument' })
  const bytes = await readBytes(word, MOST_BYTES)
  if (bytes === undefined) {
    throw new CliError(`no such file: ${word}`, {
      hint: 'expected a file with a card or public key, a card’s link in quotes, a public key in quotes, or - for standard input',
    })
  }
  return parseIntroduction(bytes, { name: word, isFile: true })
}

/** @throws {CliError} */
async function parseIntroduction(bytes: Uint8Array, source: Source): Promise<Given> {
  refuseOther(bytes, source)
  // The comment of a key need not be UTF-8. A card is, or its signature is wrong.
  const text = new TextDecoder().decode(bytes).replaceAll('\r\n', '\n')
  const signed = CARD.exec(text)?.[0]
  if (signed !== undefined) return { kind: 'card', card: await readCard(() => parseCard(`${signed}\n`), source) }
  const card = await readCard(() => findCard(text), source)
  if (card !== undefined) return { kind: 'card', card }
  if (text.startsWith('asfaleia')) return { kind: 'card', card: await readCard(() => parseCard(text.trim()), source) }
  return { kind: 'key', key: readPublicKey(bytes, source) }
}

async function readCard<Found extends Card | undefined>(read: () => Promise<Found>, { name }: Source): Promise<Found> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    throw new CliError(`${name}: ${error.message}`, { hint: 'nothing was changed; ask its owner for the card again' })
  }
}

async function readInput(io: Io): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    length += bytes.length
    if (length > MOST_BYTES) throw new CliError('standard input is too long for a card')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}
