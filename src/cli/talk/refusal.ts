/** Describes every error of a relay and of the messenger, and the state of the clock, for people. The texts contain no bytes from the relay. */
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { MessageError } from '../../client/format/message.ts'
import { MessengerError, type MessengerErrorCode } from '../../client/messenger/error.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import { CliError } from '../program/error.ts'
import { EXIT, type ExitCode } from '../program/exit.ts'

interface Row {
  readonly exit: ExitCode
  readonly text: string
  readonly hint?: string
  /** The error may pass by itself: `--follow` tries again. */
  readonly passes?: true
}

const TOR_HINT = 'start tor, or name its SOCKS port with --socks HOST:PORT'
const ONION_HINT = 'check the address, and that the relay is running; a new onion service takes a minute to become reachable'

const ROWS: Record<RelayErrorCode, Row> = {
  'proxy-down': { exit: EXIT.unreachable, text: 'nothing listens at the SOCKS port', hint: TOR_HINT, passes: true },
  'proxy-failed': {
    exit: EXIT.unreachable,
    text: 'the program at the SOCKS port is not tor',
    hint: 'it must speak SOCKS5 with user name and password; name tor’s port with --socks HOST:PORT',
    passes: true,
  },
  'onion-not-found': { exit: EXIT.unreachable, text: 'tor cannot find the onion service', hint: ONION_HINT, passes: true },
  'onion-unreachable': { exit: EXIT.unreachable, text: 'tor cannot reach the onion service', hint: ONION_HINT, passes: true },
  'onion-locked': {
    exit: EXIT.unreachable,
    text: 'the onion service requires client authorization',
    hint: 'ask its operator for an invite, and use it with `asfaleia join -`',
  },
  'onion-malformed': { exit: EXIT.unreachable, text: 'tor does not accept the onion address', hint: 'check the address' },
  'relay-down': {
    exit: EXIT.unreachable,
    text: 'nothing listens at the address of the relay',
    hint: 'check the address and its port, and that the relay is running',
    passes: true,
  },
  'onion-relay-down': {
    exit: EXIT.unreachable,
    text: 'the onion service is there, but its relay does not answer',
    hint: 'its operator has to start the relay; or check the port in the address',
    passes: true,
  },
  'onion-needs-tor': {
    exit: EXIT.usage,
    text: 'only Tor can reach an onion address, and --socks off disables Tor: nothing was resolved or dialled',
    hint: 'leave out --socks off, run the command under torsocks, or, behind a transparent proxy, give --socks transparent',
  },
  unreachable: { exit: EXIT.unreachable, text: 'the relay cannot be reached', hint: 'check the address', passes: true },
  'connect-timeout': { exit: EXIT.unreachable, text: 'timed out while connecting to the relay', passes: true },
  closed: { exit: EXIT.unreachable, text: 'the relay closed the connection', passes: true },
  'no-answer': { exit: EXIT.unreachable, text: 'the relay did not answer in time', passes: true },
  timeout: { exit: EXIT.unreachable, text: 'the relay closed the connection, because this client was too slow', passes: true },
  restarting: { exit: EXIT.unreachable, text: 'the relay is going down', passes: true },
  'not-ready': { exit: EXIT.unreachable, text: 'the relay does not know its onion name yet', hint: 'try again in a minute', passes: true },
  'rate-limited': { exit: EXIT.failed, text: 'the relay limits the rate of requests', passes: true },
  'mailbox-full': {
    exit: EXIT.failed,
    text: 'the mailbox of the receiver is full',
    hint: 'nothing was sent; try again when they have read some messages',
  },
  'relay-full': { exit: EXIT.failed, text: 'the relay has no memory left for messages', hint: 'nothing was sent; try again later' },
  'too-large': { exit: EXIT.failed, text: 'the message is too large for this relay', hint: 'nothing was sent; split it into smaller ones' },
  'taken-over': { exit: EXIT.failed, text: 'another client has taken over this mailbox' },
  denied: {
    exit: EXIT.refused,
    text: 'the relay does not admit that key',
    hint: 'ask its operator to admit your key, or the receiver’s',
  },
  'auth-failed': { exit: EXIT.refused, text: 'the relay rejected the proof of the key' },
  'bad-key': { exit: EXIT.refused, text: 'the relay says that the key is malformed or too weak' },
  'unsupported-key': { exit: EXIT.refused, text: 'the relay does not support that type of key' },
  'bad-token': { exit: EXIT.refused, text: 'the relay rejects the token that it issued' },
  'wrong-name': {
    exit: EXIT.refused,
    text: 'the relay does not go by the name that you dialled',
    hint: 'use the address that the relay prints at startup; if you did, this is another relay, or an impostor',
  },
  'hostile-challenge': {
    exit: EXIT.refused,
    text: 'the relay sent a challenge whose answer could decrypt your messages or log in elsewhere as you; the client refused',
    hint: 'do not use this relay',
  },
  'broken-relay': {
    exit: EXIT.refused,
    text: 'the server at that address does not speak asfaleia/1',
    hint: 'check the address and its port',
  },
  'wrong-usage': { exit: EXIT.refused, text: 'the relay did not understand the request' },
  'unknown-packet': { exit: EXIT.refused, text: 'the relay did not understand the request' },
  unknown: { exit: EXIT.refused, text: 'the relay refused, for a reason that this version does not know' },
}

