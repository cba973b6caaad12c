/** What is said, in our own words, of everything that can go wrong with a relay; nothing of it is the relay's. */
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { MessageError } from '../../client/format/message.ts'
import { MessengerError, type MessengerErrorCode } from '../../client/messenger/messenger.ts'
import { CliError } from '../program/error.ts'
import { EXIT, type ExitCode } from '../program/exit.ts'

interface Row {
  readonly exit: ExitCode
  readonly text: string
  readonly hint?: string
  /** Whether it may pass by itself: what `--follow` waits out. */
  readonly passes?: true
}

const TOR_HINT = 'start tor, or give the address of its SOCKS port: --socks HOST:PORT'
const ONION_HINT = 'check the address; a new onion service takes a minute to be known, and its relay has to run'

const ROWS: Record<RelayErrorCode, Row> = {
  'proxy-down': { exit: EXIT.unreachable, text: 'nobody listens at the SOCKS port', hint: TOR_HINT, passes: true },
  'proxy-failed': {
    exit: EXIT.unreachable,
    text: 'what listens at the SOCKS port is not tor',
    hint: 'it has to speak SOCKS5 with user name and password',
    passes: true,
  },
  'onion-not-found': { exit: EXIT.unreachable, text: 'tor does not find that onion service', hint: ONION_HINT, passes: true },
  'onion-unreachable': { exit: EXIT.unreachable, text: 'tor finds no way to that onion service', hint: ONION_HINT, passes: true },
  'onion-locked': {
    exit: EXIT.unreachable,
    text: 'that onion service wants client authorization',
    hint: 'ask its operator for a key, and give it to tor: `asfaleia onion add -`',
  },
  'onion-malformed': { exit: EXIT.unreachable, text: 'tor says that this is no onion address' },
  'onion-needs-tor': {
    exit: EXIT.usage,
    text: 'an onion address is reached through Tor only, and --socks off leaves Tor out: nothing was resolved or dialled',
    hint: 'leave out --socks off, run the command under torsocks, or, behind a transparent proxy, give --socks transparent',
  },
  'relay-down': { exit: EXIT.unreachable, text: 'nobody listens there', hint: 'is the relay running, at that port?', passes: true },
  unreachable: { exit: EXIT.unreachable, text: 'the relay cannot be reached', hint: 'check the address', passes: true },
  'connect-timeout': { exit: EXIT.unreachable, text: 'the relay was not reached in time', passes: true },
  closed: { exit: EXIT.unreachable, text: 'the relay ended the connection', passes: true },
  'no-answer': { exit: EXIT.unreachable, text: 'the relay did not answer in time', passes: true },
  timeout: { exit: EXIT.unreachable, text: 'the relay waited for us too long', passes: true },
  restarting: { exit: EXIT.unreachable, text: 'the relay is going down', passes: true },
  'not-ready': { exit: EXIT.unreachable, text: 'the relay does not know its onion name yet', hint: 'try again in a minute', passes: true },
  'rate-limited': { exit: EXIT.failed, text: 'the relay has too much to do', passes: true },
  'mailbox-full': {
    exit: EXIT.failed,
    text: 'the receiver has too many messages waiting',
    hint: 'nothing was sent; try again when they have read some',
  },
  'relay-full': { exit: EXIT.failed, text: 'the relay has no memory left for messages', hint: 'nothing was sent; try again later' },
  'too-large': { exit: EXIT.failed, text: 'the message is too large for this relay', hint: 'nothing was sent; send it in parts' },
  'taken-over': { exit: EXIT.failed, text: 'another program reads this mailbox now' },
  denied: {
    exit: EXIT.refused,
    text: 'the relay does not admit that key',
    hint: 'ask who runs it to admit the key, yours or the receiver’s',
  },
  'auth-failed': { exit: EXIT.refused, text: 'the relay did not take the proof of the key' },
  'bad-key': { exit: EXIT.refused, text: 'the relay says that the key is malformed or too weak' },
  'unsupported-key': { exit: EXIT.refused, text: 'the relay does not support that type of key' },
  'bad-token': { exit: EXIT.refused, text: 'the relay does not take its own token' },
  'wrong-name': {
    exit: EXIT.refused,
    text: 'the relay does not go by the name that was dialled',
    hint: 'dial the name that the relay prints at its start; it may also be another relay, or not one at all',
  },
  'hostile-challenge': {
    exit: EXIT.refused,
    text: 'the relay asked for an answer that could open your mail or log in elsewhere as you; it got none',
    hint: 'do not use this relay',
  },
  'broken-relay': { exit: EXIT.refused, text: 'what answers there does not speak asfaleia/1', hint: 'check address and port' },
  'wrong-usage': { exit: EXIT.refused, text: 'the relay did not understand us' },
  'unknown-packet': { exit: EXIT.refused, text: 'the relay did not understand us' },
  unknown: { exit: EXIT.refused, text: 'the relay refused, for a reason that this version does not know' },
}

const MESSENGER_ROWS: Record<MessengerErrorCode, [text: string, more?: { readonly hint: string }]> = {
  'outbox-full': ['too many messages are on their way', { hint: 'nothing was sent; try again when some have arrived' }],
  closed: ['interrupted'],
  'no-relay': ['that contact has no relay', { hint: 'ask for their card, or give --relay' }],
  'broken-store': [
    '`state/seen` of the profile is not what this program wrote',
    { hint: 'it is left as it is; move it away to go on without it' },
  ],
}

/** An error of the library, or of an interruption, as one of the command line; others are given back as they are. */
export function toCliError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return new CliError('interrupted')
  if (error instanceof MessengerError) return new CliError(...MESSENGER_ROWS[error.code])
  if (error instanceof MessageError) return new CliError(error.message)
  if (!(error instanceof RelayError)) return error
  const { exit, text, hint } = ROWS[error.code]
  const wait = error.seconds === undefined ? undefined : `come back in ${duration(error.seconds)}`
  const advice = [wait, hint].filter((part) => part !== undefined).join('; ')
  return new CliError(text, { exitCode: exit, ...(advice !== '' && { hint: advice }) })
}

export function mayPass(error: unknown): error is RelayError {
  return error instanceof RelayError && ROWS[error.code].passes === true
}

/** Seconds in the largest unit that they fill, rounded down: `7 days`, `1 hour`, `30 seconds`. */
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
