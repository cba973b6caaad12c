/**
 * The checks of an HTTP request that keep web pages out. A page in a browser on this machine can reach every loopback
 * port: by an address of its own, by a name that its owner resolves to 127.0.0.1 (DNS rebinding), and from another port.
 * Its browser states both truthfully: in Host the address that it dialled, in Origin the site that the page is from.
 */

const LOOPBACK = /^127(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$/
const AUTHORITY = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,255})(?::[0-9]{1,5})?$/
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Returns the name that a Host header states: `localhost` for any address of loopback, undefined if it is malformed. */
function nameOf(authority: string): string | undefined {
  const host = AUTHORITY.exec(authority.toLowerCase())?.[1]
  return host === '[::1]' || (host !== undefined && LOOPBACK.test(host)) ? 'localhost' : host
}

/** Whether the Host header is an address of this machine's loopback, in plain spelling. */
export function isLoopbackHost(host: string | undefined): boolean {
  return nameOf(host ?? '') === 'localhost'
}

/**
 * Returns the relay's name by which a visitor came, as its Host header states it: `localhost` for loopback, or one of the
 * relay's own names. Returns undefined for any other host.
 */
export function findDialled(host: string | undefined, names: readonly string[]): string | undefined {
  const name = nameOf(host ?? '')
  return name === 'localhost' ? name : names.find((own) => own === name)
}

/**
 * Whether a page of another site sent the request. Pages of loopback may visit loopback, and pages of an onion service
 * the same service, at any port. An opaque origin is a page from a file, but also any sandboxed frame: it may visit an
 * onion address only, which it has to know.
 *
 * @param dialled the name by which the visitor came
 */
export function isForeign(origin: string | undefined, dialled: string): boolean {
  if (origin === undefined) return false
  if (origin === 'null') return dialled === 'localhost'
  const site = /^https?:\/\/(.+)$/.exec(origin)?.[1]
  return site === undefined || nameOf(site) !== dialled
}

/**
 * Reads a list of tokens, as in Sec-WebSocket-Protocol, in a time that is linear in its length. Returns undefined if an element
 * is empty or not a token.
 */
export function parseTokens(list: string): string[] | undefined {
  const tokens = list.split(',').map((element) => element.replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, ''))
  return tokens.every((token) => TOKEN.test(token)) ? tokens : undefined
}
