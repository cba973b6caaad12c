/**
 * A ring as a text, for the disk: lines of `name: value`. Each ring has one text. The text contains secrets: encrypt it,
 * and overwrite it after use. The seeds in it never become strings, which could not be overwritten.
 */
import { concat } from '../../auth/ssh-wire.ts'
import { decodeBase64, encodeDigits } from '../../protocol/base64.ts'
import { CodedError } from '../../protocol/coded-error.ts'
import { decodeText, encodeText, isFingerprint, isId, parseNumber } from '../format/field.ts'
import { versionOf } from '../format/signed.ts'
import { ANSWER, type Mailbox } from '../format/answer.ts'
import { compareAge, EMPTY, type Given, type Held, type Place, RING, type Ring, type Run } from './state.ts'

const TEXTS = {
  damaged: 'the ring is damaged',
  'unknown-version': 'a later version of this program wrote the ring',
  'other-contact': 'the ring is one of another contact',
} as const

/** Why a ring was refused. */
export type RingErrorCode = keyof typeof TEXTS

/** Thrown for a text that is no ring of this contact. */
export class RingError extends CodedError<RingErrorCode> {
  constructor(code: RingErrorCode) {
    super('RingError', code, TEXTS[code])
  }
}

const FORM = 'asfaleia-ring'
const VERSION = `${FORM}/1`
const NUMBER = 1e12
const SEED_DIGITS = 44
const RECIPIENT = /^age1(?:pq1)?[02-9ac-hj-np-z]{58,1952}$/
const RELAY = /^[\x21-\x7e]{1,80}$/
const LF = 0x0a

/** Writes the ring of a contact. @param contact the fingerprint of the contact's SSH key, `SHA256:…` */
export function encodeRing(contact: string, ring: Ring): Uint8Array {
  const { heard, usedAt, anewAt, left, last, address, doubt, reportAt } = ring
  const optional = (name: string, ...values: (string | number | undefined)[]): string[] =>
    values.includes(undefined) ? [] : [`${name}: ${values.join(' ')}`]
  const before = [
    VERSION,
    `contact: ${contact}`,
    `known: ${yes(ring.known)}`,
    `unanswered: ${yes(ring.unanswered)}`,
    ...optional('heard', heard),
    ...optional('used', usedAt),
    ...optional('anew', anewAt),
    ...optional('left', left?.count, left?.time),
    ...optional('report-at', reportAt),
    ...optional('address', address?.time, ...(address?.mailboxes ?? []).flatMap(({ fingerprint, relay }) => [fingerprint, relay])),
    ...optional('doubt', doubt?.time, doubt?.id),
    ...(doubt?.keys ?? []).map((key) => `doubt-key: ${key}`),
    ...(doubt?.address ?? []).map(({ fingerprint, relay }) => `doubt-address: ${fingerprint} ${relay}`),
    ...(last === undefined ? [] : [`last: ${formatHeld(last)}`]),
    ...ring.held.map((key) => `held: ${formatHeld(key)}`),
    ...ring.read.map((id) => `read: ${id}`),
    ...ring.runs.map(({ id, after, since, place }) => `run: ${id} ${after} ${since}${place === undefined ? '' : ` ${formatPlace(place)}`}`),
    ...Array.from(ring.seen, ([tag, id]) => `seen: ${tag} ${id}`),
    ...Array.from(ring.unread, ([tag, { time, reported }]) => `unread: ${tag} ${time} ${yes(reported)}`),
    ...ring.reports.map((time) => `report: ${time}`),
  ]
  const secrets = ring.given.flatMap(({ place, use, until, mark, seed }) => [
    encodeText(`given: ${formatPlace(place)} ${use} ${until ?? '-'} ${mark ?? '-'} `),
    encodeDigits(seed),
    Uint8Array.of(LF),
  ])
  const text = concat(encodeText(before.map((line) => `${line}\n`).join('')), ...secrets)
  for (const each of secrets) each.fill(0)
  return text
}

