/**
 * The user's secrets at relays, and what else a client must remember for docs/protocol.md, section 14: the addresses that
 * contacts write to, the recipients of the day, the bundles of contacts that were seen, and how to answer people who are
 * no contacts yet. As a text for the disk; encrypt it. Times are seconds since 1970.
 */
import { base64urlnopad } from '@scure/base'
import { hybridKey, type HybridKey } from '../../auth/age-hybrid.ts'
import { sha256 } from '../../auth/crypto.ts'
import { concat } from '../../auth/ssh-wire.ts'
import { decodeBase64, encodeDigits } from '../../protocol/base64.ts'
import { formatFingerprint } from '../../auth/ssh-key.ts'
import { ANSWER, type Mailbox } from '../format/answer.ts'
import { decodeText, encodeText, isFingerprint, isId, parseNumber } from '../format/field.ts'

const DAY = 86_400
const SECRET_BYTES = 32
const SECRET_DIGITS = 44

export const SECRETS = Object.freeze({
  /** How long a recipient of the day opens messages after the next one was published, and at most. */
  former: 8 * DAY,
  life: 22 * DAY,
  /** How long a recipient or an address is marked before its age erases it (R7). */
  grace: DAY,
  /** How long an address still receives after the contact got another one. */
  replaced: 22 * DAY,
  days: 32,
  addresses: 1_024,
  /** Bundles of other people. */
  bundles: 512,
  /** People who are no contacts, and whose first message brought keys. */
  strangers: 64,
})

/** A mailbox of the user's for one contact at one relay. */
export interface Address {
  /** The fingerprint of the contact's SSH key. */
  readonly contact: string
  readonly relay: string
  /** 32 random bytes, for CLAIM at that relay only. */
  readonly secret: Uint8Array
  readonly since: number
  /** Whether the contact has written to it. */
  readonly isKnown: boolean
  /** When the contact got another address instead. */
  readonly replaced?: number
  readonly mark?: number
}

/** A recipient of the day. */
export interface Daily {
  readonly seed: Uint8Array
  readonly made: number
  /** When a relay first held the next one. */
  readonly former?: number
  readonly mark?: number
}

/** How to answer the first message of a person who is no contact. */
export interface Stranger {
  readonly id: string
  readonly time: number
  readonly keys: readonly string[]
  readonly address: readonly Mailbox[]
  /** The header `begin`, to check it once the inbox of that person is known. */
  readonly begin?: Uint8Array
}

export interface State {
  readonly addresses: readonly Address[]
  /** Oldest first. */
  readonly days: readonly Daily[]
  /** By fingerprint of another person's inbox: the latest bundle that a relay served. */
  readonly bundles: ReadonlyMap<string, Uint8Array>
  readonly strangers: ReadonlyMap<string, Stranger>
}

const EMPTY: State = Object.freeze({
  addresses: [],
  days: [],
  bundles: new Map<string, Uint8Array>(),
  strangers: new Map<string, Stranger>(),
})

/** Returns the fingerprint that a secret's mailbox has (docs/protocol.md, section 3). */
export const fingerprintOfSecret = (secret: Uint8Array): string => formatFingerprint(sha256(secret))

/** Makes an address. @param secret 32 random bytes */
export function makeAddress(contact: string, relay: string, secret: Uint8Array, now: number): Address {
  return { contact, relay, secret, since: now, isKnown: false }
}

/** Returns the recipient to publish today, and the state with it. @param draw returns a new seed */
export function today(state: State, now: number, draw: () => Uint8Array): { readonly state: State; readonly key: HybridKey } {
  const last = state.days.at(-1)
  const isSameDay = last !== undefined && Math.floor(last.made / DAY) === Math.floor(now / DAY)
  if (isSameDay) return { state, key: hybridKey(last.seed) }
  const daily: Daily = { seed: draw(), made: now }
  return { state: { ...state, days: [...state.days, daily].slice(-SECRETS.days) }, key: hybridKey(daily.seed) }
}

