/**
 * The headers of a message that say how to answer it (docs/protocol.md, section 13): one-time keys, the count of those
 * that the sender has left, and the mailboxes in which the sender reads. Pure; runs in a browser too.
 */
import { base64urlnopad } from '@scure/base'
import { isHybridRecipient } from '../../auth/age-hybrid.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { encodeEd25519Signature } from '../../auth/sshsig.ts'
import { isRecipient, normalizeRelay } from './card.ts'
import { encodeText, formatKey, formatTime, isFingerprint, parseNumber } from './field.ts'
import type { Identity } from './identity.ts'
import { isSignedBy, type Header } from './signed.ts'

/** A mailbox: a fingerprint `SHA256:…` and a relay as cards spell it. */
export interface Mailbox {
  readonly fingerprint: string
  readonly relay: string
}

/** How to answer a message. */
export interface Answer {
  /** One to three age recipients, `age1pq1…` or `age1…`, for one message each. */
  readonly keys?: readonly string[]
  /**
   * How many of the receiver's keys the sender holds unused after this message. Absent from a sender that has no state of
   * this contact, because the contact is new or because the sender lost its state.
   */
  readonly left?: number
  /** A signature of the sender's inbox key that these keys and this address are its own, 64 bytes. */
  readonly begin?: Uint8Array
  /** From now on the sender reads here, one mailbox at each relay. */
  readonly address?: readonly Mailbox[]
}

/** Most keys in a message, mailboxes in an address, and keys that a sender holds. */
export const ANSWER = Object.freeze({ keys: 3, mailboxes: 4, left: 64 })

const SIGNATURE_BYTES = 64
const NAMESPACE = 'asfaleia-begin'

/** Returns the headers. */
export function encodeAnswer({ keys, left, begin, address }: Answer): Header[] {
  const headers: Header[] = []
  if (address !== undefined) headers.push(['address', formatAddress(address)])
  if (keys !== undefined) headers.push(['keys', keys.join(' ')])
  if (left !== undefined) headers.push(['left', String(left)])
  if (begin !== undefined) headers.push(['begin', base64urlnopad.encode(begin)])
  return headers
}

const formatAddress = (address: readonly Mailbox[]): string => address.map(({ fingerprint, relay }) => `${fingerprint} ${relay}`).join(' ')

/**
 * Reads the headers.
 * @param from the fingerprint of the sender's own key
 * @returns undefined if one of them is malformed
 */
export function decodeAnswer(header: ReadonlyMap<string, string>, from: string): Answer | undefined {
  const [keys, left, begin, address] = [
    decode(header.get('keys'), parseKeys),
    decode(header.get('left'), (value) => parseNumber(value, 0, ANSWER.left)),
    decode(header.get('begin'), parseSignature),
    decode(header.get('address'), (value) => parseAddress(value, from)),
  ]
  if (keys === null || left === null || begin === null || address === null) return undefined
  return {
    ...(keys === undefined ? {} : { keys }),
    ...(left === undefined ? {} : { left }),
    ...(begin === undefined ? {} : { begin }),
    ...(address === undefined ? {} : { address }),
  }
}

/** @returns null if the value is malformed, undefined if there is none */
function decode<T>(value: string | undefined, parse: (value: string) => T | undefined): T | null | undefined {
  return value === undefined ? undefined : (parse(value) ?? null)
}

function parseKeys(value: string): readonly string[] | undefined {
  const keys = value.split(' ', ANSWER.keys + 1)
  if (keys.length > ANSWER.keys || new Set(keys).size < keys.length) return undefined
  return keys.every((key) => isHybridRecipient(key) || isRecipient(key)) ? keys : undefined
}

function parseSignature(value: string): Uint8Array | undefined {
  try {
    const bytes = base64urlnopad.decode(value)
    return bytes.length === SIGNATURE_BYTES ? bytes : undefined
  } catch {
    return undefined
  }
}

function parseAddress(value: string, from: string): readonly Mailbox[] | undefined {
  const words = value.split(' ', 2 * ANSWER.mailboxes + 1)
  if (words.length % 2 !== 0 || words.length > 2 * ANSWER.mailboxes) return undefined
  const address = Array.from({ length: words.length / 2 }, (_, n) => ({ fingerprint: words[2 * n]!, relay: words[2 * n + 1]! }))
  const relays = new Set(address.map(({ relay }) => relay))
  // A relay learns the secret of its mailbox, so another relay must not have the same one. Several relays may know the
  // sender's own key.
  const secrets = address.filter(({ fingerprint }) => fingerprint !== from).map(({ fingerprint }) => fingerprint)
  if (relays.size < address.length || new Set(secrets).size < secrets.length) return undefined
  return address.every(({ fingerprint, relay }) => isFingerprint(fingerprint) && normalizeRelay(relay) === relay) ? address : undefined
}

/** What `begin` signs. */
export interface Beginning {
  readonly from: SshKey
  readonly to: string
  readonly id: string
  readonly time: number
  readonly keys?: readonly string[]
  readonly address?: readonly Mailbox[]
}

/**
 * Signs with the inbox key that this message gives keys and an address.
 *
 * @param inbox an `ssh-ed25519` key
 * @returns the raw signature, 64 bytes
 * @throws {TypeError} if the signature is not one of that key by SHA-512
 */
export async function signBegin(inbox: Pick<Identity, 'key' | 'sign'>, beginning: Beginning): Promise<Uint8Array> {
  const blob = await inbox.sign(NAMESPACE, encodeBeginning(beginning))
  const signature = blob.slice(-SIGNATURE_BYTES)
  const rebuilt = inbox.key.type === 'ssh-ed25519' ? encodeEd25519Signature(inbox.key, NAMESPACE, signature) : undefined
  if (rebuilt?.length !== blob.length || !rebuilt.every((byte, at) => byte === blob[at]))
    throw new TypeError('the inbox key must be an ssh-ed25519 key that signs by SHA-512')
  return signature
}

/**
 * Returns whether the inbox key made the signature.
 * @returns undefined if this browser cannot check it; never in Node
 */
export async function isBegunBy(inbox: SshKey, begin: Uint8Array, beginning: Beginning): Promise<boolean | undefined> {
  if (inbox.type !== 'ssh-ed25519') return false
  const blob = encodeEd25519Signature(inbox, NAMESPACE, begin)
  return isSignedBy(inbox, NAMESPACE, { signed: encodeBeginning(beginning), blob })
}

/** Writes the lines that `begin` signs, as the header has them. */
function encodeBeginning({ from, to, id, time, keys = [], address = [] }: Beginning): Uint8Array {
  const lines = [`from: ${formatKey(from)}`, `to: ${to}`, `id: ${id}`, `time: ${formatTime(time)}`]
  if (keys.length > 0) lines.push(`keys: ${keys.join(' ')}`)
  if (address.length > 0) lines.push(`address: ${formatAddress(address)}`)
  return encodeText(lines.map((line) => `${line}\n`).join(''))
}
