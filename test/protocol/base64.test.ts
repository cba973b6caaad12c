import { expect, test } from 'vitest'
import { decodeBase64, encodeBase64 } from '../../src/protocol/base64.ts'

const decode = (text: string, stray?: 'ignored'): string | undefined => {
  const bytes = decodeBase64(Buffer.from(text), stray)
  return bytes && Buffer.from(bytes).toString()
}

test('padded base64 reads back', () => {
  for (const text of ['a', 'ab', 'abc', 'abcd']) expect(decode(encodeBase64(Buffer.from(text)))).toBe(text)
})

test('an engine without `toBase64` encodes the same', () => {
  const texts = ['', 'a', 'ab', 'abc', 'abcd', '\xff\xfe\xfd~?>']
  const old = texts.map((text) => encodeBase64(Object.assign(Buffer.from(text, 'latin1'), { toBase64: undefined })))
  expect(old).toEqual(texts.map((text) => Buffer.from(text, 'latin1').toString('base64')))
  expect(texts.map((text) => encodeBase64(Buffer.from(text, 'latin1')))).toEqual(old)
})

test.each(['', 'Y', 'YQ', 'YQ=', 'YQ==YQ==', '!GFi', 'Y!Fi', 'YW!i', 'YWJ!', 'YWJj!', '===='])('%j is no base64', (text) => {
  expect([decode(text), decode(text, 'ignored')]).toEqual([undefined, undefined])
})

test('stray bits are refused, each of them, or ignored', () => {
  const stray = ['YR==', 'YS==', 'YU==', 'YY==', 'YWJ=', 'YWK='].filter(
    (text) => encodeBase64(Buffer.from(decode(text, 'ignored')!)) !== text,
  )
  expect(stray).toHaveLength(6)
  for (const text of stray) expect(decode(text)).toBeUndefined()
})
