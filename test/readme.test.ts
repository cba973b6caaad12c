/** Runs the README's transcript line by line and unchanged against a local relay. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startTestRelay, type TestRelay } from './support/relay.ts'
import { follow, readTranscript } from './support/transcript.ts'

let folder: string
let relay: TestRelay
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  // `npx asfaleia` in a checkout runs the program of the checkout.
  const program = join(import.meta.dirname, '../src/cli/main.ts')
  writeFileSync(join(folder, 'npx'), `#!/bin/sh\nshift\nexec ${process.execPath} ${program} "$@"\n`)
  chmodSync(join(folder, 'npx'), 0o755)
  relay = await startTestRelay()
})
afterAll(async () => {
  await relay.close()
  rmSync(folder, { recursive: true })
})

it("the README's transcript runs as printed", async () => {
  const steps = readTranscript()
  expect(steps.length).toBeGreaterThan(3)
  // Besides their profile, each needs two commands to the first answer; and only Alice's link goes from hand to hand.
  const received = steps.findIndex(({ printed }) => printed.includes('Alice: on my way'))
  const before = steps.slice(0, received + 1).filter(({ command }) => !command.includes('asfaleia me '))
  for (const person of ['alice', 'bob']) expect(before.filter(({ who }) => who === person)).toHaveLength(2)
  expect(before.filter(({ command }) => /\$(?:ALICE|BOB)/.test(command))).toHaveLength(1)
  await follow(steps, { cwd: folder, homes: folder, relay: `localhost:${relay.port}`, path: `${folder}:${process.env['PATH']}` })
}, 120_000)
