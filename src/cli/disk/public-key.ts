/** Reads public keys as people have them, in a file or in quotes. Every command reads them here. */
import { type KeyLine, parseKeyLine, readKeyOptions, splitLines } from '../../auth/key-line.ts'
import { findRsaFault } from '../../auth/rsa.ts'
import { parsePublicKey, type SshKey } from '../../auth/ssh-key.ts'
import { decodeBase64 } from '../../protocol/base64.ts'
import { ProtocolError } from '../../protocol/errors.ts'
import { CliError, UsageError } from '../program/error.ts'
import { quoteWord } from '../program/show.ts'
import { findKeyFormat } from './key-format.ts'

/** Where a text comes from. */
export interface Source {
  /** For errors: the path, or a name such as `standard input`. */
  readonly name: string
  readonly isFile?: boolean
  /** Whether the user wants the private key that belongs to it. */
  readonly wants?: 'private'
}

/** Whether a word of the command line is itself the line of a public key, and no path. */
export function isKeyText(word: string): boolean {
  return /(?:^|[\s\uFEFF])(?:ssh|ecdsa|sk)-[a-z0-9@.-]+[ \t]+\S/.test(word)
}

/**
 * Reads the one public key in a text, such as a `.pub` file or a line of authorized_keys. Drops the options of the line:
 * they are about the use of the key elsewhere.
 * @throws {CliError}
 */
export function readPublicKey(text: Uint8Array | string, source: Source): SshKey {
  const bytes = toBytes(text)
  refuseOther(bytes, source)
  refuseCard(bytes, source)
  const lines = findLines(bytes)
  const [only] = lines
  if (only === undefined) throw describeEmpty(bytes, source)
  if (lines.length > 1) {
    const host = lines.find((line) => isKnownHost(line.text))
    if (host !== undefined) return readLine(host, source, `line ${host.number}: `)
    const keys = lines.filter(({ fields }) => fields !== 'broken').length
    throw keys > 1
      ? new CliError(`${source.name} holds ${keys} keys; expected one`, { hint: 'pass the line with the right key, in quotes' })
      : new CliError(`${source.name} has ${lines.length} lines; expected one key`, {
          hint: 'a public key is one line; join it if an editor or a mail broke it, and remove all others',
        })
  }
  return readLine(only, source, '')
}

/**
 * Reads every public key in a text, one a line.
 * @param readOther reads a line that is in none of the formats of keys; it returns undefined if it cannot
 * @throws {CliError}
 */
export function readPublicKeys<Other = never>(
  text: Uint8Array | string,
  source: Source,
  readOther: (line: string) => Other | undefined = () => undefined,
): (SshKey | Other)[] {
  const bytes = toBytes(text)
  const others = [...splitLines(bytes)].map((line) => readOther(Buffer.from(line.text).toString('latin1')))
  if (others.every((other) => other === undefined)) refuseOther(bytes, source)
  const lines = findLines(bytes)
  if (lines.length === 0) throw describeEmpty(bytes, source)
  return lines.map((line) => others[line.number - 1] ?? readLine(line, source, `line ${line.number}: `))
}

function toBytes(text: Uint8Array | string): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text) : text
}

interface Found {
  readonly number: number
  readonly text: Uint8Array
  readonly fields: KeyLine | 'broken'
}

/** Finds the lines with content. */
function findLines(bytes: Uint8Array): readonly Found[] {
  return [...splitLines(bytes)].flatMap(({ number, text }): Found[] => {
    const fields = parseKeyLine(text)
    return fields === 'empty' ? [] : [{ number, text, fields }]
  })
}

/** @throws {CliError} if the text is a key in another format, or a private key although a public one is wanted */
export function refuseOther(bytes: Uint8Array, { name, isFile, wants }: Source): void {
  const format = findKeyFormat(bytes)
  if (format !== undefined) {
    const hint = wants === 'private' ? format.toPrivate : format.toPublic
    throw new CliError(`${name} is ${format.name}`, { hint: isFile === true ? hint.replaceAll('FILE', () => quoteWord(name)) : hint })
  }
  if (wants !== 'private' && Buffer.from(bytes).includes('PRIVATE KEY-----'))
    throw new UsageError(`${name} is a private key`, { hint: 'never pass it on; the public key is in the .pub file' })
}

