/**
 * An older Node starts the command again with the checkout's own Node. The Node that runs the tests plays the
 * older one.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { run } from '../support/process.ts'

const MODULE = join(import.meta.dirname, '../../src/cli/node.ts')

test.each([true, false])("the command line runs again on the checkout's Node, with its exit code (stays: %s)", async (stays) => {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const script = join(folder, 'script.mts')
  writeFileSync(
    script,
    `
    import { runOnOwnNode } from ${JSON.stringify(MODULE)}
    if (process.env.AGAIN === undefined) {
      process.env.AGAIN = 'yes'
      process.exit(await runOnOwnNode(${stays}))
    }
    console.log(process.execPath, process.argv[2], process.env.ASFALEIA_TIED)
    process.exit(7)
  `,
  )
  const { code, stdout } = await run([process.execPath, script, 'argument'])
  expect(stdout).toMatch(new RegExp(`/node-linux-[a-z0-9]+/bin/node argument ${stays ? '1' : 'undefined'}\\n$`))
  expect(code).toBe(7)
})
