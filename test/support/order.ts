/**
 * The order of the test files: the longest first, so that no worker waits for one at the end. A clean checkout has no
 * results of earlier runs, so the table is committed. Vitest's own order would also run one project after the other.
 */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Seconds on two quiet cores, rounded. A file without an entry takes less than the least of these. */
export const SECONDS: Readonly<Record<string, number>> = {
  'test/e2e/node24.test.ts': 460,
  'test/e2e/compose.test.ts': 400,
  'test/e2e/systemd.test.ts': 200,
  'test/e2e/clone.test.ts': 30,
  'test/e2e/package.test.ts': 30,
}

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const seconds = ({ moduleId }: TestSpecification): number => SECONDS[relative(this.ctx.config.root, moduleId)] ?? 0
    return files.toSorted((a, b) => seconds(b) - seconds(a) || (a.moduleId < b.moduleId ? -1 : 1))
  }
}
