/**
 * Parses the values of settings; flags, environment and file share one spelling. Pure: it resolves no name. Errors never
 * repeat the value.
 */
import { isIPv4 } from 'node:net'
import { nearest } from '../nearest.ts'
import { isOnion } from '../onion/address.ts'
import type { Address } from '../transport/address.ts'

/** The setting does not accept the value. config.ts turns this into a problem. */
export class Refused extends Error {
  readonly hint: string

  constructor(problem: string, hint: string) {
    super(problem)
    this.hint = hint
  }
}

/** @throws {Refused} */
export type Parse<T> = (text: string) => T

export const K = 1_024
export const SECOND = 1
export const MINUTE = 60
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

const LOCAL_ONLY = 'the relay listens only on 127.0.0.1, [::1] or a unix socket; the onion service is in front of it'
/** sockaddr_un of Linux holds 108 bytes, the last of them NUL. */
const SOCKET_PATH_BYTES = 107

/** Parses `127.0.0.1:3308` (all of 127.0.0.0/8), `[::1]:3308`, `localhost:3308`, `unix:/path`, or `off`. */
export function parseAddress(text: string): Address | undefined {
  if (text === 'off') return undefined
  if (text.startsWith('unix:')) return parseSocketPath(text)
  if (text.startsWith('/')) throw new Refused('is not an address', 'write unix:/path for a unix socket')
  const [, host, digits] = /^(.*):(\d{1,5})$/.exec(text) ?? []
  if (host === undefined || digits === undefined || host === '') {
    throw new Refused('is not an address', 'write HOST:PORT such as 127.0.0.1:3308, unix:/path, or off')
  }
  const port = Number(digits)
  if (port > 65_535) throw new Refused('has a port over 65535', 'choose a lower one; 0 means any free port')
  if (host === 'localhost') return { kind: 'tcp', host: '127.0.0.1', port }
  if (host === '[::1]') return { kind: 'tcp', host: '::1', port }
  if (isIPv4(host) && host.startsWith('127.')) return { kind: 'tcp', host, port }
  throw new Refused('is not a local address', LOCAL_ONLY)
}

export function parseSocketPath(text: string): (Address & { readonly kind: 'unix' }) | undefined {
  if (text === 'off') return undefined
  const path = text.startsWith('unix:') ? text.slice('unix:'.length) : text
  if (path === '' || path.includes('\0')) throw new Refused('is not a path', 'write a path such as /run/asfaleia/relay.sock')
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    throw new Refused(`is longer than ${SOCKET_PATH_BYTES} bytes`, 'the system limits the path of a socket to that')
  }
  return { kind: 'unix', path }
}

/** Parses an address where tor listens. */
export function parsePeer(text: string): Address | undefined {
  const address = parseAddress(text)
  if (address?.kind === 'tcp' && address.port === 0) throw new Refused('needs a port', "see ControlPort or SocksPort in tor's torrc")
  return address
}

export function parsePath(text: string): string {
  if (text.includes('\0')) throw new Refused('is not a path', 'a path contains no NUL')
  return text
}

export function parseOnion(text: string): string {
  const name = parseName(text)
  if (name === 'localhost') throw new Refused('is not an onion address', 'write the `….onion` that the relay is leaving')
  return name
}

export function parseName(text: string): string {
  const name = text.toLowerCase()
  if (name === 'localhost' || isOnionName(name)) return name
  if (!name.endsWith('.onion')) throw new Refused('is not a name of a relay', 'write the `….onion` of its onion service, or localhost')
  throw new Refused('is not a v3 onion address', "its checksum is wrong; copy it from tor's hostname file")
}

/** Returns whether the name is a v3 onion address as tor writes it: in lower case, without a subdomain. */
export function isOnionName(name: string): boolean {
  return /^[a-z2-7]{56}\.onion$/.test(name) && isOnion(name)
}

export function choice<T extends string>(values: readonly T[]): Parse<T> {
  return (text) => {
    const value = values.find((each) => each === text)
    if (value !== undefined) return value
    const meant = nearest(text, values)
    throw new Refused(`is not one of ${values.join(', ')}`, meant === undefined ? 'see `asfaleia relay --help`' : `did you mean ${meant}?`)
  }
}

type Quantity = readonly [parse: Parse<number>, takes: string]

export function count(least: number, most: number, why: string): Quantity {
  return quantity('a whole number', { '': 1 }, least, most, why)
}

/** A size in bytes; `K`, `M` and `G` are powers of 1024. */
export function size(least: number, most: number, why: string): Quantity {
  return quantity('a size', { '': 1, K, M: K ** 2, G: K ** 3 }, least, most, why)
}

/** A time in seconds. The text must have a unit, since a bare number could mean anything. */
export function duration(least: number, most: number, why: string): Quantity {
  return quantity('a time', { s: SECOND, m: MINUTE, h: HOUR, d: DAY }, least, most, why)
}

function quantity(kind: string, units: Record<string, number>, least: number, most: number, why: string): Quantity {
  const takes = `${spell(least, units)} to ${spell(most, units)}`
  const parse = (text: string): number => {
    const [, digits = '', unit = ''] = /^(\d{1,15})([A-Za-z]?)$/.exec(text) ?? []
    const factor = Object.hasOwn(units, unit) ? units[unit]! : Number.NaN
    const value = digits === '' ? Number.NaN : Number(digits) * factor
    if (value >= least && value <= most) return value
    throw new Refused(`is not ${kind} from ${takes}`, why)
  }
  return [parse, takes]
}

/** Writes the quantity with the largest unit that divides it. */
function spell(value: number, units: Record<string, number>): string {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => value % factor === 0) ?? ['', 1]
  return `${value / factor}${unit}`
}
