/**
 * A vitest reporter whose last line is the last line of the run: `N passed, N failed` or `N passed, N failed, N
 * skipped`. It lists every skipped test with its reason. Failures outside tests (a file that cannot be loaded,
 * a hook, an unhandled error, an interrupted run) count as failed too, so the line never says `0 failed` if the
 * exit code is not 0. With CI=true a skipped test counts as failed.
 */
import type { SerializedError } from 'vitest'
import type { Reporter, TestCase, TestModule, TestRunEndReason, TestSuite } from 'vitest/node'

export default class CountingReporter implements Reporter {
  readonly #strict = process.env['CI'] === 'true'
  #passed = 0
  // Until a run has ended, the run itself counts as one failure.
  #failed = 1
  #skipped = 0

  onInit(): void {
    // Print at exit, because other reporters and vitest itself still write after the run.
    process.once('exit', (code) => {
      if (code !== 0 && this.#failed === 0) this.#failed = 1
      const skipped = this.#skipped === 0 ? '' : `, ${this.#skipped} skipped`
      process.stdout.write(`${this.#passed} passed, ${this.#failed} failed${skipped}\n`)
    })
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[], reason: TestRunEndReason): void {
    const skips: string[] = []
    this.#passed = 0
    this.#skipped = 0
    this.#failed = errors.length + (reason === 'interrupted' ? 1 : 0)
    for (const module of modules) {
      if (module.errors().length > 0) this.#failed += 1
      this.#failed += [...module.children.allSuites()].filter((suite: TestSuite) => suite.errors().length > 0).length
      for (const test of module.children.allTests()) {
        const result = test.result()
        switch (result.state) {
          case 'passed':
            this.#passed += 1
            break
          case 'failed':
            this.#failed += 1
            break
          // The test never ran: a hook before it failed, or the run was interrupted.
          case 'pending':
            this.#failed += 1
            break
          case 'skipped':
            this.#skipped += 1
            skips.push(`skipped: ${module.relativeModuleId} > ${test.fullName}: ${result.note ?? reasonOf(test)}\n`)
        }
      }
    }
    process.stdout.write(skips.join(''))
    if (this.#strict && this.#skipped > 0) {
      process.stdout.write('with CI=true a skipped test counts as failed\n')
      this.#failed += this.#skipped
      this.#skipped = 0
    }
    if (this.#failed > 0) process.exitCode = 1
  }
}

function reasonOf(test: TestCase): string {
  for (let above = test.parent; ; above = above.parent) {
    if (above.errors().length > 0) return 'a hook before it failed'
    if (above.type === 'module') return 'no reason was given'
  }
}
