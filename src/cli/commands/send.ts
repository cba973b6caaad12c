/** `asfaleia send`: writes to a contact, a group or a bare key, and says what became of it, and no more than is known. */
import type { SshKey } from '../../auth/ssh-key.ts'
import { fingerprintOf, isId } from '../../client/format/field.ts'
import { MessageError, roomFor } from '../../client/format/message.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { CLIENT_CAPS } from '../../protocol/limits.ts'
import { checkGiven } from '../profile/address.ts'
import { openCommandLine } from '../program/arguments.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { sendFile } from '../talk/departure.ts'
import { membersOf } from '../profile/groups.ts'
import { isPrivateKey, readKeyFile, readPublicKey } from '../disk/keyfile.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { duration, toCliError } from '../talk/refusal.ts'
import { codeOf, openTalk, type Talk, TALK_HELP, TALK_OPTIONS } from '../talk/talk.ts'
import { CliError, printProblem, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia send RECEIVER [TEXT]'

const HELP = `usage: asfaleia send RECEIVER [TEXT] [--wait[=SECONDS]] [--outbox] [--reply-to ID]
       asfaleia send RECEIVER --file FILE
       asfaleia send --relay HOST[:PORT] --key KEY RECEIVER [TEXT]

Writes to RECEIVER: a contact or a group of yours, or else a public SSH key (ssh-ed25519 or ssh-rsa, in quotes) or a file of
one, with --relay. Without TEXT, standard input is sent: prefer that where other people use the machine, since the command
line shows in \`ps\` and in the shell's history. Done is done when a relay holds it; with --wait, when the receiver has it.

  --wait[=SECONDS]      wait for the receiver's receipt, 60 seconds by default. Receives from your relays meanwhile, and
                        so takes your mailbox over from a \`get --follow\` or a chat
  --outbox              keep what no relay takes now on disk, encrypted to yourself: the next \`send\`, \`get\` or chat
                        with the outbox sends it
  --file FILE           send a file instead of a text, to one contact. Ends when the contact has all of it; the same command
                        after an interruption goes on where it ended
  --reply-to ID         the message that this answers, as \`get --json\` gives its id
  --relay HOST[:PORT]   the receiver's relay, for a bare key, or instead of a contact's; again for more. An onion
                        address, a loopback address or unix:PATH; port 3308 by default
${TALK_HELP}`

const WAIT_SECONDS = 60

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    ...TALK_OPTIONS,
    wait: { type: 'string' },
    outbox: { type: 'boolean' },
    file: { type: 'string' },
    'reply-to': { type: 'string' },
  } as const
  // An option whose value may be left off is none that node:util knows.
  const words = argv.map((word, index) => (word === '--wait' && !argv.slice(0, index).includes('--') ? `--wait=${WAIT_SECONDS}` : word))
  const given = openCommandLine(words, io, { usage: USAGE, help: HELP, options })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [receiver, text, ...more] = positionals
  if (receiver === undefined) throw new UsageError('the receiver is missing', { hint: USAGE })
  if (more.length > 0) throw new UsageError('too many words', { hint: 'a key, a name or a text with spaces in it wants quotes' })
  const wait = readWait(values.wait)
  const replyTo = values['reply-to']
  if (replyTo !== undefined && !isId(replyTo)) throw new UsageError('--reply-to wants a message’s id, 22 characters')
  const { relay: to, ...mine } = values
  const profile = await openProfile(io, mine)
  if (wait !== undefined && profile.relays.length === 0) {
    throw new UsageError('--wait wants relays of your own, where a receipt could come', {
      hint: '`asfaleia me --relay ADDRESS` says where you receive',
    })
  }
  const receivers = await findReceivers(profile, receiver, to)
  if (values.file !== undefined) {
    if (text !== undefined || replyTo !== undefined || values.outbox === true)
      throw new UsageError('--file goes without a text, --reply-to and --outbox')
    if (receivers.group !== undefined) throw new UsageError('a file goes to one contact')
    return sendFile(profile, receivers.contacts[0]!, { path: values.file, wait, json: values.json === true }, io)
  }
  const body = text ?? (await readInput(io))
  if (body === '') throw new UsageError('there is no text to send')
  const outbox = values.outbox === true || profile.outbox
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, { relays: wait === undefined ? [] : profile.relays, more: receivers.contacts, outbox })
    const { messenger } = talk
    const content = { type: 'text', text: body, ...(replyTo !== undefined && { replyTo }) } as const
    const send = { ...(receivers.group !== undefined && { group: receivers.group }) }
    const deliveries = receivers.contacts.map((contact) => messenger.send(contact, content, send))
    const shown = {
      room: roomFor(profile.identity.key),
      length: Buffer.byteLength(body),
      named: receivers.contacts.length > 1,
      outbox,
      wait,
      json: values.json === true,
      socks: profile.socks,
    }
    const codes = await Promise.all(deliveries.map((delivery) => settle(delivery, talk!, shown, io)))
    return codes.find((code) => code !== EXIT.ok && code !== EXIT.unconfirmed) ?? codes.find((code) => code !== EXIT.ok) ?? EXIT.ok
  } catch (error) {
    throw toCliError(error, io.signal)
  } finally {
    await talk?.close()
  }
}

function readWait(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const seconds = Number(value)
  if (!(seconds > 0 && seconds <= 1_000_000)) throw new UsageError('--wait wants a number of seconds', { hint: '--wait=SECONDS' })
  return seconds
}

interface Receivers {
  readonly contacts: readonly Contact[]
  /** A group's id. */
  readonly group?: string
}

