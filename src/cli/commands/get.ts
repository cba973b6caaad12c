/**
 * `asfaleia get`: fetches what waits, decrypts and shows it. A message is acknowledged only after it was
 * written to stdout. One that does not open is said and acknowledged, too: anybody can send junk, which
 * must not fill the mailbox for good, and a relay must not learn from our ACKs what opens with our key.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RelayClient } from '../../client/client.ts'
import { backoff } from '../../client/backoff.ts'
import { RelayError } from '../../client/error.ts'
import type { Message } from '../../protocol/client-session.ts'
import { parseCommandLine } from '../arguments.ts'
import { type Dial, DIAL_HELP, DIAL_OPTIONS, dialRelay, prepareDial } from '../dial.ts'
import { duration, mayPass, toCliError } from '../refusal.ts'
import { CliError, EXIT, formatJson, type Io, sanitize, UsageError } from '../terminal.ts'

const USAGE = 'asfaleia get --relay HOST[:PORT] --key FILE [--follow]'

const HELP = `usage: ${USAGE}

Shows the messages that wait for your key, and has the relay erase them. What could confuse a terminal stands
as \\u{…}. With --json a line is {"id", "text"}, {"id", "base64"} where the text is no UTF-8, or
{"id", "unreadable": true} where it does not open with your key; the id tells a message that comes twice.

  --follow              go on showing messages as they come, through lost connections, until Ctrl-C
${DIAL_HELP}`

/** A connection that held so long, ms, was a good one: the next wait is short again. */
const HELD_MS = 60_000

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { ...DIAL_OPTIONS, follow: { type: 'boolean' } } as const
  const { values, positionals } = parseCommandLine(argv, options, USAGE)
  if (values.help === true) {
    io.stdout.write(HELP)
    return EXIT.ok
  }
  if (positionals.length > 0) throw new UsageError('too many words', { hint: USAGE })
  const dial = await prepareDial(values, io, USAGE)
  if (dial.identity.opens.length === 0) {
    throw new CliError('that key can sign, but not decrypt: no message can be for it', { hint: 'use an ssh-ed25519 or ssh-rsa key' })
  }
  const show = createShow(io, values.json === true)
  // Its failures reject the write; without a listener they would end the process as well.
  io.stdout.on('error', () => {})
  try {
    if (values.follow === true) await follow(dial, io, show)
    else await fetchAll(dial, io, show)
    return EXIT.ok
  } catch (error) {
    if (values.follow === true && io.signal.aborted) return EXIT.ok
    throw toCliError(error, io.signal)
  }
}

type Show = (client: RelayClient, message: Message) => Promise<void>

async function fetchAll(dial: Dial, io: Io, show: Show): Promise<void> {
  using client = await dialRelay(dial, io)
  let shown = 0
  for (;;) {
    const { messages, waiting } = await client.get()
    for (const message of messages) await show(client, message)
    if (messages.length > 0) await client.ack(messages.map(({ id }) => id))
    shown += messages.length
    // A relay that says that some wait and gives none would keep us here.
    if (waiting === 0 || messages.length === 0) break
  }
  if (shown === 0) io.stderr.write('asfaleia: no messages wait\n')
}

/** Ends only by an error: the first connection has to succeed, later ones are tried again. */
async function follow(dial: Dial, io: Io, show: Show): Promise<never> {
  let wasUp = false
  let failures = 0
  for (;;) {
    const since = performance.now()
    try {
      using client = await dialRelay(dial, io)
      await client.login()
      wasUp = true
      for await (const message of client.subscribe()) {
        await show(client, message)
        failures = 0
        // Not waited for: over Tor that would be a second for each message. What is lost comes again.
        client.ack([message.id]).catch((error: unknown) => client.close(error))
      }
      throw new RelayError('closed')
    } catch (error) {
      if (io.signal.aborted || !wasUp || !mayPass(error)) throw error
      failures = performance.now() - since > HELD_MS ? 1 : failures + 1
      const pause = backoff(failures, Math.random(), error.seconds)
      const { message } = toCliError(error, io.signal) as CliError
      io.stderr.write(`asfaleia: ${message}; trying again in ${duration(Math.ceil(pause / 1_000))}\n`)
      await sleep(pause, undefined, { signal: io.signal })
    }
  }
}

function createShow(io: Io, json: boolean): Show {
  return async (client, message) => {
    const text = await client.open(message)
    if (json) return write(io, `${formatJson(describe(message, text))}\n`)
    if (text === undefined) {
      io.stderr.write('asfaleia: a message that does not open with this key was dropped\n')
      return
    }
    const shown = sanitize(new TextDecoder('utf-8', { ignoreBOM: true }).decode(text))
    await write(io, shown.endsWith('\n') ? shown : `${shown}\n`)
  }
}

function describe({ id }: Message, text: Uint8Array | undefined): object {
  if (text === undefined) return { id, unreadable: true }
  try {
    return { id, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text) }
  } catch {
    return { id, base64: Buffer.from(text).toString('base64') }
  }
}

/** Resolves when the bytes were handed to the system. @throws {CliError} if nobody takes them */
function write(io: Io, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    io.stdout.write(text, (error) => {
      if (error) reject(new CliError('stdout is closed', { hint: 'messages that were not shown wait still' }))
      else resolve()
    })
  })
}
