/** Turns every error of a relay and of the messenger into one of the command line, with an exit code and a hint. */
import { RelayError, type RelayErrorCode } from '../../client/wire/error.ts'
import { MessageError } from '../../client/format/message.ts'
import { MessengerError, type MessengerErrorCode } from '../../client/messenger/error.ts'
import { duration } from '../../wording/figures.ts'
import { describeRelayError, MESSENGER_ERRORS, RELAY_ERRORS } from '../../wording/refusal.ts'
import { CliError } from '../program/error.ts'
import { EXIT, type ExitCode } from '../program/exit.ts'
import { quoteWord, sanitizeLine } from '../program/show.ts'

interface Row {
  readonly exit: ExitCode
  readonly hint?: string
}

const TOR_HINT = 'start tor, or name its SOCKS port with --socks HOST:PORT'
const ONION_HINT = 'check the address, and that the relay is running; a new onion service takes a minute to become reachable'

/** A relay that admits a list of keys refuses the inbox, the addresses and the throwaway secrets that hide the user. */
const MEMBERS_HINT =
  'if it admits only keys that it knows, run `asfaleia me --member RELAY`: your client then shows your SSH key to this relay; ask its ' +
  'operator to admit that key, or the receiver’s'
const OLD_HINT =
  'ask its operator for a newer version; or run `asfaleia me --member RELAY`: your client then shows your SSH key to this relay'

const ROWS: Record<RelayErrorCode, Row> = {
  'proxy-down': { exit: EXIT.unreachable, hint: TOR_HINT },
  'proxy-failed': {
    exit: EXIT.unreachable,
    hint: 'it must speak SOCKS5 with user name and password; name tor’s port with --socks HOST:PORT',
  },
  'onion-not-found': { exit: EXIT.unreachable, hint: ONION_HINT },
  'onion-unreachable': { exit: EXIT.unreachable, hint: ONION_HINT },
  'onion-locked': { exit: EXIT.unreachable, hint: 'ask its operator for an invite, and use it with `asfaleia join -`' },
  'onion-malformed': { exit: EXIT.unreachable, hint: 'check the address' },
  'relay-down': { exit: EXIT.unreachable, hint: 'check the address and its port, and that the relay is running' },
  'onion-relay-down': { exit: EXIT.unreachable, hint: 'its operator has to start the relay; or check the port in the address' },
  'onion-needs-tor': {
    exit: EXIT.usage,
    hint: 'leave out --socks off, run the command under torsocks, or, behind a transparent proxy, give --socks transparent',
  },
  unreachable: { exit: EXIT.unreachable, hint: 'check the address' },
  'connect-timeout': { exit: EXIT.unreachable },
  closed: { exit: EXIT.unreachable },
  'no-answer': { exit: EXIT.unreachable },
  timeout: { exit: EXIT.unreachable },
  restarting: { exit: EXIT.unreachable },
  'not-ready': { exit: EXIT.unreachable, hint: 'try again in a minute' },
  'rate-limited': { exit: EXIT.failed },
  'mailbox-full': { exit: EXIT.failed, hint: 'nothing was sent; try again when they have read some messages' },
  'relay-full': { exit: EXIT.failed, hint: 'nothing was sent; try again later' },
  'too-large': { exit: EXIT.failed, hint: 'nothing was sent; split it into smaller ones' },
  'no-bundle': { exit: EXIT.unconfirmed, hint: 'try again later; with `outbox: yes` in your profile the message is kept until then' },
  'old-bundle': {
    exit: EXIT.unconfirmed,
    hint: 'check the clock of this machine, and ask the receiver to run `asfaleia get`; with `outbox: yes` in your profile the message is kept until then',
  },
  'taken-over': { exit: EXIT.failed },
  denied: { exit: EXIT.refused, hint: MEMBERS_HINT },
  'auth-failed': { exit: EXIT.refused },
  'bad-key': { exit: EXIT.refused },
  'unsupported-key': { exit: EXIT.refused },
  'bad-token': { exit: EXIT.refused },
  'wrong-name': {
    exit: EXIT.refused,
    hint: 'use the address that the relay prints at startup; if you did, this is another relay, or an impostor',
  },
  'hostile-challenge': { exit: EXIT.refused, hint: 'do not use this relay' },
  'broken-relay': { exit: EXIT.refused, hint: 'check the address and its port' },
  'wrong-usage': { exit: EXIT.refused },
  'unknown-packet': { exit: EXIT.refused, hint: OLD_HINT },
  unknown: { exit: EXIT.refused },
}

/** What a command adds to the text of the error, or says instead of it. */
const MESSENGER_ROWS: Partial<Record<MessengerErrorCode, { readonly text?: string; readonly hint: string }>> = {
  'outbox-full': { hint: 'nothing was sent; try again when some messages have arrived' },
  'no-relay': { hint: 'ask for their card, or name a relay with --relay' },
  undelivered: { hint: 'try again later' },
  'broken-store': {
    text: 'the file `state/seen` of the profile is damaged',
    hint: 'it was left untouched; to continue without it, move it away',
  },
  'broken-secrets': {
    text: 'the file `state/secrets.age` of the profile is damaged',
    hint: 'it was left untouched; to continue without it, move it away: your contacts then learn new addresses',
  },
}

/**
 * Turns an error of the library, or an interruption, into one of the command line. Returns other errors unchanged.
 * @param relay the relay of the error, which the hint then names
 */
export function toCliError(error: unknown, signal: AbortSignal, relay?: string): unknown {
  if (signal.aborted) return new CliError('interrupted')
  if (error instanceof MessengerError) {
    const { text = MESSENGER_ERRORS[error.code], ...hint } = MESSENGER_ROWS[error.code] ?? {}
    return new CliError(text, hint)
  }
  if (error instanceof MessageError) return new CliError(error.message)
  if (!(error instanceof RelayError)) return error
  const { exit, hint } = ROWS[error.code]
  const wait = error.seconds === undefined || error.code === 'old-bundle' ? undefined : `try again in ${duration(error.seconds)}`
  const named = hint === undefined || relay === undefined ? hint : nameRelay(hint, relay)
  const advice = [wait, named].filter((part) => part !== undefined).join('; ')
  return new CliError(describeRelayError(error), { exitCode: exit, ...(advice !== '' && { hint: advice }) })
}

/** Whether the relay does not serve users whose key it does not know; the hint of the error then says how to show the key. */
export function wantsKey(error: unknown): boolean {
  return error instanceof RelayError && (error.code === 'denied' || error.code === 'unknown-packet')
}

/** Names the relay in a hint, for a shell. */
function nameRelay(hint: string, relay: string): string {
  const word = /^[\w.:-]+$/.test(relay) ? relay : sanitizeLine(quoteWord(relay))
  return hint.replace(' RELAY`', () => ` ${word}\``)
}

/** Whether the error may pass by itself. */
export function mayPass(error: unknown): error is RelayError {
  return error instanceof RelayError && RELAY_ERRORS[error.code].passes === true
}
