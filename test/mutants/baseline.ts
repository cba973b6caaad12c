import { expand } from './batch.ts'
import type { Copy } from './copy.ts'
import { findFailing } from './run.ts'

/** Runs each test file once without a defect, before the first defect that it should notice. */
export class Baseline {
  readonly #copy: Copy
  readonly #known = new Set<string>()
  /** The test files that fail without a defect: they would seem to notice every defect. */
  readonly failing: string[] = []

  constructor(copy: Copy) {
    this.#copy = copy
  }

  async know(tests: readonly string[]): Promise<void> {
    const files = expand(tests).filter((file) => !this.#known.has(file))
    if (files.length === 0) return
    for (const file of files) this.#known.add(file)
    const failing = await findFailing(this.#copy, files)
    if (failing.length > 0) process.stdout.write(`these fail without a defect, so they do not count: ${failing.join(', ')}\n`)
    this.failing.push(...failing)
  }
}
