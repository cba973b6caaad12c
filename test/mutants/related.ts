/** The unit tests that should notice a defect of a source file: those that mirror it first, and then those around it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './defect.ts'

/** The tests of each part beside the folder that mirrors it, most specific part first. */
const AROUND: readonly (readonly [part: string, tests: readonly string[]])[] = [
  ['src/mailbox/', ['test/mailbox', 'test/protocol']],
  ['src/protocol/', ['test/protocol', 'test/relay', 'test/client/wire', 'test/client/hostile.test.ts']],
  ['src/relay/', ['test/relay', 'test/server']],
  ['src/handover/', ['test/handover', 'test/server']],
  ['src/transport/', ['test/transport', 'test/server', 'test/client/wire']],
  ['src/operator/', ['test/operator', 'test/server']],
  ['src/server/', ['test/server', 'test/config']],
  ['src/config/', ['test/config', 'test/server']],
  ['src/auth/', ['test/auth', 'test/client/format', 'test/client/vectors.test.ts']],
  ['src/client/wire/', ['test/client/wire', 'test/client/hostile.test.ts', 'test/operator/probe.test.ts']],
  ['src/client/format/', ['test/client/format', 'test/client/vectors.test.ts', 'test/formats.test.ts']],
  ['src/client/ring/', ['test/client/ring', 'test/cli/profile/rings.test.ts']],
  ['src/client/delivery/', ['test/client/delivery', 'test/client/messenger']],
  ['src/client/messenger/', ['test/client/messenger', 'test/client/hostile.test.ts', 'test/cli/talk/talk.test.ts']],
  ['src/cli/', ['test/cli']],
]

/** Returns groups of tests, to run one after another until one notices. */
export function testsOf(file: string): readonly (readonly string[])[] {
  const mirror = mirrorOf(file)
  const around = AROUND.find(([part]) => file.startsWith(part))?.[1] ?? []
  const [first, ...others] = around.filter((path) => existsSync(join(ROOT, path)))
  const groups = [...(existsSync(join(ROOT, mirror)) ? [[mirror]] : []), ...(first === undefined ? [] : [[first]])]
  return others.length > 0 ? [...groups, others] : groups
}

/** Whether the test mirrors the source file. */
export const isMirror = (test: string, file: string): boolean => test === mirrorOf(file)

const mirrorOf = (file: string): string => file.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts')
