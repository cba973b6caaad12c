/** The file of admitted keys: authorized_keys without options, one key a line; `#` begins a comment. */
import { readFileSync } from 'node:fs'
import { parsePublicKey } from '../auth/ssh-key.ts'
import type { Member } from '../relay/roster.ts'
import { ConfigError, type Problem } from '../config/problem.ts'

/**
 * Reads the file.
 * @returns the SHA-256 fingerprints of its keys
 * @throws ConfigError with every bad line at once
 */
export function readAdmitted(path: string): Member[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new ConfigError([
      { key: 'admit', problem: 'the file cannot be read', hint: 'check that it exists and that this user may read it' },
    ])
  }
  const problems: Problem[] = []
  const keys: Member[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    try {
      keys.push({ fingerprint: parsePublicKey(line.trim()).fingerprint })
    } catch {
      problems.push({
        key: 'admit',
        problem: `line ${index + 1} is not a key that can log in`,
        hint: 'write one `type base64` a line, without options',
      })
    }
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return keys
}
