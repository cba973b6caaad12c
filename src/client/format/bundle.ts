/**
 * Bundles (docs/protocol.md, section 14): the age recipient of the day of an inbox, signed by the inbox key. A relay holds
 * one, and anyone can fetch it, so that a first message needs no key that lasts. A bundle has one text. Pure; runs in a
 * browser too.
 */
import { isHybridRecipient } from '../../auth/age-hybrid.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { encodeEd25519Signature } from '../../auth/sshsig.ts'
import { concat, isSame } from '../../auth/ssh-wire.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { formatKey, formatTime, parseTime } from './field.ts'
import type { Identity } from './identity.ts'
import { armor, encodeHeader, isSignedBy, parseHeader, sign, split, versionOf } from './signed.ts'

/** A bundle with a valid signature. */
export interface Bundle {
  /** The age recipient (`age1pq1…`) to encrypt to. */
  readonly encrypt: string
  /** Seconds since 1970: the start of the day on which it was made. */
  readonly time: number
  /** Seconds since 1970: when it ends. */
  readonly until: number
  /** The text, signature included. */
  readonly text: Uint8Array
}

const TEXTS = {
  'not-a-bundle': 'this is not an Asfaleia bundle',
  'unknown-version': 'the bundle has a version that this program does not know',
  truncated: 'the bundle is cut off, or text follows its end',
  malformed: 'the bundle is malformed',
  'bad-recipient': 'the age1pq1… recipient of the bundle is malformed',
  'bad-time': 'the times of the bundle are malformed or out of range',
  'other-key': 'the bundle is one of another inbox',
  unverifiable: 'the signature of the bundle cannot be checked in this browser',
  forged: 'the signature does not match: the bundle was changed, or another key signed it',
} as const

/** Why a bundle was refused. */
export type BundleErrorCode = keyof typeof TEXTS

/** Thrown for a bundle that is invalid or cannot be made. */
export class BundleError extends CodedError<BundleErrorCode> {
  constructor(code: BundleErrorCode) {
    super('BundleError', code, TEXTS[code])
  }
}

const NAMESPACE = 'asfaleia-bundle'
const FORM = 'asfaleia-bundle'
const VERSION = `${FORM}/1`
const DAY = 86_400
/** Days that a bundle holds. */
const DAYS = 14
/** How far the clocks of two people may differ, in seconds. */
const SKEW = 2 * DAY
/** 8,192 characters of base64, which a relay takes. */
const BUNDLE_BYTES = 6_144
const SIGNATURE_BYTES = 64

type Facts = Pick<Bundle, 'encrypt' | 'time' | 'until'>

/**
 * Makes the bundle of a day and signs it.
 *
 * @param inbox an `ssh-ed25519` key
 * @param bundle.now seconds since 1970; the bundle tells only the day
 * @throws {BundleError} `bad-recipient` or `bad-time`; also errors of the inbox's `sign`
 * @throws {TypeError} if the inbox is no `ssh-ed25519` key
 */
export async function makeBundle(
  inbox: Pick<Identity, 'key' | 'sign'>,
  { encrypt, now }: { readonly encrypt: string; readonly now: number },
): Promise<Bundle> {
  if (inbox.key.type !== 'ssh-ed25519') throw new TypeError('the inbox key must be an ssh-ed25519 key')
  const time = Math.floor(now / DAY) * DAY
  const facts = checkFacts({ encrypt, time, until: time + DAYS * DAY })
  const text = await sign(inbox, NAMESPACE, encodeFacts(inbox.key, facts))
  return Object.freeze({ ...facts, text })
}

/**
 * Parses a bundle and verifies its signature. The caller checks its time ({@link judgeBundle}).
 *
 * @param inbox the key of the inbox that it must belong to
 * @throws {BundleError}
 */
export async function parseBundle(inbox: SshKey, text: Uint8Array): Promise<Bundle> {
  const version = versionOf(FORM, text)
  if (version === undefined) refuse('not-a-bundle')
  if (version !== '1') refuse('unknown-version')
  if (text.length > BUNDLE_BYTES) refuse('malformed')
  const parts = split(text)
  if (parts === undefined || parts.rest.length > 0) refuse('truncated')
  const parsed = parseHeader(parts.signed)
  if (parsed === undefined || parsed.form !== VERSION) refuse('malformed')
  const header = new Map(parsed.headers)
  const [key = '', encrypt = '', time = '', until = ''] = ['key', 'encrypt', 'time', 'until'].map((name) => header.get(name))
  if (key !== formatKey(inbox)) refuse('other-key')
  const facts = checkFacts({ encrypt, time: parseTime(time) ?? refuse('bad-time'), until: parseTime(until) ?? refuse('bad-time') })
  const signed = encodeFacts(inbox, facts)
  if (inbox.type !== 'ssh-ed25519') refuse('malformed')
  const blob = encodeEd25519Signature(inbox, NAMESPACE, parts.blob.subarray(-SIGNATURE_BYTES))
  // A bundle has one text: another order of headers, unknown headers, and another hash or line length are refused.
  if (!isSame(concat(signed, armor(blob)), text)) refuse('malformed')
  const isGood = await isSignedBy(inbox, NAMESPACE, { signed, blob })
  if (isGood === undefined) refuse('unverifiable')
  if (!isGood) refuse('forged')
  return Object.freeze({ ...facts, text: text.slice() })
}

/**
 * Judges the time of a bundle: `early` or `over` means that it is old, or that one of the two clocks is wrong.
 * @param now seconds since 1970
 */
export function judgeBundle({ time, until }: Pick<Bundle, 'time' | 'until'>, now: number): 'good' | 'early' | 'over' {
  return time > now + SKEW ? 'early' : until <= now - SKEW ? 'over' : 'good'
}

/**
 * Chooses between the bundle that a relay serves and the one that was seen before: a relay may serve an old one.
 * @returns undefined if neither is good
 */
export function chooseBundle(seen: Bundle | undefined, served: Bundle | undefined, now: number): Bundle | undefined {
  const good = [served, seen].filter((each) => each !== undefined && judgeBundle(each, now) === 'good')
  const [one, other] = good
  return one !== undefined && other !== undefined && other.time > one.time ? other : one
}

function checkFacts(facts: Facts): Facts {
  const { encrypt, time, until } = facts
  if (!isHybridRecipient(encrypt)) refuse('bad-recipient')
  const isDay = Number.isSafeInteger(time) && time >= 0 && time < 1e11 && time % DAY === 0
  if (!isDay || until % DAY !== 0 || until <= time || until > time + DAYS * DAY) refuse('bad-time')
  return facts
}

function encodeFacts(key: SshKey, { encrypt, time, until }: Facts): Uint8Array {
  return encodeHeader(VERSION, [
    ['key', formatKey(key)],
    ['encrypt', encrypt],
    ['time', formatTime(time)],
    ['until', formatTime(until)],
  ])
}

function refuse(code: BundleErrorCode): never {
  throw new BundleError(code)
}

/** As {@link parseBundle}. @returns undefined for a bundle that is refused: a hostile relay can serve anything */
export async function readBundle(inbox: SshKey, text: Uint8Array): Promise<Bundle | undefined> {
  try {
    return await parseBundle(inbox, text)
  } catch (error) {
    if (!(error instanceof BundleError)) throw error
    return undefined
  }
}