/** A relay holds the bundle of the latest recipient. */
export function onPublished(state: State, now: number): State {
  const days = state.days.map((day, n) => {
    const isLast = n === state.days.length - 1
    return isLast || day.former !== undefined ? day : { ...day, former: now }
  })
  return days.every((day, n) => day === state.days[n]) ? state : { ...state, days }
}

/** Marks recipients and addresses that are too old, and erases them a day later if they are still too old (R7). */
export function tick(state: State, now: number): State {
  const isPast = (time: number, life: number): boolean => now - time >= life || time - now >= life
  // A clock that ran ahead for an hour must not end a recipient or an address that was in use before.
  const mend = (time: number | undefined): number | undefined => (time !== undefined && time > now + DAY ? now : time)
  const age = <T extends { readonly mark?: number }>(all: readonly T[], isOver: (each: T) => boolean): T[] =>
    all.flatMap((each): T[] => {
      const { mark, ...others } = each
      if (!isOver(each)) return [mark === undefined ? each : (others as T)]
      if (mark === undefined || mark > now) return [{ ...each, mark: now }]
      return now >= mark + SECRETS.grace ? [] : [each]
    })
  const mendedDays = state.days.map((each) => (mend(each.former) === each.former ? each : { ...each, former: now }))
  const mendedAddresses = state.addresses.map((each) => (mend(each.replaced) === each.replaced ? each : { ...each, replaced: now }))
  const days = age(mendedDays, ({ made, former }) => isPast(made, SECRETS.life) || (former !== undefined && isPast(former, SECRETS.former)))
  const addresses = age(mendedAddresses, ({ replaced }) => replaced !== undefined && isPast(replaced, SECRETS.replaced))
  return days.length === state.days.length &&
    addresses.length === state.addresses.length &&
    days.every((each, n) => each === state.days[n]) &&
    addresses.every((each, n) => each === state.addresses[n])
    ? state
    : { ...state, days, addresses }
}

/**
 * The contact of an address at a relay that the user has left gets the others with the next message; the address is read
 * for a while. @param relays those at which the user has addresses now
 */
export function leave(state: State, relays: readonly string[], now: number): State {
  const isLeft = ({ relay, replaced }: Address): boolean => replaced === undefined && !relays.includes(relay)
  const contacts = new Set(state.addresses.filter(isLeft).map(({ contact }) => contact))
  if (relays.length === 0 || contacts.size === 0) return state
  const addresses = state.addresses.map((each) =>
    each.replaced === undefined && contacts.has(each.contact) ? { ...each, isKnown: false, ...(isLeft(each) && { replaced: now }) } : each,
  )
  return { ...state, addresses }
}

const VERSION = 'asfaleia-secrets/1'
const RELAY = /^[\x21-\x7e]{1,80}$/
const RECIPIENT = /^age1(?:pq1)?[02-9ac-hj-np-z]{58,1952}$/
const LF = 0x0a

/** Writes the text. Overwrite it after use. */
export function encodeSecrets(state: State): Uint8Array {
  const lines = [
    VERSION,
    ...Array.from(state.bundles, ([inbox, bundle]) => `bundle: ${inbox} ${base64urlnopad.encode(bundle)}`),
    ...Array.from(state.strangers, ([from, { id, time, keys, address, begin }]) =>
      [
        'stranger:',
        from,
        id,
        time,
        begin === undefined ? '-' : base64urlnopad.encode(begin),
        keys.length,
        ...keys,
        ...address.flatMap(({ fingerprint, relay }) => [fingerprint, relay]),
      ].join(' '),
    ),
  ]
  const secret = (name: string, values: readonly (string | number)[], bytes: Uint8Array): Uint8Array[] => [
    encodeText(`${name}: ${values.join(' ')} `),
    encodeDigits(bytes),
    Uint8Array.of(LF),
  ]
  const parts = [
    ...state.addresses.flatMap(({ contact, relay, since, isKnown, replaced, mark, secret: bytes }) =>
      secret('address', [contact, relay, since, isKnown ? 'yes' : 'no', replaced ?? '-', mark ?? '-'], bytes),
    ),
    ...state.days.flatMap(({ made, former, mark, seed }) => secret('day', [made, former ?? '-', mark ?? '-'], seed)),
  ]
  const text = concat(encodeText(lines.map((line) => `${line}\n`).join('')), ...parts)
  for (const part of parts) part.fill(0)
  return text
}

