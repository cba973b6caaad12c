import { expect, it } from 'vitest'
import { ERRORS } from '../../src/protocol/errors.ts'

it.each(Object.entries(ERRORS))('the text of %s fits in one packet field and its code is a lower-case word', (code, { text }) => {
  expect(text).toMatch(/^[\x20-\x3a\x3c-\x7e]+$/)
  expect(code).toMatch(/^[a-z-]+$/)
})