/**
 * Reads the ring of a contact.
 * @throws {RingError} if the text is damaged, or is not as {@link encodeRing} writes it
 */
export function decodeRing(contact: string, text: Uint8Array): Ring {
  const version = versionOf(FORM, text)
  if (version !== undefined && version !== '1') throw new RingError('unknown-version')
  const reader = new Reader(text)
  if (reader.next() !== VERSION) throw new RingError('damaged')
  const ring = readLines(reader, contact)
  const again = encodeRing(contact, ring)
  const isSame = again.length === text.length && again.every((byte, at) => byte === text[at])
  again.fill(0)
  if (!isSame) throw new RingError('damaged')
  return ring
}

/**
 * Reads only whose ring a text is.
 * @throws {RingError} if the text is damaged
 */
export function readContact(text: Uint8Array): string {
  const reader = new Reader(text)
  const contact = reader.next() === VERSION ? /^contact: (.+)$/.exec(reader.next() ?? '')?.[1] : undefined
  return contact !== undefined && isFingerprint(contact) ? contact : refuse()
}

/** The lines of a text, without the seeds. */
class Reader {
  readonly #text: Uint8Array
  #at = 0

  constructor(text: Uint8Array) {
    this.#text = text
  }

  /** Returns the next line. The seed of a line `given` stays bytes: {@link seed} returns it. */
  next(): string | undefined {
    if (this.#at === this.#text.length) return undefined
    const end = this.#text.indexOf(LF, this.#at)
    if (end === -1) throw new RingError('damaged')
    const line = this.#text.subarray(this.#at, end)
    this.#at = end + 1
    const isGiven = GIVEN.every((byte, at) => line[at] === byte)
    return decodeText(isGiven ? line.subarray(0, -SEED_DIGITS) : line) ?? refuse()
  }

  /** Decodes the seed at the end of the line before. */
  seed(): Uint8Array {
    return decodeBase64(this.#text.subarray(this.#at - 1 - SEED_DIGITS, this.#at - 1)) ?? refuse()
  }
}

const GIVEN = encodeText('given: ')

interface Draft {
  ring: Ring
  readonly given: Given[]
  readonly held: Held[]
  readonly read: string[]
  readonly runs: Run[]
  readonly seen: Map<string, string>
  readonly unread: Map<string, { time: number; reported: boolean }>
  readonly reports: number[]
}

function readLines(reader: Reader, contact: string): Ring {
  const draft: Draft = { ring: EMPTY, given: [], held: [], read: [], runs: [], seen: new Map(), unread: new Map(), reports: [] }
  for (let line = reader.next(); line !== undefined; line = reader.next()) {
    const at = line.indexOf(': ')
    if (at === -1) refuse()
    readLine(draft, contact, line.slice(0, at), line.slice(at + 2).split(' '), reader)
  }
  const { ring, ...others } = draft
  const next: Ring = { ...ring, ...others }
  const tooMany = next.given.length > RING.given || next.held.length > RING.held || next.seen.size > RING.seen
  if (tooMany || next.unread.size > RING.unread || next.read.length > RING.read || next.runs.length > RING.runs) refuse()
  if (!isSorted(next.given) || !isSorted(next.held)) refuse()
  const { keys = [], address = [] } = next.doubt ?? {}
  if (keys.length > ANSWER.keys || address.length > ANSWER.mailboxes || (next.address?.mailboxes.length ?? 0) > ANSWER.mailboxes) refuse()
  const lists = [keys, address.map(({ relay }) => relay), next.read, next.runs.map(({ id }) => id)]
  if (lists.some((list) => new Set(list).size < list.length)) refuse()
  return next
}

function readLine(draft: Draft, contact: string, name: string, values: readonly string[], reader: Reader): void {
  const [one = '', two = '', three = ''] = values
  const set = (change: Partial<Ring>): void => void (draft.ring = { ...draft.ring, ...change })
  switch (name) {
    case 'contact':
      if (!isFingerprint(one)) refuse()
      if (one !== contact) throw new RingError('other-contact')
      return
    case 'known':
      return set({ known: readYes(one) })
    case 'unanswered':
      return set({ unanswered: readYes(one) })
    case 'heard':
      return set({ heard: readTime(one) })
    case 'used':
      return set({ usedAt: readTime(one) })
    case 'anew':
      return set({ anewAt: readTime(one) })
    case 'left':
      return set({ left: { count: readNumber(one, RING.held), time: readTime(two) } })
    case 'report-at':
      return set({ reportAt: readTime(one) })
    case 'address':
      return set({ address: { time: readTime(one), mailboxes: readMailboxes(values.slice(1)) } })
    case 'doubt':
      return set({ doubt: { time: readTime(one), id: readId(two), keys: [], address: [] } })
    case 'doubt-key':
    case 'doubt-address': {
      const { doubt } = draft.ring
      if (doubt === undefined) refuse()
      return set({
        doubt:
          name === 'doubt-key'
            ? { ...doubt, keys: [...doubt.keys, readRecipient(one)] }
            : { ...doubt, address: [...doubt.address, ...readMailboxes(values)] },
      })
    }
    case 'last':
      return set({ last: readHeld(values) })
    case 'held':
      return void draft.held.push(readHeld(values))
    case 'read':
      return void draft.read.push(readId(one))
    case 'run': {
      const place = values.length > 3 ? { place: readPlace(values.slice(3)) } : {}
      return void draft.runs.push({ id: readId(one), after: readId(two), since: readTime(three), ...place })
    }
    case 'seen':
      return void draft.seen.set(readId(one), readId(two))
    case 'unread':
      return void draft.unread.set(readId(one), { time: readTime(two), reported: readYes(three) })
    case 'report':
      return void draft.reports.push(readTime(one))
    case 'given':
      return void draft.given.push(readGiven(values, reader.seed()))
  }
  refuse()
}

function readGiven(values: readonly string[], seed: Uint8Array): Given {
  const [use, until = '', mark = ''] = values.slice(3)
  if (seed.length !== 32 || (use !== 'open' && use !== 'used' && use !== 'former')) refuse()
  return {
    place: readPlace(values),
    seed,
    use,
    ...(until === '-' ? {} : { until: readTime(until) }),
    ...(mark === '-' ? {} : { mark: readTime(mark) }),
  }
}

function readHeld(values: readonly string[]): Held {
  const [mark = '', recipient = ''] = values.slice(3)
  return {
    place: readPlace(values),
    recipient: recipient && readRecipient(recipient),
    ...(mark === '-' ? {} : { mark: readTime(mark) }),
  }
}

function readPlace([time = '', id = '', index = '']: readonly string[]): Place {
  return { time: readTime(time), id: readId(id), index: readNumber(index, RING.fresh - 1) }
}

function readMailboxes(values: readonly string[]): Mailbox[] {
  return Array.from({ length: Math.ceil(values.length / 2) }, (_, n) => {
    const [fingerprint = '', relay = ''] = values.slice(2 * n)
    return isFingerprint(fingerprint) && RELAY.test(relay) ? { fingerprint, relay } : refuse()
  })
}

const yes = (value: boolean): string => (value ? 'yes' : 'no')
const readYes = (value: string): boolean => (value === 'yes' ? true : value === 'no' ? false : refuse())
const readNumber = (value: string, most: number): number => parseNumber(value, 0, most) ?? refuse()
const readTime = (value: string): number => readNumber(value, NUMBER)
const readId = (value: string): string => (isId(value) ? value : refuse())
const readRecipient = (value: string): string => (RECIPIENT.test(value) ? value : refuse())
const formatPlace = ({ time, id, index }: Place): string => `${time} ${id} ${index}`
const formatHeld = ({ place, mark, recipient }: Held): string => `${formatPlace(place)} ${mark ?? '-'} ${recipient}`
const isSorted = (keys: readonly { readonly place: Place }[]): boolean =>
  keys.every(({ place }, n) => n === 0 || compareAge(keys[n - 1]!.place, place) < 0)

function refuse(): never {
  throw new RingError('damaged')
}