/** Reads a text of {@link encodeSecrets}; the state of a new user without one. @returns undefined if it is damaged */
export function decodeSecrets(text: Uint8Array | undefined): State | undefined {
  if (text === undefined) return EMPTY
  const addresses: Address[] = []
  const days: Daily[] = []
  const bundles = new Map<string, Uint8Array>()
  const strangers = new Map<string, Stranger>()
  let isFirst = true
  try {
    for (let at = 0; at < text.length;) {
      const end = text.indexOf(LF, at)
      if (end === -1) return undefined
      const line = text.subarray(at, end)
      at = end + 1
      const isSecret = line[0] === 0x61 || line[0] === 0x64 // `address` or `day`
      const words = (decodeText(isSecret && !isFirst ? line.subarray(0, -SECRET_DIGITS - 1) : line) ?? fail()).split(' ')
      if (isFirst) {
        if (words.join(' ') !== VERSION) return undefined
        isFirst = false
        continue
      }
      const bytes = isSecret ? (decodeBase64(line.subarray(-SECRET_DIGITS)) ?? fail()) : undefined
      if (bytes !== undefined && bytes.length !== SECRET_BYTES) fail()
      const [name, one = '', two = '', three = '', four = '', five = '', six = ''] = words
      switch (name) {
        case 'bundle:':
          bundles.set(readFingerprint(one), base64urlnopad.decode(two))
          break
        case 'stranger:': {
          const count = readNumber(five)
          const rest = words.slice(6)
          const begin = four === '-' ? {} : { begin: base64urlnopad.decode(four) }
          const keys = rest.slice(0, count)
          if (count > ANSWER.keys || keys.length < count || !keys.every((key) => RECIPIENT.test(key)) || !isId(two)) fail()
          strangers.set(readFingerprint(one), {
            id: two,
            time: readNumber(three),
            keys,
            address: readMailboxes(rest.slice(count)),
            ...begin,
          })
          break
        }
        case 'address:':
          addresses.push({
            contact: readFingerprint(one),
            relay: RELAY.test(two) ? two : fail(),
            since: readNumber(three),
            isKnown: four === 'yes',
            ...optional('replaced', five),
            ...optional('mark', six),
            secret: bytes!,
          })
          break
        case 'day:': {
          // An earlier version wrote between `made` and `former` when the recipient was published.
          const [former = '', mark = ''] = words.slice(words.length === 5 ? 3 : 2)
          days.push({ made: readNumber(one), ...optional('former', former), ...optional('mark', mark), seed: bytes! })
          break
        }
        default:
          fail()
      }
    }
  } catch {
    return undefined
  }
  if (isFirst || addresses.length > SECRETS.addresses || days.length > SECRETS.days) return undefined
  return { addresses, days, bundles, strangers }
}

function readMailboxes(words: readonly string[]): Mailbox[] {
  if (words.length % 2 !== 0 || words.length > 2 * ANSWER.mailboxes) fail()
  return Array.from({ length: words.length / 2 }, (_, n) => {
    const [fingerprint = '', relay = ''] = words.slice(2 * n)
    return { fingerprint: readFingerprint(fingerprint), relay: RELAY.test(relay) ? relay : fail() }
  })
}

const readFingerprint = (word: string): string => (isFingerprint(word) ? word : fail())
const readNumber = (word: string): number => parseNumber(word, 0, 1e12) ?? fail()
const optional = <Name extends string>(name: Name, word: string): Partial<Record<Name, number>> =>
  word === '-' ? {} : ({ [name]: readNumber(word) } as Record<Name, number>)

function fail(): never {
  throw new TypeError('damaged')
}