/** A contact or a group by name, else a public key, or a file of one. @throws {CliError} */
async function findReceivers(profile: Profile, word: string, given: readonly string[] | undefined): Promise<Receivers> {
  const relays = given === undefined ? undefined : checkGiven(given)
  const contact = profile.book.get(word)
  if (contact !== undefined) return { contacts: [relays === undefined ? contact : { ...contact, relays }] }
  const known = profile.groups.get(word)
  if (known !== undefined) {
    const own = fingerprintOf(profile.identity.key)
    if (!known.group.members.some(({ key }) => fingerprintOf(key) === own)) throw new CliError('you are not in that group any more')
    const members = membersOf(known).filter(({ key }) => fingerprintOf(key) !== own)
    const contacts = members.map((card) => profile.book.contactOf(card))
    if (contacts.length === 0) throw new CliError('nobody else is in that group')
    return { contacts, group: known.group.id }
  }
  const broken = [...profile.book.problems, ...profile.groups.problems].find(({ name }) => name === word)
  if (broken !== undefined) throw broken.error
  const key = await readReceiver(word)
  if (relays === undefined)
    throw new UsageError('--relay is missing: a bare key says no relay', { hint: 'or take its owner up: `asfaleia contact add`' })
  return { contacts: [{ name: 'receiver', key, relays }] }
}

async function readReceiver(receiver: string): Promise<SshKey> {
  if (receiver.startsWith('SHA256:')) {
    throw new UsageError('a fingerprint is not enough', { hint: 'nothing can be encrypted to it: the receiver’s public key is wanted' })
  }
  const key = /^(?:ssh|ecdsa|sk)-\S+ \S/.test(receiver) ? readPublicKey(receiver, 'the receiver') : await readReceiverFile(receiver)
  if (!key.canDecrypt) {
    throw new CliError('the receiver’s key can sign, but not decrypt', {
      hint: 'ask for their card, and take it up: `asfaleia contact add`',
    })
  }
  return key
}

async function readReceiverFile(path: string): Promise<SshKey> {
  let file
  try {
    file = await readKeyFile(path)
  } catch (error) {
    if (!(error instanceof CliError) || /[/.]/.test(path)) throw error
    throw new CliError(`there is no contact, group or key file ${path}`, { hint: '`asfaleia contact list` shows whom you know' })
  }
  if (isPrivateKey(file)) throw new UsageError('the receiver is a private key', { hint: 'give the .pub file' })
  return readPublicKey(file.bytes.toString('latin1'), path)
}

/** Standard input as text, up to what no relay takes. @throws {CliError} */
async function readInput(io: Io): Promise<string> {
  if (io.stdin.isTTY === true) io.stderr.write('write your message, and end it with Ctrl-D on an empty line\n')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    length += bytes.length
    if (length > CLIENT_CAPS.payload) throw new CliError('the text is too long for any relay')
    chunks.push(bytes)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new CliError('that is no text in UTF-8')
  }
}

interface Shown {
  readonly room: number
  readonly length: number
  /** More than one receiver: each line says whose it is. */
  readonly named: boolean
  readonly outbox: boolean
  readonly wait: number | undefined
  readonly json: boolean
  readonly socks: string | undefined
}

/** Waits for what is to be known of one message, and says it. @returns the exit code */
async function settle(delivery: Delivery, talk: Talk, shown: Shown, io: Io): Promise<number> {
  let refusal: unknown
  await Promise.race([delivery.accepted, talk.refused(delivery).then((error) => (refusal = error))])
  io.signal.throwIfAborted()
  const isHeld = delivery.held
  if (isHeld && shown.wait !== undefined) await Promise.race([delivery.settled, pause(shown.wait * 1_000, io.signal)])
  io.signal.throwIfAborted()
  const { state, to, id, relay } = delivery
  const held = relay === undefined ? undefined : talk.holds(relay)
  const kept = !isHeld && shown.outbox && state === 'waiting'
  if (shown.json) {
    const outcome = isHeld || kept ? {} : { error: codeOf(delivery.error) }
    io.stdout.write(
      `${formatJson({ id, to: to.name, state, ...(isHeld && held !== undefined && { held, relay }), ...(kept && { kept: true }), ...outcome })}\n`,
    )
  }
  const prefix = shown.named ? `${sanitizeLine(to.name)}: ` : ''
  const say = (text: string): void => void (shown.json || io.stdout.write(`${prefix}${text}\n`))
  if (state === 'delivered' || state === 'read') {
    say(state)
    return EXIT.ok
  }
  if (isHeld) {
    say(held === undefined ? 'held by a relay' : `held for ${duration(held)} at most`)
    if (shown.wait === undefined) return EXIT.ok
    io.stderr.write(
      `asfaleia: ${prefix}no receipt came in ${duration(shown.wait)}: the relay holds it, and whether it was read is not known\n`,
    )
    return EXIT.unconfirmed
  }
  const error = await describeFailure(refusal ?? delivery.error, shown, io)
  if (kept) {
    say('kept in the outbox, not sent yet')
    io.stderr.write(`asfaleia: ${prefix}${error instanceof CliError ? sanitizeLine(error.message) : 'no relay took it'}\n`)
    return EXIT.unconfirmed
  }
  if (!shown.named) throw error
  const { message, hint, exitCode } =
    error instanceof CliError ? error : { message: 'internal error', hint: undefined, exitCode: EXIT.internal }
  printProblem(io, `${to.name}: ${message}`, hint)
  return exitCode
}

async function describeFailure(error: unknown, { room, length, socks }: Shown, io: Io): Promise<unknown> {
  if (!(error instanceof MessageError) || error.code !== 'too-large') return diagnose(error, io, socks)
  return new CliError(`the text has ${length} bytes, and a message takes ${room}`, {
    hint: 'nothing was sent; send it in parts, or as a file',
  })
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done, { once: true })
  })
}
