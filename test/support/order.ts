/**
 * The order of the test files: the longest first, so that no worker waits for one at the end. A clean checkout has no
 * results of earlier runs, so the table is committed. Vitest's own order would also run one project after the other.
 */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Seconds on two quiet cores, about. A file without an entry takes less than ten. */
export const SECONDS: Readonly<Record<string, number>> = {
  'test/e2e/compose.test.ts': 300,
  'test/e2e/faults.test.ts': 200,
  'test/e2e/systemd.test.ts': 160,
  'test/e2e/node24.test.ts': 150,
  'test/e2e/publish.test.ts': 100,
  'test/e2e/tasks.test.ts': 90,
  'test/e2e/tor.test.ts': 80,
  'test/e2e/start.test.ts': 60,
  'test/e2e/conformance.test.ts': 60,
  'test/e2e/chat.test.ts': 50,
  'test/simulation/simulation.test.ts': 45,
  'test/mutants/mutants.test.ts': 30,
  'test/e2e/messenger.test.ts': 45,
  'test/e2e/clone.test.ts': 40,
  'test/e2e/trouble.test.ts': 40,
  'test/proof/memory.test.ts': 40,
  'test/e2e/package.test.ts': 30,
  'test/e2e/browser.test.ts': 30,
  'test/e2e/handover.test.ts': 20,
  'test/e2e/bench.test.ts': 20,
  'test/proof/trace.test.ts': 20,
  'test/e2e/examples.test.ts': 15,
  'test/e2e/soak.test.ts': 15,
  'test/client/messenger/messenger.test.ts': 15,
  'test/auth/private-key.test.ts': 12,
  'test/e2e/prometheus.test.ts': 12,
  'test/e2e/quadlet.test.ts': 12,
  'test/e2e/shell-client.test.ts': 10,
  'test/cli/commands/get.test.ts': 10,
  'test/cli/talk/talk.test.ts': 10,
}

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const seconds = ({ moduleId }: TestSpecification): number => SECONDS[relative(this.ctx.config.root, moduleId)] ?? 0
    return files.toSorted((a, b) => seconds(b) - seconds(a) || (a.moduleId < b.moduleId ? -1 : 1))
  }
}