const MESSENGER_ROWS: Record<MessengerErrorCode, [text: string, more?: { readonly hint: string }]> = {
  'outbox-full': ['the outbox is full', { hint: 'nothing was sent; try again when some messages have arrived' }],
  closed: ['interrupted'],
  'no-relay': ['the contact has no relay', { hint: 'ask for their card, or name a relay with --relay' }],
  undelivered: ['the relay announced more messages than it delivered', { hint: 'try again later' }],
  'broken-store': [
    'the file `state/seen` of the profile is damaged',
    { hint: 'it was left untouched; to continue without it, move it away' },
  ],
}

/** Turns an error of the library, or an interruption, into one of the command line. Returns other errors unchanged. */
export function toCliError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return new CliError('interrupted')
  if (error instanceof MessengerError) return new CliError(...MESSENGER_ROWS[error.code])
  if (error instanceof MessageError) return new CliError(error.message)
  if (!(error instanceof RelayError)) return error
  const { exit, text, hint } = ROWS[error.code]
  const wait = error.seconds === undefined ? undefined : `try again in ${duration(error.seconds)}`
  const advice = [wait, hint].filter((part) => part !== undefined).join('; ')
  return new CliError(text, { exitCode: exit, ...(advice !== '' && { hint: advice }) })
}

/** Whether the error may pass by itself. */
export function mayPass(error: unknown): error is RelayError {
  return error instanceof RelayError && ROWS[error.code].passes === true
}

/** Formats seconds in the largest unit that they fill, rounded down: `7 days`, `1 hour`, `30 seconds`. */
export function duration(seconds: number): string {
  for (const [size, unit] of [
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
  ] as const) {
    const count = Math.floor(seconds / size)
    if (count >= 1) return `${count} ${unit}${count === 1 ? '' : 's'}`
  }
  return `${seconds} second${seconds === 1 ? '' : 's'}`
}

/** Says how the clock of this machine seems to be wrong. @param now ms since 1970 */
export function describeClock(event: Extract<MessengerEvent, { kind: 'clock' }>, now: number): string {
  const says = `check the clock of this machine: it says ${new Date(now).toISOString().slice(0, 16).replace('T', ' ')} UTC`
  if (event.off === 'was-ahead')
    return `the clock of this machine was wrong before, so messages from until now may be marked as old; ${says}`
  return `the messages of several contacts are dated ${duration(event.by)} ${event.off === 'behind' ? 'in the future' : 'in the past'}; ${says}`
}
