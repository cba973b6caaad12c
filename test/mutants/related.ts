/**
 * The unit tests that should notice a defect of a source file: the one that mirrors it first, then those that import it, and
 * then those around it.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expand, stepsTo } from './batch.ts'
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
]

/** Tests that run the built program, which has no defect. */
const BUILT = ['test/cli/load.test.ts', 'test/cli/main.test.ts', 'test/cli/owner/owner.test.ts']

/** Steps of imports from a test to a source file: each number makes a group, which runs before the next one. */
const STEPS = [1, 2]

/** Returns groups of tests, to run one after another until one notices. No test is in two. */
export function testsOf(file: string): readonly (readonly string[])[] {
  const around = AROUND.find(([part]) => file.startsWith(part))?.[1] ?? [dirname(mirrorOf(file))]
  const importing = STEPS.map((steps) => unitTests().filter((test) => stepsTo(test).get(file) === steps))
  const seen = new Set<string>()
  return [[mirrorOf(file)], ...importing, expand(around)]
    .map((group) => group.filter((test) => existsSync(join(ROOT, test)) && !BUILT.includes(test) && !seen.has(test) && seen.add(test)))
    .filter((group) => group.length > 0)
}

let known: readonly string[] | undefined
const unitTests = (): readonly string[] => (known ??= expand(['test']).filter((test) => !/^test\/(?:e2e|proof|mutants)\//.test(test)))

/** Whether the test mirrors the source file. */
export const isMirror = (test: string, file: string): boolean => test === mirrorOf(file)

const mirrorOf = (file: string): string => file.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts')
