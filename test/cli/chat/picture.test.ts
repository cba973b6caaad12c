import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { drawPicture, PICTURE } from '../../support/picture.ts'

it('the picture in the README is what the chat looks like (node test/support/picture.ts draws it)', () => {
  expect(readFileSync(PICTURE, 'utf8')).toBe(drawPicture())
})
