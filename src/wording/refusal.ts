/** Every error of a relay and of the messenger, and the state of the clock, in words. The texts contain no bytes from the relay. */
import { MessengerError, type MessengerErrorCode } from '../client/messenger/error.ts'
import type { MessengerEvent } from '../client/messenger/event.ts'
import { CardError } from '../client/format/card.ts'
import { GroupError } from '../client/format/group.ts'
import { MessageError } from '../client/format/message.ts'
import { RelayError, type RelayErrorCode } from '../client/wire/error.ts'
import { duration } from './figures.ts'

/** `passes`: the error may pass by itself. */
export const RELAY_ERRORS: Readonly<Record<RelayErrorCode, { readonly text: string; readonly passes?: true }>> = {
  'proxy-down': { text: 'nothing listens at the SOCKS port', passes: true },
  'proxy-failed': { text: 'the program at the SOCKS port is not tor', passes: true },
  'onion-not-found': { text: 'tor cannot find the onion service', passes: true },
  'onion-unreachable': { text: 'tor cannot reach the onion service', passes: true },
  'onion-locked': { text: 'the onion service requires client authorization' },
  'onion-malformed': { text: 'tor does not accept the onion address' },
  'relay-down': { text: 'nothing listens at the address of the relay', passes: true },
  'onion-relay-down': { text: 'the onion service is there, but its relay does not answer', passes: true },
  'onion-needs-tor': { text: 'only Tor can reach an onion address, and --socks off disables Tor: nothing was resolved or dialled' },
  unreachable: { text: 'the relay cannot be reached', passes: true },
  'connect-timeout': { text: 'timed out while connecting to the relay', passes: true },
  closed: { text: 'the relay closed the connection', passes: true },
  'no-answer': { text: 'the relay did not answer in time', passes: true },
  timeout: { text: 'the relay closed the connection, because this client was too slow', passes: true },
  restarting: { text: 'the relay is going down', passes: true },
  'not-ready': { text: 'the relay does not know its onion name yet', passes: true },
  'rate-limited': { text: 'the relay limits the rate of requests', passes: true },
  'mailbox-full': { text: 'the mailbox of the receiver is full' },
  'relay-full': { text: 'the relay has no memory left for messages' },
  'too-large': { text: 'the message is too large for this relay' },
  'no-bundle': { text: 'the receiver has not been online since their relay restarted, so there is no key to encrypt to', passes: true },
  'old-bundle': { text: 'the key for first messages to the receiver is too old', passes: true },
  'taken-over': { text: 'another client has taken over this mailbox' },
  denied: { text: 'the relay does not admit that key' },
  'auth-failed': { text: 'the relay rejected the proof of the key' },
  'bad-key': { text: 'the relay says that the key is malformed or too weak' },
  'unsupported-key': { text: 'the relay does not support that type of key' },
  'bad-token': { text: 'the relay rejects the token that it issued' },
  'wrong-name': { text: 'the relay does not go by the name that you dialled' },
  'hostile-challenge': {
    text: 'the relay sent a challenge whose answer could decrypt your messages or log in elsewhere as you; the client refused',
  },
  'broken-relay': { text: 'the server at that address does not speak asfaleia/1' },
  'wrong-usage': { text: 'the relay did not understand the request' },
  'unknown-packet': { text: 'the relay did not understand the request' },
  unknown: { text: 'the relay refused, for a reason that this version does not know' },
}

export const MESSENGER_ERRORS: Readonly<Record<MessengerErrorCode, string>> = {
  'outbox-full': 'the outbox is full',
  closed: 'interrupted',
  'no-relay': 'the contact has no relay',
  removed: 'the contact was removed',
  undelivered: 'the relay announced more messages than it delivered',
  'broken-store': 'the record of received messages is damaged',
  'broken-secrets': 'the record of your addresses is damaged',
}

/** Says how the clock of this machine seems to be wrong. @param now ms since 1970 */
export function describeClock(event: Extract<MessengerEvent, { kind: 'clock' }>, now: number): string {
  const says = `check the clock of this machine: it says ${new Date(now).toISOString().slice(0, 16).replace('T', ' ')} UTC`
  if (event.off === 'was-ahead')
    return `the clock of this machine was wrong before, so messages from until now may be marked as old; ${says}`
  return `the messages of several contacts are dated ${duration(event.by)} ${event.off === 'behind' ? 'in the future' : 'in the past'}; ${says}`
}

export function describeRelayError({ code, seconds }: RelayError): string {
  const { text } = RELAY_ERRORS[code]
  if (code !== 'old-bundle' || seconds === undefined) return text
  if (seconds < 0)
    return `the key for first messages to the receiver is dated ${duration(-seconds)} in the future: one of the two clocks is wrong`
  return `${text}: it was made ${duration(seconds)} ago. The receiver has not been online since, or one of the two clocks is wrong`
}

/** Describes an expected error of the library; undefined for a defect. */
export function describeFault(error: unknown): string | undefined {
  if (error instanceof RelayError) return describeRelayError(error)
  if (error instanceof MessengerError) return MESSENGER_ERRORS[error.code]
  return error instanceof MessageError || error instanceof CardError || error instanceof GroupError ? error.message : undefined
}
