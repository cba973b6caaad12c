/** A stranger's first minutes: a fresh clone, an empty home, the machine's own Node.js and npm, and the README. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { succeed } from '../support/debian.ts'
import { run } from '../support/process.ts'
import { findProgram, missing } from '../support/programs.ts'
import { startTestRelay } from '../support/relay.ts'
import { follow, readTranscript } from '../support/transcript.ts'

const ROOT = join(import.meta.dirname, '../..')

test('the commands of the README run as they stand, without a warning of npm', { timeout: 300_000 }, async (context) => {
  const reason = missing('git', 'npm', 'node')
  context.skip(reason !== undefined, reason)
  const folder = mkdtempSync(join(tmpdir(), 'asf-clone-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  // What a clone of this checkout would have, with the changes that are not committed yet.
  const clone = join(folder, 'asfaleia')
  const files = (await succeed('git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'))
    .split('\0')
    .filter(Boolean)
  for (const file of files) {
    mkdirSync(join(clone, dirname(file)), { recursive: true })
    cpSync(join(ROOT, file), join(clone, file))
  }
  const path = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((each) => !each.includes('node_modules'))
    .join(delimiter)
  expect(findProgram('node')).toBeDefined()

  const [, setup = ''] = /```sh\n(?:.*\n)*?(npm run \w+)/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))!
  // Without what the npm that runs these tests sets, the level of its messages among it.
  const alone = `unset $(env | sed -n 's/^\\(npm_[^=]*\\)=.*/\\1/p'); ${setup}`
  const installed = await run(['sh', '-c', alone], { cwd: clone, env: { HOME: join(folder, 'alice'), PATH: path } })
  expect(installed).toMatchObject({ code: 0 })
  expect(`${installed.stdout}${installed.stderr}`).not.toMatch(/warn|notice|deprecated|vulnerab/i)

  const relay = await startTestRelay()
  onTestFinished(() => relay.close())
  await follow(readTranscript(), { cwd: clone, homes: folder, relay: `localhost:${relay.port}`, path })
})