/** @throws {CliError} if the text is a contact card, which has a key but is none */
function refuseCard(bytes: Uint8Array, { name, isFile, wants }: Source): void {
  if (!/^(?:\u{ef}\u{bb}\u{bf})?asfaleia(?:-card\/|:card\/)/u.test(Buffer.from(bytes.subarray(0, 32)).toString('latin1'))) return
  const add = `store it with \`asfaleia contact add ${isFile === true ? quoteWord(name) : 'CARD'}\`, then use the name of the contact`
  throw new CliError(`${name} is a contact card`, { hint: wants === 'private' ? 'name the file of your private key' : add })
}

function describeEmpty(bytes: Uint8Array, { name }: Source): CliError {
  return new CliError(bytes.length === 0 ? `${name} is empty` : `${name} contains no key`, { hint: FORM })
}

const FORM = 'a public key is one line: type, base64, and a comment, as in a .pub file'

/** @param at `line 7: `, or '' if the text has one line */
function readLine({ text, fields }: Found, { name, wants }: Source, at: string): SshKey {
  const refuse = (what: string, hint = FORM): CliError => new CliError(`${name}: ${at}${what}`, { hint })
  if (isKnownHost(text)) throw refuse('this is a line of known_hosts, which has the key of a server', 'ask the person for their own key')
  if (fields === 'broken') {
    if (at !== '') throw refuse('this is no public key')
    throw new CliError(`${name} does not hold a ${wants === 'private' ? 'key' : 'public key'}`, { hint: FORM })
  }
  const options = readKeyOptions(fields.options)
  if (typeof options === 'string') {
    throw options === 'unknown-option'
      ? refuse(
          'the line has an option that sshd does not know, or begins with the name of a server',
          'remove all words before the type of the key',
        )
      : refuse('the options before the key are malformed', 'remove all words before the type of the key')
  }
  if (options.some(({ name: option }) => option === 'cert-authority' || option === 'principals'))
    throw refuse('this is the key of an authority, and not of a person', 'ask the person for their own key')
  try {
    return parsePublicKey(fields.key)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw describeKey(fields.key, error.code, refuse)
  }
}

/** Whether a line has the form of known_hosts (sshd(8)): a marker, or a name with a dot, a port or a hash. */
function isKnownHost(text: Uint8Array): boolean {
  return /^(?:@\S+\s|\|1\||[^\s"=]*[.:[*?][^\s"=]*\s+(?:ssh|ecdsa|sk)-)/.test(Buffer.from(text).toString('latin1'))
}

const NEW_KEY = 'make another key: `ssh-keygen -t ed25519`'

function describeKey(key: Uint8Array, code: string, refuse: (what: string, hint?: string) => CliError): CliError {
  const [type = '', base64 = ''] = Buffer.from(key).toString('latin1').split(' ')
  if (code === 'unsupported-key') {
    return type.includes('-cert-')
      ? refuse('this is the certificate of a server, and not of a person', 'ask the person for their own key')
      : refuse(`keys of the type ${type} cannot be used`, NEW_KEY)
  }
  const blob = decodeBase64(Buffer.from(base64))
  if (blob === undefined) return refuse('the base64 of the key is damaged or cut off', 'copy the whole line again from the .pub file')
  switch (findRsaFault(blob)) {
    case 'rsa-size':
      return refuse('the size of the RSA key is not between 2,048 and 8,192 bits', NEW_KEY)
    case 'rsa-exponent':
      return refuse('the public exponent of the RSA key is not an odd number from 65,537 to 33 bits', NEW_KEY)
    case undefined:
      return refuse('the key is damaged or too weak', 'copy the whole line again from the .pub file')
  }
}
