/**
 * `asfaleia send`: sends a message to a contact, a group or a key, and reports what the client knows about its
 * delivery.
 */
import { fingerprintOf, isId } from '../../client/format/field.ts'
import { EXPIRES, MessageError, roomFor } from '../../client/format/message.ts'
import type { Content } from '../../client/format/content.ts'
import type { Delivery } from '../../client/messenger/delivery.ts'
import { CLIENT_CAPS } from '../../protocol/limits.ts'
import { readCommandLine } from '../program/arguments.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { sendFile } from '../talk/departure.ts'
import { openProfile } from '../profile/profile.ts'
import { duration } from '../../wording/figures.ts'
import { toCliError } from '../talk/refusal.ts'
import { cardOf, findReceivers } from '../talk/receiver.ts'
import { codeOf, LOGIN_OPTIONS, openTalk, type Talk } from '../talk/talk.ts'
import { PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { CliError, printProblem, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { showName } from '../../wording/name.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { parseSpan } from '../program/span.ts'

export const page = {
  name: 'send',
  words: ['RECEIVER', '[TEXT]'],
  usages: [
    'send RECEIVER [TEXT] [--wait [SECONDS]] [--outbox] [--reply-to ID] [--expires SPAN] [--name NAME] [--to-key]',
    'send RECEIVER --file FILE [--wait [SECONDS]]',
    'send RECEIVER --card CONTACT',
    'send RECEIVER [TEXT] --relay ADDRESS --key KEY',
  ],
  options: {
    wait: {
      value: 'SECONDS',
      implied: '60',
      about: 'wait for the receipt of the receiver, 60 seconds if no number follows',
    },
    outbox: { about: 'if no relay stores the message now, keep it encrypted on disk; the next send, get or chat with the outbox sends it' },
    file: {
      value: 'FILE',
      about: 'send a file to a contact, and exit when the contact has all of it. After an interruption, the same command resumes',
    },
    card: { value: 'CONTACT', about: 'send the card of a contact, to introduce them to RECEIVER' },
    name: { value: 'NAME', about: 'what you call a new contact, instead of the name on the card' },
    'reply-to': { value: 'ID', about: 'the message that this one answers, by its id in `get --json`' },
    expires: {
      value: 'SPAN',
      about:
        'ask the receiver to erase the message this long after it was read: 5s to 90d, such as 1h; `off` for never. By default as `/expires` in the chat says',
    },
    'to-key': {
      about: `encrypt to the SSH key of the receiver, also if there is a newer key that is erased after use: a thief of the SSH key who
        recorded the message can read it. For a receiver whose program cannot publish newer keys`,
    },
    relay: {
      value: 'ADDRESS',
      about: "the receiver's relay, for a key without a card or instead of the card's: HOST.onion[:PORT], a loopback address or unix:PATH",
      multiple: true,
    },
    ...LOGIN_OPTIONS,
    json: { about: 'print one JSON object a line' },
  },
  variables: PASSPHRASE_VARIABLE,
  text: `
    Sends a message to RECEIVER: a contact, a group, the link of a card, the sender of a contact request, or a public SSH key
    (ssh-ed25519 or ssh-rsa) in quotes or in a file, with --relay. The person of a link or a request becomes a contact, not verified
    yet, under the name on the card. Until a contact has answered or confirmed a message, messages to them carry your card, so that
    they can answer.

    Without TEXT, sends standard input. Prefer that if other people use this machine: they can see the command line in \`ps\`, and the
    shell stores it.

    Exits once a relay has stored the message; with --wait, once the receiver confirms it. If RECEIVER has addresses at two relays, gives
    the second relay 10 seconds to store the message, too.`,
  examples: [
    ['send a message to Bob', "asfaleia send bob 'the kettle is on'"],
    ['write to a person who is not a contact yet', "asfaleia send asfaleia:card/2:name=Bob,key=… 'hello'"],
    ['send standard input, and wait 5 seconds for the receipt', 'echo hello | asfaleia send bob --wait 5'],
    ['send a message that disappears an hour after it was read', "asfaleia send bob --expires 1h 'the code is 4711'"],
    ['send a file', 'asfaleia send bob --file photo.jpg'],
  ],
} as const satisfies Page

/** How long the command waits for a second relay to store the message, ms. */
const COPY_MS = 10_000

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, words } = given
  const [receiver, text] = words
  const wait = readWait(values.wait)
  const replyTo = values['reply-to']
  if (replyTo !== undefined && !isId(replyTo))
    throw new UsageError('--reply-to: expected the id of a message, 22 characters', { hint: '`asfaleia get --json` shows the ids' })
  const span = readExpires(values.expires)
  const { relay: to, ...mine } = values
  const profile = await openProfile(io, mine)
  if (wait !== undefined && profile.relays.length === 0) {
    throw new UsageError('--wait needs a relay at which you receive the receipt, and your profile names none', {
      hint: 'store one with `asfaleia me --relay ADDRESS`',
    })
  }
  const found = await findReceivers(profile, receiver, to, io)
  if (values.file !== undefined) {
    if (
      text !== undefined ||
      replyTo !== undefined ||
      values.outbox === true ||
      values.card !== undefined ||
      span !== undefined ||
      values['to-key'] === true
    )
      throw new UsageError('--file does not go together with a text, --card, --reply-to, --outbox, --expires or --to-key', {
        hint: given.hint,
      })
    const receivers = await found.settle(values.name)
    if (receivers.group !== undefined) throw new UsageError('--file: a file can be sent to one contact, not to a group')
    return sendFile(profile, receivers.contacts[0]!, { path: values.file, wait, json: values.json === true, socks: values.socks }, io)
  }
  if (values.card !== undefined && (text !== undefined || replyTo !== undefined))
    throw new UsageError('--card does not go together with a text or --reply-to', { hint: given.hint })
  const card = values.card === undefined ? undefined : cardOf(profile, values.card)
  const body = card ?? text ?? (await readInput(io))
  if (body === '') throw new UsageError('the text is empty', { hint: given.hint })
  const receivers = await found.settle(values.name)
  const outbox = values.outbox === true || profile.outbox
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, {
      what: 'send',
      relays: wait === undefined ? [] : profile.relays,
      more: receivers.contacts,
      outbox,
      socks: values.socks,
    })
    const { messenger } = talk
    const content: Content =
      card === undefined ? { type: 'text', text: body, ...(replyTo !== undefined && { replyTo }) } : { type: 'card', card }
    const conversation = receivers.conversation ?? fingerprintOf(receivers.contacts[0]!.key)
    const expires = span === undefined ? profile.rules.expiresOf(conversation) : span === 'off' ? undefined : span
    const send = {
      ...(receivers.group !== undefined && { group: receivers.group }),
      ...(expires !== undefined && { expires }),
      spread: receivers.contacts.length > 1,
      toKey: values['to-key'] === true,
    }
    if (values['to-key'] === true)
      io.stderr.write('asfaleia: encrypted to the SSH key: a thief of that key who recorded the message can read it\n')
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
  if (!(seconds > 0 && seconds <= 1_000_000)) throw new UsageError('--wait: expected a number of seconds, such as --wait 5')
  return seconds
}

