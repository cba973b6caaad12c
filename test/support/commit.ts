import { execFileSync } from 'node:child_process'

/**
 * Returns a seed that is another one for each commit: two runs of one commit try the same, so a failure comes again and can
 * be looked into, and the next commit tries something new. The same for all without a repository.
 */
export function commitSeed(): string {
  try {
    return execFileSync('git', ['-C', import.meta.dirname, 'rev-parse', '--short=12', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
  } catch {
    return 'no-commit'
  }
}
