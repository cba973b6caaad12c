/**
 * What a person may give for somebody else: a card as text or link, a public key, a line of authorized_keys, or a file of
 * one of these. Reads no more than one, and takes nothing of it for granted but what is signed.
 */
import { CardError, parseCard } from '../../client/format/card.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Card } from '../../client/format/card.ts'
import { readText } from '../disk/file.ts'
import { readPublicKey } from '../disk/keyfile.ts'
import { CliError, UsageError } from '../program/error.ts'
import type { Io } from '../program/io.ts'

export type Given = { readonly kind: 'card'; readonly card: Card } | { readonly kind: 'key'; readonly key: SshKey }

const MOST_BYTES = 65_536
const KEY_TYPE = /^(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ /
/** In base64 every key's blob begins with the length of its type's name. */
const KEY = /(?:^|\s)(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA/
const LINK = /asfaleia:card\/\S+/
const CARD = /^asfaleia-card\/[^]*^-----END SSH SIGNATURE-----$/m

/**
 * @param word the card or key itself, a path, or `-` for standard input
 * @throws {CliError}
 */
export async function readIntroduction(word: string, io: Io): Promise<Given> {
  if (word === '-') return parseIntroduction(await readInput(io), 'standard input')
  if (word.startsWith('asfaleia:') || word.startsWith('asfaleia-card/') || KEY.test(word)) return parseIntroduction(word, 'that')
  const text = await readText(word, MOST_BYTES)
  if (text === undefined) {
    throw new CliError(`there is no file ${word}`, {
      hint: 'a card, its link in quotes, a .pub file, a line of authorized_keys in quotes, or - is wanted',
    })
  }
  return parseIntroduction(text, word)
}

/** @throws {CliError} */
async function parseIntroduction(given: string, what: string): Promise<Given> {
  const text = given.replaceAll('\r\n', '\n')
  if (text.includes('PRIVATE KEY-----'))
    throw new UsageError('that is a private key', { hint: 'it is its owner’s alone; the public one is in the .pub file' })
  const signed = CARD.exec(text)?.[0]
  const card = signed === undefined ? LINK.exec(text)?.[0] : `${signed}\n`
  if (card !== undefined || text.startsWith('asfaleia')) return { kind: 'card', card: await readCard(card ?? text.trim(), what) }
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (lines.length > 1) throw new CliError(`there are ${lines.length} lines in ${what}`, { hint: 'give the one that is wanted, in quotes' })
  return { kind: 'key', key: readPublicKey(dropOptions(lines[0] ?? ''), what) }
}

async function readCard(text: string, what: string): Promise<Card> {
  try {
    return await parseCard(text)
  } catch (error) {
    if (!(error instanceof CardError)) throw error
    throw new CliError(`${what}: ${error.message}`, { hint: 'nothing was taken from it; ask its owner for it again' })
  }
}

/** sshd(8), AUTHORIZED_KEYS FILE FORMAT: options stand before the key's type, without spaces but in double quotes. */
function dropOptions(line: string): string {
  if (KEY_TYPE.test(line)) return line
  // A backslash escapes a quote and nothing else. Each character can be read in one way alone, or a line could take years.
  const [options = ''] = /^(?:"(?:\\"|\\(?!")|[^"\\])*"|[^\s"])+\s+/.exec(line) ?? []
  return line.slice(options.length)
}

async function readInput(io: Io): Promise<string> {
  let text = ''
  for await (const chunk of io.stdin.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > MOST_BYTES) throw new CliError('standard input is too long for a card')
  }
  return text
}
