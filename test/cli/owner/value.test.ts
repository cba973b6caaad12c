/** Values that the owner of a profile and its clients exchange as JSON. */
import { describe, expect, test } from 'vitest'
import { AgentError } from '../../../src/auth/agent.ts'
import { pack, unpack } from '../../../src/cli/owner/value.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import { UnwritableError } from '../../../src/cli/disk/file.ts'
import { fingerprintOf, formatKey } from '../../../src/client/format/field.ts'
import { MessageError } from '../../../src/client/format/message.ts'
import { MessengerError } from '../../../src/client/messenger/error.ts'
import { RelayError } from '../../../src/client/wire/error.ts'
import { makePerson } from '../../support/people.ts'

const pass = (value: unknown): unknown => unpack(JSON.parse(JSON.stringify(pack(value))))

test.each([
  ['a text', 'a'],
  ['a number', 1],
  ['nothing', null],
  ['bytes of a part of a buffer', Uint8Array.from(Buffer.from('xabcx').subarray(1, 4))],
  ['no bytes', new Uint8Array()],
  ['a list of values', [1, [Uint8Array.of(2)], { a: 'b' }]],
  ['an object in an object', { a: { b: [true, false, null] }, c: '' }],
])('%s passes unchanged', (_what, value) => {
  expect(pass(value)).toEqual(value)
})

test('bytes that share memory with others pass alone', () => {
  expect(pass(Buffer.from('xabcx').subarray(1, 4))).toEqual(new Uint8Array(Buffer.from('abc')))
})

test('undefined fields and functions are left out', () => {
  expect(Object.keys(pass({ a: 1, b: undefined, c: () => {} }) as object)).toEqual(['a'])
})

test('a key passes as a key', () => {
  const { key } = makePerson('bob')
  const passed = (pass({ key }) as { key: typeof key }).key
  expect([passed.type, fingerprintOf(passed), formatKey(passed)]).toEqual([key.type, fingerprintOf(key), formatKey(key)])
})

describe('an error keeps its kind, its hint and its exit code:', () => {
  test.each([
    ['an error of a command', new CliError('it failed', { hint: 'try again', exitCode: 77 }), CliError],
    ['an error of a command without a hint', new CliError('it failed'), CliError],
    ['an error of a full disk', new UnwritableError('cannot write', { hint: 'make room' }), UnwritableError],
    ['an error of a relay', new RelayError('rate-limited', { seconds: 7 }), RelayError],
    ['an error of a relay without a time', new RelayError('denied'), RelayError],
    ['an error of the messenger', new MessengerError('outbox-full'), MessengerError],
    ['an error of a message', new MessageError('no-recipient'), MessageError],
    ['an error of an agent', new AgentError('no-agent'), AgentError],
  ])('%s', (_what, error, type) => {
    const passed = pass(error) as Error
    expect(passed).toBeInstanceOf(type)
    const factsOf = (each: object): unknown => {
      const { name, message, code, seconds, hint, exitCode } = each as Record<string, unknown>
      return { name, message, code, seconds, hint, exitCode }
    }
    expect(factsOf(passed)).toEqual(factsOf(error))
  })

  test('no error of a command becomes one of a full disk', () => {
    expect(pass(new CliError('it failed'))).not.toBeInstanceOf(UnwritableError)
  })

  test('any other one passes without its text, unless it is about a value', () => {
    expect(pass(new Error('the secret'))).toEqual(new Error('the owner of the profile failed'))
    expect(pass(new RangeError('the secret'))).toEqual(new Error('the owner of the profile failed'))
    expect(pass(new TypeError('the file became too short'))).toEqual(new TypeError('the file became too short'))
  })
})

test.each([{ $bytes: 1 }, { $key: 'ssh-ed25519 AAAA' }, { $key: 1 }])('%j is malformed', (value) => {
  expect(() => unpack(value)).toThrow(TypeError)
})
