import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeBase64, encodeMpint, encodeString, encodeUint32, isSame, WireError, WireReader } from '../../src/auth/ssh-wire.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('mpint', () => {
  // RFC 4251, section 5, the positive examples.
  test.each([
    ['09a378f9b2e332a7', '0000000809a378f9b2e332a7'],
    ['80', '000000020080'],
  ])('%s is written as %s and read back', (magnitude, wire) => {
    expect(hex(encodeMpint(bytes(magnitude)))).toBe(wire)
    expect(hex(new WireReader(bytes(wire)).mpint())).toBe(magnitude)
  })

  test('zero is encoded as empty and leading zeros are dropped', () => {
    expect(hex(encodeMpint(bytes('0000')))).toBe('00000000')
    expect(hex(encodeMpint(bytes('000080')))).toBe('000000020080')
  })

  test.each([
    ['zero', '00000000'],
    ['zero with a byte', '0000000100'],
    ['negative', '00000002edcc'],
    ['an unneeded leading zero', '00000002007f'],
    ['two unneeded leading zeros', '0000000400000080'],
    ['cut short', '00000002'],
  ])('the reader refuses: %s', (_name, wire) => {
    expect(() => new WireReader(bytes(wire)).mpint()).toThrow(WireError)
  })
})

describe('WireReader.name', () => {
  test.each(['', 'a b', 'a,b', 'a\n', 'a\x7f', 'ä', 'x'.repeat(65)])('refuses %j', (name) => {
    expect(() => new WireReader(encodeString(Buffer.from(name, 'latin1'))).name()).toThrow(WireError)
  })

  test.each(['ssh-rsa', 'sk-ssh-ed25519@openssh.com', '!', '~', 'x'.repeat(64)])('accepts %j', (name) => {
    expect(new WireReader(encodeString(name)).name()).toBe(name)
  })
})

test('a length past the end of the buffer is refused, however large', () => {
  for (const wire of ['', '000000', '00000001', 'ffffffff', '7fffffff00']) {
    expect(() => new WireReader(bytes(wire)).string()).toThrow(WireError)
  }
})

test('end() refuses leftover bytes', () => {
  const reader = new WireReader(Buffer.concat([encodeUint32(1), Buffer.of(0)]))
  expect(reader.uint32()).toBe(1)
  expect(() => reader.end()).toThrow(WireError)
  expect(reader.bytes(1)).toEqual(Buffer.of(0))
  expect(() => reader.end()).not.toThrow()
})

test('bytes are the same only if their count and each of them are', () => {
  expect(isSame(bytes('0102'), bytes('0102'))).toBe(true)
  for (const other of ['', '01', '010203', '0202', '0103']) {
    expect(isSame(bytes('0102'), bytes(other))).toBe(false)
    expect(isSame(bytes(other), bytes('0102'))).toBe(false)
  }
})

test('the reader returns every string that was encoded', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (strings) => {
      const reader = new WireReader(Buffer.concat(strings.map(encodeString)))
      for (const string of strings) expect(Buffer.compare(reader.string(), string)).toBe(0)
      reader.end()
    }),
  )
})

test.each(['', 'A', 'AA', 'AAA', 'AAAA=', 'AB==', 'AAB=', 'A-__', ' AAAA', 'AA AA', 'AAAA\n', 'AA==AAAA', '===='])(
  'decodeBase64 refuses %j, which is not canonical',
  (text) => {
    expect(() => decodeBase64(text)).toThrow(WireError)
  },
)
