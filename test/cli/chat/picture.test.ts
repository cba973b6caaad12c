import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { drawPicture, PICTURE } from '../../support/picture.ts'

it("the picture in the README equals the chat's screen (redraw it with node test/support/picture.ts)", () => {
  expect(readFileSync(PICTURE, 'utf8')).toBe(drawPicture())
})
