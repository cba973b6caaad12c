import { isOnion } from '../../../src/onion/address.ts'
import { isOnionDomain, parseEndpoint, parseTarget } from '../../../src/transport/address.ts'
import { normalizeRelay } from '../../../src/client/format/card.ts'
import { findDialled, isForeign, isLoopbackHost, parseTokens } from '../../../src/transport/visitor.ts'
import { ONION } from '../people.ts'
import { attempt, fail, same, type Target, utf8 } from '../target.ts'

const isCoded = (error: unknown): boolean => error instanceof TypeError && error.message.length > 0
const DOTS = /[.\u3002\uff0e\uff61]/

/** An address of a relay as a stranger's card or a person writes it, and Host and Origin of a request. */
export const target: Target = {
  name: 'address',
  covers: ['transport/address.ts', 'onion/address.ts', 'transport/visitor.ts'],
  longest: 400,
  seeds: () =>
    [
      ONION,
      `${ONION}.`,
      `WWW.${ONION.toUpperCase()}:3308`,
      ONION.replace('.', '\u3002'),
      `${ONION.replace('2g', '2h')}`,
      'expyuzz4wqqyqhjn.onion',
      'localhost:1',
      '127.0.0.1:65535',
      '[::1]:3308',
      'unix:/run/asfaleia/relay.sock',
      'example.org:99',
      `http://${ONION}`,
      'null',
      'asfaleia.1, chat',
    ].map((text) => Buffer.from(text)),
  run(input) {
    const text = utf8(input)
    const parsed = attempt(() => parseTarget(text), isCoded)
    const endpoint = attempt(() => parseEndpoint(text, 3_308), isCoded)
    isLoopbackHost(text)
    parseTokens(text)
    const dialled = findDialled(text, [ONION])
    if (dialled !== undefined && dialled !== 'localhost' && dialled !== ONION) fail('a foreign name is dialled')
    if (!isForeign(text, ONION) && text !== `null` && !text.toLowerCase().includes(ONION)) fail('a foreign origin may visit')
    if ('value' in endpoint) {
      const { host, port } = endpoint.value
      if (!Number.isInteger(port) || port < 1 || port > 65_535) fail('a port is out of range')
      if (host.endsWith('.') || /[^a-z0-9.:_-]/.test(host) || (DOTS.test(host.at(-1)!) && !host.includes(':'))) fail(`a host is ${host}`)
      if (isOnionDomain(host) && !isOnion(host)) fail('an onion address with a wrong checksum')
      const written = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
      same('written and read', JSON.stringify(parseEndpoint(written, 1)), JSON.stringify(endpoint.value))
    }
    const relay = normalizeRelay(text)
    if (relay !== undefined) same('a relay twice', normalizeRelay(relay) ?? 'nothing', relay)
    return `${'value' in parsed ? parsed.value.kind : parsed.refused}, ${relay === undefined ? 'no relay' : 'relay'}, ${dialled ?? 'not dialled'}`
  },
}