/** @returns seconds */
function readExpires(value: string | undefined): number | 'off' | undefined {
  if (value === undefined || value === 'off') return value
  const seconds = parseSpan(value, EXPIRES.least, EXPIRES.most)
  if (seconds === undefined) throw new UsageError('--expires: expected a time from 5s to 90d, such as 30m, 1h or 7d, or off')
  return seconds
}

/** Reads standard input as text, up to the size that no relay accepts. @throws {CliError} */
async function readInput(io: Io): Promise<string> {
  if (io.stdin.isTTY === true) io.stderr.write('write your message; end it with Ctrl-D on an empty line\n')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    length += bytes.length
    if (length > CLIENT_CAPS.payload) throw new CliError('the text is too long for any relay', { hint: 'send it as a file: --file FILE' })
    chunks.push(bytes)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new CliError('standard input is not UTF-8 text', { hint: 'send other data with --file' })
  }
}

interface Shown {
  readonly room: number
  readonly length: number
  /** Whether there are several receivers, so that each line begins with a name. */
  readonly named: boolean
  readonly outbox: boolean
  readonly wait: number | undefined
  readonly json: boolean
  readonly socks: string | undefined
}

/** Waits for the outcome of one message, and prints it. @returns the exit code */
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
  const prefix = shown.named ? `${showName(to.name)}: ` : ''
  const say = (text: string): void => void (shown.json || io.stdout.write(`${prefix}${text}\n`))
  if (state === 'delivered' || state === 'read') {
    say(state)
    return EXIT.ok
  }
  if (isHeld) {
    say(held === undefined ? 'stored by a relay' : `stored by a relay for up to ${duration(held)}`)
    if (delivery.relays.length > 1)
      await talk.messenger.flush({ signal: AbortSignal.any([io.signal, AbortSignal.timeout(COPY_MS)]) }).catch(() => {})
    if (shown.wait === undefined) return EXIT.ok
    io.stderr.write(
      `asfaleia: ${prefix}no receipt within ${duration(shown.wait)}: the relay has the message, but the receiver has not confirmed it\n`,
    )
    return EXIT.unconfirmed
  }
  const error = await describeFailure(refusal ?? delivery.error, relay, shown, io)
  if (kept) {
    say('kept in the outbox, not sent yet')
    io.stderr.write(`asfaleia: ${prefix}${error instanceof CliError ? sanitizeLine(error.message) : 'no relay stored the message'}\n`)
    return EXIT.unconfirmed
  }
  if (!shown.named) throw error
  const { message, hint, exitCode } =
    error instanceof CliError ? error : { message: 'internal error', hint: undefined, exitCode: EXIT.internal }
  printProblem(io, `${showName(to.name)}: ${message}`, hint)
  return exitCode
}

async function describeFailure(error: unknown, relay: string | undefined, { room, length, socks }: Shown, io: Io): Promise<unknown> {
  if (!(error instanceof MessageError) || error.code !== 'too-large') return diagnose(error, io, socks, relay)
  return new CliError(`the text has ${length} bytes, but a message holds at most ${room}`, {
    hint: 'nothing was sent; send the text in parts, or as a file with --file',
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
