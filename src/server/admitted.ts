/**
 * The list of admitted keys, a file as sshd's authorized_keys (src/auth/key-line.ts), and the options of its lines. An
 * option that restricts a key and that the relay cannot enforce makes the line a mistake; an option about things that a
 * relay does not have is ignored. Errors repeat no part of the file.
 */
import { type KeyLine, type OptionName, parseKeyLine, readKeyOptions, splitLines } from '../auth/key-line.ts'
import { findFaultOfLine } from '../auth/rsa.ts'
import { eraseKey, formatFingerprint, isSound, parsePublicKey, type SshKey } from '../auth/ssh-key.ts'
import { SETTINGS } from '../config/setting.ts'
import type { Member } from '../relay/roster.ts'
import type { Mistake, MistakeName } from './mistake.ts'

/** A line of the list: the rights of its key. */
export interface Entry extends Member {
  readonly line: number
}

export interface Admitted {
  readonly entries: readonly Entry[]
  readonly mistakes: readonly Mistake[]
}

/** @param isKnown whether the key of that fingerprint, `SHA256:…`, passed the full check before */
export function parseAdmitted(bytes: Uint8Array, isKnown: (fingerprint: string) => boolean = () => false): Admitted {
  const entries: Entry[] = []
  const mistakes: Mistake[] = []
  const byKey = new Map<string, Entry>()
  for (const { number: line, text } of splitLines(bytes)) {
    const fields = parseKeyLine(text)
    if (fields === 'empty') continue
    const member = findFormat(text) ?? (fields === 'broken' ? 'no-key' : readMember(fields, isKnown))
    if (typeof member === 'string') {
      mistakes.push({ line, what: member })
      continue
    }
    const entry = { ...member, line }
    const name = formatFingerprint(member.fingerprint)
    const former = byKey.get(name)
    if (former === undefined) {
      byKey.set(name, entry)
      entries.push(entry)
    } else if (!isSame(former, entry)) mistakes.push({ line, what: 'other-options' })
  }
  return { entries, mistakes }
}

/** Names the format of a line that is none of this list. */
function findFormat(text: Uint8Array): MistakeName | undefined {
  const start = Buffer.from(text.subarray(0, START_BYTES)).toString('latin1')
  if (/^(?:\u{ff}\u{fe}|\u{fe}\u{ff}|.?\0)/u.test(start)) return 'utf-16'
  return /^(?:PuTTY-User-Key-File-|-{4,5} ?BEGIN |AGE-|age1)/.test(start) ? 'other-format' : undefined
}

const START_BYTES = 32

function isSame(one: Member, other: Member): boolean {
  return (['only', 'expires', 'perSender', 'places', 'mustVerify'] as const).every((name) => one[name] === other[name])
}

function readMember({ options, key: text }: KeyLine, isKnown: (fingerprint: string) => boolean): Member | MistakeName {
  const rights = readOptions(options)
  if (typeof rights === 'string') return rights
  let key: SshKey
  try {
    key = parsePublicKey(text, 'form')
  } catch {
    return hasKnownType(text) ? (findFaultOfLine(text) ?? 'bad-key') : 'wrong-type'
  }
  try {
    const { fingerprint } = key
    if (!isKnown(formatFingerprint(fingerprint)) && !isSound(key)) return 'bad-key'
    if (rights.mustVerify === true && !key.type.startsWith('sk-')) return 'not-fido'
    return { fingerprint, ...rights }
  } finally {
    eraseKey(key)
  }
}

function hasKnownType(text: Uint8Array): boolean {
  return /^(?:sk-)?(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521))[-@ ]/.test(Buffer.from(text).toString('latin1'))
}

/** The rights of a line, while its options are read. */
type Rights = Mutable<Omit<Member, 'fingerprint'>>
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] }

/** The options that do something. Each sets a right, or returns the mistake. The relay ignores all others. */
const OPTIONS: Partial<Record<OptionName, (rights: Rights, value: string) => MistakeName | undefined>> = {
  'expiry-time'(rights, value) {
    const time = parseExpiry(value)
    if (time === undefined) return 'bad-value'
    // Like sshd: of several, the earliest counts.
    rights.expires = Math.min(time, rights.expires ?? Infinity)
    return undefined
  },
  'send-only': (rights) => restrict(rights, 'send'),
  'receive-only': (rights) => restrict(rights, 'receive'),
  'per-sender': (rights, value) => setQuota(rights, 'perSender', value),
  mailbox: (rights, value) => setQuota(rights, 'places', value),
  'verify-required'(rights) {
    rights.mustVerify = true
    return undefined
  },
  from: () => 'from',
  command: () => 'command',
  'no-touch-required': () => 'no-touch',
  'cert-authority': () => 'authority',
  principals: () => 'authority',
}

function restrict(rights: Rights, only: 'send' | 'receive'): MistakeName | undefined {
  if (rights.only !== undefined && rights.only !== only) return 'contradiction'
  rights.only = only
  return undefined
}

function setQuota(rights: Rights, name: 'perSender' | 'places', value: string): MistakeName | undefined {
  if (rights[name] !== undefined) return 'double-option'
  try {
    rights[name] = SETTINGS[name === 'perSender' ? 'per-sender' : 'mailbox-messages'].parse(value)
    return undefined
  } catch {
    return 'bad-value'
  }
}

function readOptions(text: string): Rights | MistakeName {
  const options = readKeyOptions(text)
  if (typeof options === 'string') return options
  const rights: Rights = {}
  for (const { name, value } of options) {
    const mistake = OPTIONS[name]?.(rights, value)
    if (mistake !== undefined) return mistake
  }
  const isContradiction =
    (rights.only === 'send' && rights.places !== undefined) || (rights.only === 'receive' && rights.perSender !== undefined)
  return isContradiction ? 'contradiction' : rights
}

/**
 * Parses a time as sshd does: YYYYMMDD[HHMM[SS]] in local time, or in UTC with `Z` at its end.
 *
 * @returns ms since 1970; undefined if there is no such time
 */
export function parseExpiry(text: string): number | undefined {
  const [, digits, zone] = /^(\d{8}(?:\d{4}(?:\d\d)?)?)(z|utc)?$/i.exec(text) ?? []
  if (digits === undefined) return undefined
  const [year, month, day, hour, minute, second] = [digits.slice(0, 4), ...(digits.slice(4).padEnd(10, '0').match(/../g) ?? [])].map(
    Number,
  ) as [number, number, number, number, number, number]
  if (hour > 23 || minute > 59 || second > 59) return undefined
  const utc = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
  if (utc.getUTCFullYear() !== year || utc.getUTCMonth() !== month - 1 || utc.getUTCDate() !== day) return undefined
  return zone === undefined ? new Date(year, month - 1, day, hour, minute, second).getTime() : utc.getTime()
}
