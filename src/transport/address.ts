/**
 * Addresses of relays as a person writes them, and the errors of connecting to one. Parses text only; it resolves and
 * connects to nothing, so a page can use it, too.
 */
import { isOnion } from '../onion/address.ts'
import { CodedError } from '../protocol/coded-error.ts'

export const DEFAULT_RELAY_PORT = 3308
/** The path of WebSockets at the public HTTP listener, and their subprotocol. */
export const WEBSOCKET_PATH = '/v1'
export const SUBPROTOCOL = 'asfaleia.1'

/** A listener of this machine: loopback, or a unix socket. */
export type Address =
  { readonly kind: 'tcp'; readonly host: string; readonly port: number } | { readonly kind: 'unix'; readonly path: string }

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** The place of a relay, and the name that its challenges must contain (docs/protocol.md, section 3). */
export type Target =
  | { readonly kind: 'unix'; readonly path: string; readonly name: 'localhost' }
  | { readonly kind: 'loopback'; readonly host: string; readonly port: number; readonly name: 'localhost' }
  | { readonly kind: 'name'; readonly host: string; readonly port: number; readonly name: string }

export type ConnectCode =
  /** No process listens at the SOCKS port. */
  | 'proxy-down'
  /** The process at the SOCKS port does not speak SOCKS5 with user and password, or broke off. */
  | 'proxy-failed'
  /** Tor found no (valid) descriptor of the onion service. */
  | 'onion-not-found'
  /** Tor found the onion service but no way to it. */
  | 'onion-unreachable'
  /** The onion service requires client authorization, and Tor has no key for it. */
  | 'onion-locked'
  /** Tor does not accept the onion address. */
  | 'onion-malformed'
  /** Tor reached the onion service, and the relay behind it did not answer. */
  | 'onion-relay-down'
  /** An onion address without a way through Tor: it was neither resolved nor dialled. */
  | 'onion-needs-tor'
  /** The host exists, and no process listens at the port. */
  | 'relay-down'
  | 'unreachable'
  | 'connect-timeout'

export class ConnectError extends CodedError<ConnectCode> {
  constructor(code: ConnectCode) {
    super('ConnectError', code)
  }
}

const LOOPBACK = /^127(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$/

/**
 * Parses `HOST[:PORT]`, `[::1][:PORT]` or `unix:PATH`; the default port is 3308.
 * @throws {TypeError} with a line of text for people, without the given text
 */
export function parseTarget(text: string): Target {
  if (text.startsWith('unix:')) {
    const path = text.slice(5)
    if (path === '' || path.includes('\0')) throw new TypeError('expected the path of a socket after unix:')
    return { kind: 'unix', path, name: 'localhost' }
  }
  const { host, port } = parseEndpoint(text, DEFAULT_RELAY_PORT)
  if (host === 'localhost' || host === '::1' || LOOPBACK.test(host)) {
    return { kind: 'loopback', host, port, name: 'localhost' }
  }
  return { kind: 'name', host, port, name: host }
}

/** Characters that IDNA (UTS 46) maps to the dot between two labels. */
const DOTS = /[\u{3002}\u{FF0E}\u{FF61}]/gu

/**
 * Parses `HOST[:PORT]` and normalizes the host: lower case, plain dots, no brackets around an IPv6 address, and no dot at
 * the end. A dot at the end would make Tor take an onion address for an ordinary name, and ask an exit relay for it.
 * @throws {TypeError} with a line of text for people, without the given text
 */
export function parseEndpoint(text: string, defaultPort: number): Endpoint {
  const match = /^(?:\[(?<six>[0-9a-f:.]{2,45})\]|(?<host>[a-z0-9](?:[a-z0-9._-]{0,252}?))\.?)(?::(?<port>[0-9]{1,5}))?$/.exec(
    text.replace(DOTS, '.').toLowerCase(),
  )
  const six = match?.groups?.['six']
  const host = six ?? match?.groups?.['host']
  const port = Number(match?.groups?.['port'] ?? defaultPort)
  if (host === undefined || (six !== undefined && !URL.canParse(`http://[${six}]`)) || port < 1 || port > 65_535)
    throw new TypeError('expected an address of the form HOST[:PORT]')
  if (six === undefined && host.split('.').includes('')) throw new TypeError('a host name must not have an empty part between two dots')
  if (isOnionDomain(host) && !isOnion(host)) throw new TypeError(describeBadOnion(host))
  return { host, port }
}

/**
 * Returns whether the host is a name below `.onion`, which only Tor may see (RFC 7686).
 * @param host normalized, as by {@link parseEndpoint}
 */
export function isOnionDomain(host: string): boolean {
  return host === 'onion' || host.endsWith('.onion')
}

function describeBadOnion(host: string): string {
  const label = host.split('.').at(-2) ?? ''
  if (/^[a-z2-7]{16}$/.test(label))
    return 'that is a version 2 onion address, which Tor no longer supports: ask for the address of 56 letters'
  if (label.length !== 56) return `that onion address is mistyped: it has ${label.length} characters before .onion, and not 56`
  return 'that onion address is mistyped: its checksum is wrong'
}
