/**
 * A vitest reporter that appends a line to the file MUTANTS_RESULTS as soon as a test file has ended: its path, the time it
 * took, and why it failed.
 */
import { appendFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

export default class ResultReporter implements Reporter {
  onTestModuleEnd(module: TestModule): void {
    const reason = [...module.children.allTests('failed')][0]?.fullName ?? messageOf(module)
    const failure = reason ?? (module.state() === 'failed' ? 'a hook failed' : undefined)
    const { collectDuration, duration } = module.diagnostic()
    appendFileSync(
      process.env['MUTANTS_RESULTS']!,
      `${JSON.stringify({ file: module.relativeModuleId, ms: collectDuration + duration, failure })}\n`,
    )
  }
}

function messageOf(module: TestModule): string | undefined {
  return module.errors()[0]?.message.split('\n')[0]
}
