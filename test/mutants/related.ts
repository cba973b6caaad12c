/** The unit tests that should notice a defect of a source file: those that mirror it first, and then those around it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './defect.ts'

/** The tests of each part beside the folder that mirrors it, most specific part first. */
const AROUND: readonly (readonly [part: string, tests: readonly string[]])[] = [
  ['src/mailbox/', ['test/mailbox', 'test/protocol', 'test/relay', 'test/handover']],
  ['src/protocol/', ['test/protocol', 'test/relay', 'test/client/wire', 'test/client/hostile.test.ts', 'test/corpus.test.ts']],
  ['src/relay/', ['test/relay', 'test/server', 'test/handover', 'test/operator']],
  ['src/handover/', ['test/handover', 'test/server']],
  ['src/transport/', ['test/transport', 'test/relay', 'test/server', 'test/client/wire', 'test/corpus.test.ts']],
  ['src/operator/', ['test/operator', 'test/server']],
  ['src/server/', ['test/server', 'test/config', 'test/operator']],
  ['src/config/', ['test/config', 'test/server', 'test/cli/main.test.ts']],
  ['src/auth/', ['test/auth', 'test/client/format', 'test/client/vectors.test.ts', 'test/corpus.test.ts']],
  ['src/client/wire/', ['test/client/wire', 'test/client/messenger', 'test/client/hostile.test.ts', 'test/operator/probe.test.ts']],
  [
    'src/client/format/',
    ['test/client/format', 'test/client/vectors.test.ts', 'test/formats.test.ts', 'test/client/messenger', 'test/corpus.test.ts'],
  ],
  ['src/client/ring/', ['test/client/ring', 'test/client/messenger', 'test/cli/profile/rings.test.ts', 'test/corpus.test.ts']],
  ['src/client/delivery/', ['test/client/delivery', 'test/client/messenger', 'test/cli/profile/state.test.ts', 'test/cli/talk']],
  ['src/client/messenger/', ['test/client/messenger', 'test/client/delivery', 'test/cli/talk', 'test/cli/owner', 'test/cli/chat']],
  ['src/cli/', ['test/cli']],
]

/** Returns groups of tests, to run one after another until one notices. */
export function testsOf(file: string): readonly (readonly string[])[] {
  const mirror = file.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts')
  const around = AROUND.find(([part]) => file.startsWith(part))?.[1] ?? []
  const [first, ...others] = around.filter((path) => existsSync(join(ROOT, path)))
  const groups = [...(existsSync(join(ROOT, mirror)) ? [[mirror]] : []), ...(first === undefined ? [] : [[first]])]
  return others.length > 0 ? [...groups, others] : groups
}
