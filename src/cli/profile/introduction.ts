/**
 * Reads the introduction of a new contact: a card as text or link, a public key, a line of authorized_keys, or a file
 * that holds exactly one of these. Only a card is signed; a bare key proves nothing about its owner.
 */
import { CardError, findCard, parseCard } from '../../client/format/card.ts'
import { parseKeyLine } from '../../auth/key-line.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { readText } from '../disk/file.ts'
import { readPublicKey } from '../disk/keyfile.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'

export type Given = { readonly kind: 'card'; readonly card: Card } | { readonly kind: 'key'; readonly key: SshKey }

const MOST_BYTES = 65_536
/** A key's blob begins with the length of its type's name, which is `AAAA` in base64. */
const KEY = /(?:^|\s)(?:ssh|ecdsa|sk)-[a-z0-9@.-]+[ \t]+AAAA/
const CARD = /^asfaleia-card\/[^]*^-----END SSH SIGNATURE-----$/m

/**
 * @param word the card or key itself, a path, or `-` for standard input
 * @throws {CliError}
 */
export async function readIntroduction(word: string, io: Io): Promise<Given> {
  if (word === '-') return parseIntroduction(await readInput(io), 'standard input')
  if (word.includes('asfaleia:card/') || word.startsWith('asfaleia-card/') || word.startsWith('asfaleia:') || KEY.test(word))
    return parseIntroduction(word, 'the argument')
  const text = await readText(word, MOST_BYTES)
  if (text === undefined) {
    throw new CliError(`no such file: ${word}`, {
      hint: 'expected a file with a card or public key, a card’s link in quotes, a public key in quotes, or - for standard input',
    })
  }
  return parseIntroduction(text, word)
}

/** @throws {CliError} */
async function parseIntroduction(given: string, source: string): Promise<Given> {
  const text = given.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')
  if (text.includes('PRIVATE KEY-----'))
    throw new UsageError(`${source} is a private key`, { hint: 'never pass it on; the public key is in the .pub file' })
  const signed = CARD.exec(text)?.[0]
  if (signed !== undefined) return { kind: 'card', card: await readCard(() => parseCard(`${signed}\n`), source) }
  const card = await readCard(() => findCard(text), source)
  if (card !== undefined) return { kind: 'card', card }
  if (text.startsWith('asfaleia')) return { kind: 'card', card: await readCard(() => parseCard(text.trim()), source) }
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (lines.length > 1)
    throw new CliError(`${source} has ${lines.length} lines; expected one key`, { hint: 'pass the line with the key, in quotes' })
  return { kind: 'key', key: readPublicKey(dropOptions(lines[0] ?? ''), source) }
}

async function readCard<Found extends Card | undefined>(read: () => Promise<Found>, source: string): Promise<Found> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    throw new CliError(`${source}: ${error.message}`, { hint: 'nothing was changed; ask its owner for the card again' })
  }
}

/** Returns the key of a line as `type base64`, without its options and its comment. */
function dropOptions(line: string): string {
  const fields = parseKeyLine(Buffer.from(line))
  return typeof fields === 'string' ? line : Buffer.from(fields.key).toString('latin1')
}

async function readInput(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > MOST_BYTES) throw new CliError('standard input is too long for a card')
  }
  return text
}
