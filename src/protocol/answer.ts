/**
 * The answers of a relay, as a client reads them (docs/protocol.md, section 2): their types, and strict readers of
 * their fields. A reader throws {@link BreachError} for a field of another form, and puts nothing of the field into the
 * error.
 */
import { decodeBase64 } from './base64.ts'
import { BreachError } from './breach.ts'
import { type AnswerName, asciiText, decodeAnswer, type Packet, type RequestName } from './packets.ts'
import type { RelayLimits } from './welcome.ts'

export interface Message {
  readonly id: string
  /** Decoded. */
  readonly payload: Uint8Array
}

/** What a TOKEN tells. */
export interface Proven {
  /** Lifetime of the token. */
  readonly seconds: number
  /** Of the relay, which has another one once it lost its memory; undefined if the token names none. */
  readonly run: string | undefined
}

/** The content of an answer, by the name of its request. */
export interface Answers {
  HELLO: { readonly limits: RelayLimits }
  AUTH: { /** Decoded: an age file, or the text itself if `sign` was asked for. */ readonly body: Uint8Array }
  VERIFY: Proven
  CLAIM: Proven
  SEND: { readonly id: string; /** For which the relay holds the message at most. */ readonly seconds: number }
  GET: { readonly messages: readonly Message[]; readonly waiting: number }
  ACK: { readonly erased: number }
  SUBSCRIBE: { readonly waiting: number }
  PING: Record<never, never>
  WIPE: { readonly erased: number }
  PUBLISH: { /** For which the relay holds the bundle at most. */ readonly seconds: number }
  FETCH: { /** Decoded; undefined if none is published. */ readonly bundle: Uint8Array | undefined }
}
export type Answer = { [Name in RequestName]: { readonly name: Name; readonly value: Answers[Name] } }[RequestName]

/** The packet that answers each request. */
export const ANSWERED_BY = {
  HELLO: 'WELCOME',
  AUTH: 'CHALLENGE',
  VERIFY: 'TOKEN',
  CLAIM: 'TOKEN',
  SEND: 'SENT',
  GET: 'MESSAGES',
  ACK: 'ACKED',
  SUBSCRIBE: 'SUBSCRIBED',
  PING: 'PONG',
  WIPE: 'WIPED',
  PUBLISH: 'PUBLISHED',
  FETCH: 'BUNDLE',
} as const satisfies Record<RequestName, AnswerName>

/** Decimal, without leading zeros, and of at most 15 digits, so that a JavaScript number holds it exactly. */
const COUNT = /^(?:0|[1-9][0-9]{0,14})$/

/** Cuts a packet into its fields. */
export function readPacket(line: Uint8Array): Packet<AnswerName> {
  try {
    return decodeAnswer(line)
  } catch (error) {
    throw new BreachError((error as { code?: string }).code === 'unknown-packet' ? 'unknown-packet' : 'malformed-packet')
  }
}

/** Reads a field of the given form, in printable ASCII. */
export function readText(field: Uint8Array, form: RegExp): string {
  const text = asciiText(field)
  if (text === undefined || !form.test(text)) throw new BreachError('malformed-packet')
  return text
}

/** Reads a message id. */
export function readId(field: Uint8Array): string {
  return readText(field, /^[A-Za-z0-9_-]{1,64}$/)
}

/** Reads a number. */
export function readCount(field: Uint8Array): number {
  return Number(readText(field, COUNT))
}

/** Reads the seconds in an ERROR or a NOTICE. Returns undefined if the field is absent or not a number. */
export function readSeconds(field: Uint8Array | undefined): number | undefined {
  const text = field === undefined ? undefined : asciiText(field.subarray(0, 16))
  return text !== undefined && COUNT.test(text) ? Number(text) : undefined
}

/** Decodes base64. Ignores stray bits: the relay does not check them, so the sender of a message may have set them. */
export function readBase64(field: Uint8Array): Uint8Array {
  const bytes = decodeBase64(field, 'ignored')
  if (bytes === undefined) throw new BreachError('malformed-packet')
  return bytes
}

/**
 * Reads the run of the relay from a token: its first claim is `jti`, which begins with the run. It comes as it stands in the
 * token: 8 characters in base64, since a relay may sign anything.
 */
export function readRun(token: string): string | undefined {
  return /\.eyJqdGkiOi[\w-]{11}/.exec(token)?.[0]
}
