import { assert as check, oneof, property, stringMatching, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { Found } from '../../src/protocol/line.ts'
import { asciiText, createRequest, decodeAnswer, type Fields, isBase64, isWord, type RequestName } from '../../src/protocol/packets.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

const wordsOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView => new DataView(buffer, byteOffset, byteLength)

function readRequest(line: Uint8Array): Fields<RequestName> {
  const found = new Found()
  // Surround the line with other bytes, as it is surrounded in a chunk.
  const around = Buffer.concat([Buffer.from('1;x\n'), line, Buffer.from('\n2;y')])
  found.set(around, 4, 4 + line.length)
  const request = createRequest()
  request.read(found)
  return request
}

describe('isBase64', () => {
  it('accepts exactly non-empty, padded base64 of RFC 4648 section 4', () => {
    const right = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$/
    const near = stringMatching(/^[A-Za-z0-9+/=_ ;-]{0,24}$/)
    const whole = stringMatching(/^([A-Za-z0-9+/]{4}){0,6}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/)
    check(
      property(oneof(near, whole), (text) => {
        // Try every alignment within a buffer, because fields start anywhere in a line.
        for (const shift of [0, 1, 2, 3]) {
          const line = bytes(`${'x'.repeat(shift)}${text}`)
          expect(isBase64(line.subarray(shift))).toBe(right.test(text))
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('refuses a wrong byte at any position', () => {
    const good = bytes('QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=')
    expect(isBase64(good)).toBe(true)
    for (let at = 0; at < good.length - 1; at++) {
      for (const wrong of [0, 0x0d, 0x20, 0x2d, 0x3b, 0x3d, 0x5f, 0x80, 0xff]) {
        const broken = Uint8Array.from(good)
        broken[at] = wrong
        // `=` just before the final `=` is valid padding.
        expect(isBase64(broken)).toBe(wrong === 0x3d && at === good.length - 2)
      }
    }
  })
})

describe('packets', () => {
  it('decodes an answer into fields that are views of the line', () => {
    const line = bytes('13;id;604800')
    const { name, fields } = decodeAnswer(line)
    expect(name).toBe('SENT')
    expect(fields.map((field) => Buffer.from(field).toString())).toEqual(['id', '604800'])
    line.fill(0)
    expect(fields[1]!.every((byte) => byte === 0)).toBe(true)
  })

  it.each([
    ['3;token;receiver;QUJD', 'SEND', ['token', 'receiver', 'QUJD']],
    ['3;;;', 'SEND', ['', '', '']],
    ['3;a;b;c;d', 'SEND', ['a', 'b', 'c;d']],
    ['4;token;', 'GET', ['token', '']],
    [`5;t${';0123456789abcdef'.repeat(40)}`, 'ACK', ['t', ...Array<string>(40).fill('0123456789abcdef')]],
    ['7', 'PING', []],
  ])('reads a request in place, inside a larger buffer: %s', (line, name, fields) => {
    const request = readRequest(bytes(line))
    const read = Array.from({ length: request.count }, (_, n) => request.field(n))
    expect([request.name, read.map((field) => Buffer.from(field).toString())]).toEqual([name, fields])
    expect(read.map((field, n) => request.isSame(n, wordsOf(field)))).toEqual(fields.map(() => true))
    expect(read.map((_, n) => request.isSame(n, wordsOf(bytes(`${fields[n]!}x`))))).toEqual(fields.map(() => false))
    const last = read
      .filter((field) => field.length > 0)
      .map((field) => Uint8Array.from(field, (byte, i) => (i === field.length - 1 ? byte ^ 1 : byte)))
    expect(last.some((field, n) => request.isSame(n, wordsOf(field)))).toBe(false)
    expect(read.map((_, n) => request.isBase64(n))).toEqual(fields.map((field) => isBase64(bytes(field))))
  })

  it.each([
    ['01234567', 0, 0x01234567],
    ['fedcba98', 0, 0xfedcba98],
    ['xx89abcdef', 2, 0x89abcdef],
    ['ABCDEF01', 0, NaN],
    ['0123456g', 0, NaN],
    ['0123456', 0, NaN],
  ])('reads eight hexadecimal digits as a number and anything else as NaN: %s', (digits, skip, number) => {
    expect(readRequest(bytes(`5;t;${digits};`)).hex(1, skip)).toBe(number)
  })

  it("reads a number as a request or as an answer, depending on the sender's side", () => {
    expect(decodeAnswer(bytes('13;id;7')).name).toBe('SENT')
    expect(() => readRequest(bytes('13;id;7'))).toThrow(new ProtocolError('unknown-packet'))
    expect(() => decodeAnswer(bytes('3;a;b;c'))).toThrow(new ProtocolError('unknown-packet'))
  })

  it('refuses junk only with a ProtocolError', () => {
    check(
      property(uint8Array({ maxLength: 80 }), (junk) => {
        for (const decode of [readRequest, decodeAnswer]) {
          try {
            decode(junk)
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError)
          }
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('short fields', () => {
  it('compares a field with a word byte by byte', () => {
    expect([isWord(bytes('lease'), 'lease'), isWord(bytes('lease '), 'lease'), isWord(bytes('Lease'), 'lease')]).toEqual([
      true,
      false,
      false,
    ])
  })

  it('returns text only for printable ASCII', () => {
    expect(asciiText(bytes('a b~'))).toBe('a b~')
    for (const text of ['\0', '\x1b[1m', '\x7f', '\xe9']) expect(asciiText(bytes(text))).toBeUndefined()
  })
})
