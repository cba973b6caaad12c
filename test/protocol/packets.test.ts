import { assert as check, oneof, property, stringMatching, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { asciiText, decodeAnswer, decodeRequest, isBase64, isWord } from '../../src/protocol/packets.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

describe('base64', () => {
  it('is what RFC 4648 section 4 allows, padded, at least a byte', () => {
    const right = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$/
    const near = stringMatching(/^[A-Za-z0-9+/=_ ;-]{0,24}$/)
    const whole = stringMatching(/^([A-Za-z0-9+/]{4}){0,6}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/)
    check(
      property(oneof(near, whole), (text) => {
        // At every alignment within a buffer, as fields of a line are.
        for (const shift of [0, 1, 2, 3]) {
          const line = bytes(`${'x'.repeat(shift)}${text}`)
          expect(isBase64(line.subarray(shift))).toBe(right.test(text))
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('is refused for a wrong byte at any place', () => {
    const good = bytes('QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=')
    expect(isBase64(good)).toBe(true)
    for (let at = 0; at < good.length - 1; at++) {
      for (const wrong of [0, 0x0d, 0x20, 0x2d, 0x3b, 0x3d, 0x5f, 0x80, 0xff]) {
        const broken = Uint8Array.from(good)
        broken[at] = wrong
        // `=` before the last `=` is padding of two.
        expect(isBase64(broken)).toBe(wrong === 0x3d && at === good.length - 2)
      }
    }
  })
})

describe('packets', () => {
  it('are cut into fields that are views', () => {
    const line = bytes('3;token;receiver;QUJD')
    const { name, fields } = decodeRequest(line)
    expect(name).toBe('SEND')
    expect(fields.map((field) => Buffer.from(field).toString())).toEqual(['token', 'receiver', 'QUJD'])
    line.fill(0)
    expect(fields[2]!.every((byte) => byte === 0)).toBe(true)
  })

  it("are a request or an answer by who sent them", () => {
    expect(decodeAnswer(bytes('13;id;7')).name).toBe('SENT')
    expect(() => decodeRequest(bytes('13;id;7'))).toThrow(new ProtocolError('unknown-packet'))
    expect(() => decodeAnswer(bytes('3;a;b;c'))).toThrow(new ProtocolError('unknown-packet'))
  })

  it('that are junk are refused by a code and nothing else', () => {
    check(
      property(uint8Array({ maxLength: 80 }), (junk) => {
        for (const decode of [decodeRequest, decodeAnswer]) {
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
  it('compare byte by byte', () => {
    expect([isWord(bytes('lease'), 'lease'), isWord(bytes('lease '), 'lease'), isWord(bytes('Lease'), 'lease')]).toEqual([true, false, false])
  })

  it('are text only if they are printable ASCII', () => {
    expect(asciiText(bytes('a b~'))).toBe('a b~')
    for (const text of ['\0', '\x1b[1m', '\x7f', '\xe9']) expect(asciiText(bytes(text))).toBeUndefined()
  })
})
