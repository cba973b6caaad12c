import { expect, test } from 'vitest'
import { findDialled, isForeign, isLoopbackHost, parseTokens } from '../../src/transport/visitor.ts'

// test/transport/upgrade.test.ts tests Host and Origin of whole requests.

const ONION = 'pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion'

test.each(['localhost', 'LOCALHOST:80', '127.0.0.1', '127.255.0.9:3308', '[::1]', '[::1]:8080'])('the host %j is loopback', (host) => {
  expect([isLoopbackHost(host), findDialled(host, [])]).toEqual([true, 'localhost'])
})

test.each([
  undefined,
  '',
  '12.0.0.1',
  '128.0.0.1',
  '127.0.0.256',
  '127.0.0.1.example',
  '127.1',
  '[::2]',
  '::1',
  'localhost:',
  'local host',
])('the host %j is not loopback', (host) => {
  expect([isLoopbackHost(host), findDialled(host, [])]).toEqual([false, undefined])
})

test('a visitor comes by a name of the relay, in any case and at any port', () => {
  expect(findDialled(`${ONION.toUpperCase()}:80`, ['other.example', ONION])).toBe(ONION)
  for (const host of ['example.org', `x${ONION}`, `${ONION}.`]) expect(findDialled(host, ['other.example', ONION])).toBeUndefined()
})

test.each<readonly [origin: string | undefined, dialled: string]>([
  [undefined, 'localhost'],
  ['http://localhost:1', 'localhost'],
  ['https://127.0.0.1', 'localhost'],
  ['http://[::1]:80', 'localhost'],
  [`http://${ONION}:8080`, ONION],
  ['null', ONION],
])('a page of %j may visit %j', (origin, dialled) => {
  expect(isForeign(origin, dialled)).toBe(false)
})

test.each<readonly [origin: string, dialled: string]>([
  ['null', 'localhost'],
  ['http://example.org', 'localhost'],
  ['http://12.0.0.1', 'localhost'],
  ['http://localhost', ONION],
  [`http://${ONION}`, 'localhost'],
  ['file://localhost', 'localhost'],
  ['chrome-extension://localhost', 'localhost'],
  ['localhost', 'localhost'],
  ['', 'localhost'],
])('a page of %j must not visit %j', (origin, dialled) => {
  expect(isForeign(origin, dialled)).toBe(true)
})

test.each([
  ['asfaleia.1', ['asfaleia.1']],
  ['chat,asfaleia.1', ['chat', 'asfaleia.1']],
  [' chat \t,\t asfaleia.1 ', ['chat', 'asfaleia.1']],
])('the list %j is read', (list, tokens) => {
  expect(parseTokens(list)).toEqual(tokens)
})

// A quadratic time would be minutes.
test('a list of a million blanks is refused in a linear time', () => {
  expect(parseTokens(`a${'\t'.repeat(1_000_000)}b`)).toBeUndefined()
})

test.each(['', ' ', ',', 'asfaleia.1,', 'asfaleia.1, ', ',asfaleia.1', 'chat,,asfaleia.1', 'a b', 'a;b', '"a"', 'a\u00a0', 'a\n'])(
  'the list %j is refused',
  (list) => {
    expect(parseTokens(list)).toBeUndefined()
  },
)
