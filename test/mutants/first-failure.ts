/** Skips the tests of a file after its first failure: one failure is enough to notice a defect. */
import { beforeEach } from 'vitest'

let hasFailed = false

beforeEach((context) => {
  context.skip(hasFailed)
  context.onTestFailed(() => {
    hasFailed = true
  })
})
