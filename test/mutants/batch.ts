/**
 * Batches of defects that one run of tests can tell apart: no test of one defect reaches the file of another, so each test
 * that fails says which defect it noticed.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { ROOT } from './defect.ts'

const MOST = 12
const IMPORT = /(?:from|import|URL\()\s*\(?\s*['"](\.[^'"]+\.ts)['"]/g

export interface Member {
  /** The file with the defect. */
  readonly file: string
  /** Test files, and folders of them. */
  readonly tests: readonly string[]
}

/** Returns the batches in the order of their first defects. Defects without tests are in none. */
export function batchesOf<T extends Member>(members: readonly T[]): T[][] {
  const batches: { readonly members: T[]; readonly tests: Set<string>; readonly files: Set<string>; readonly reached: Set<string> }[] = []
  for (const member of members) {
    const tests = expand(member.tests)
    if (tests.length === 0) continue
    const reached = new Set(tests.flatMap((test) => [...stepsTo(test).keys()]))
    const fits = batches.find(
      (batch) =>
        batch.members.length < MOST &&
        ![...batch.files].some((file) => reached.has(file)) &&
        !batch.reached.has(member.file) &&
        !tests.some((test) => batch.tests.has(test)),
    )
    const batch = fits ?? { members: [], tests: new Set(), files: new Set(), reached: new Set() }
    if (fits === undefined) batches.push(batch)
    batch.members.push(member)
    batch.files.add(member.file)
    for (const test of tests) batch.tests.add(test)
    for (const file of reached) batch.reached.add(file)
  }
  return batches.map((batch) => batch.members)
}

/** Returns the test files of paths of files and folders. */
export function expand(paths: readonly string[]): string[] {
  return [...new Set(paths.flatMap((path) => (path.endsWith('.ts') ? [path] : globSync(`${path}/**/*.test.ts`, { cwd: ROOT }))))]
}

const reaches = new Map<string, ReadonlyMap<string, number>>()

/** Returns all files that a file imports, directly or not, and the steps to each. */
export function stepsTo(file: string): ReadonlyMap<string, number> {
  const known = reaches.get(file)
  if (known !== undefined) return known
  const steps = new Map([[file, 0]])
  // The loop comes to those that it adds, nearest first.
  for (const [next, count] of steps) {
    for (const found of importsOf(next)) if (!steps.has(found)) steps.set(found, count + 1)
  }
  reaches.set(file, steps)
  return steps
}

const imports = new Map<string, readonly string[]>()

function importsOf(file: string): readonly string[] {
  const known = imports.get(file)
  if (known !== undefined) return known
  const texts = [...readFileSync(join(ROOT, file), 'utf8').matchAll(IMPORT)]
  const found = texts.map(([, path]) => normalize(join(dirname(file), path!))).filter((path) => existsSync(join(ROOT, path)))
  imports.set(file, found)
  return found
}
