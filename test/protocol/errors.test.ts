import { expect, it } from 'vitest'
import { ERRORS } from '../../src/protocol/errors.ts'

it.each(Object.entries(ERRORS))('the text of %s is one field, whose detail stays the next', (code, { text }) => {
  expect(text).toMatch(/^[\x20-\x3a\x3c-\x7e]+$/)
  expect(code).toMatch(/^[a-z-]+$/)
})
