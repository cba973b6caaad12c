/** A vitest reporter that appends a line to the file MUTANTS_RESULTS as soon as a test file has failed: its path and why. */
import { appendFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

export default class FailureReporter implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const failed = [...module.children.allTests('failed')][0]?.fullName ?? messageOf(module)
    if (failed === undefined && module.state() !== 'failed') return
    const failure = failed ?? 'a hook failed'
    appendFileSync(process.env['MUTANTS_RESULTS']!, `${JSON.stringify({ file: module.relativeModuleId, failure })}\n`)
  }
}

function messageOf(module: TestModule): string | undefined {
  return module.errors()[0]?.message.split('\n')[0]
}
