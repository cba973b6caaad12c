/** `asfaleia send`: encrypts a text to somebody's SSH key and leaves it at a relay. */
import type { SshKey } from '../../auth/ssh-key.ts'
import { seal } from '../../client/envelope.ts'
import { CLIENT_CAPS } from '../../protocol/client-session.ts'
import { parseCommandLine } from '../arguments.ts'
import { DIAL_HELP, DIAL_OPTIONS, dialRelay, prepareDial } from '../dial.ts'
import { isPrivateKey, readKeyFile, readPublicKey } from '../keyfile.ts'
import { duration, toCliError } from '../refusal.ts'
import { CliError, EXIT, formatJson, type Io, UsageError } from '../terminal.ts'

const USAGE = 'asfaleia send --relay HOST[:PORT] --key FILE RECEIVER [TEXT]'

const HELP = `usage: ${USAGE}

Encrypts TEXT to RECEIVER, a public SSH key (ssh-ed25519 or ssh-rsa, in quotes) or a file of one, and leaves
it at the relay. Without TEXT, standard input is sent: prefer that where other people use the machine, since
the command line shows in \`ps\` and in the shell's history.

${DIAL_HELP}`

export async function run(argv: string[], io: Io): Promise<number> {
  const { values, positionals } = parseCommandLine(argv, DIAL_OPTIONS, USAGE)
  if (values.help === true) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  const [receiver, text, ...more] = positionals
  if (receiver === undefined) throw new UsageError('the receiver is missing', { hint: USAGE })
  if (more.length > 0) throw new UsageError('too many words', { hint: 'a key and a text with spaces in them want quotes' })
  const key = await readReceiver(receiver)
  const dial = await prepareDial(values, io, USAGE)
  const bytes = text === undefined ? await readInput(io) : Buffer.from(text)
  if (bytes.length === 0) throw new UsageError('there is no text to send')
  try {
    const payload = await seal(key, bytes)
    using client = await dialRelay(dial, io)
    checkSize(bytes.length, payload.length, client.limits.payload)
    const { seconds } = await client.sendSealed(key, payload)
    io.stdout.write(values.json === true ? `${formatJson({ held: seconds })}\n` : `held for ${duration(seconds)} at most\n`)
    return EXIT.ok
  } catch (error) {
    throw toCliError(error, io.signal)
  } finally {
    bytes.fill(0)
  }
}

/** A public key, or a file of one. @throws {CliError} */
async function readReceiver(receiver: string): Promise<SshKey> {
  if (receiver.startsWith('SHA256:')) {
    throw new UsageError('a fingerprint is not enough', { hint: 'nothing can be encrypted to it: the receiver’s public key is wanted' })
  }
  const key = /^\S+ \S/.test(receiver) && /^(?:ssh|ecdsa|sk)-/.test(receiver) ? readPublicKey(receiver, 'the receiver') : await readReceiverFile(receiver)
  if (!key.canDecrypt) {
    throw new CliError('the receiver’s key can sign, but not decrypt', { hint: 'ask for an ssh-ed25519 or ssh-rsa key' })
  }
  return key
}

async function readReceiverFile(path: string): Promise<SshKey> {
  const file = await readKeyFile(path)
  if (isPrivateKey(file)) throw new UsageError('the receiver is a private key', { hint: 'give the .pub file' })
  return readPublicKey(file.bytes.toString('latin1'), path)
}

/** Standard input, up to what no relay takes. @throws {CliError} */
async function readInput(io: Io): Promise<Buffer> {
  if (io.stdin.isTTY === true) io.stderr.write('write your message, and end it with Ctrl-D on an empty line\n')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    length += bytes.length
    if (length > CLIENT_CAPS.payload) throw new CliError('the text is too long for any relay')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

/** @throws {CliError} that says how much fits */
function checkSize(text: number, payload: number, limit: number): void {
  const most = Math.floor(limit / 4) * 3
  if (payload <= most) return
  // age's header takes some hundred bytes, which depend on the receiver's key.
  throw new CliError(`the text has ${text} bytes, and this relay takes ${Math.max(0, most - (payload - text))}`, {
    hint: 'nothing was sent; send it in parts',
  })
}
