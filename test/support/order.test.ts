import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SECONDS } from './order.ts'

test('the table of long test files names files that exist', () => {
  const root = join(import.meta.dirname, '../..')
  expect(Object.keys(SECONDS).filter((file) => !existsSync(join(root, file)))).toEqual([])
})
