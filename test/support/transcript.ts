/** The README's first `console` block: Alice and Bob from nothing to the first message, as commands and their output. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'

const run = promisify(execFile)
const README = join(import.meta.dirname, '../../README.md')

export interface Step {
  readonly who: string
  readonly command: string
  /** The lines that the command prints; `…` stands for any text. */
  readonly printed: string[]
}

export function readTranscript(): readonly Step[] {
  const block = /```console\n([^]*?)```/.exec(readFileSync(README, 'utf8'))![1]!
  const steps: Step[] = []
  for (const line of block.trimEnd().split('\n')) {
    const [, who, command] = /^(alice|bob)\$ (.*)$/.exec(line) ?? []
    if (who !== undefined && command !== undefined) steps.push({ who, command, printed: [] })
    else steps.at(-1)!.printed.push(line)
  }
  return steps
}

/**
 * Runs each command as it stands in the README, and expects exactly its output, on standard output and error together.
 * @param place.homes a folder for the two empty homes
 */
export async function follow(
  steps: readonly Step[],
  place: { readonly cwd: string; readonly homes: string; readonly relay: string; readonly path: string },
): Promise<void> {
  const env: Record<string, string> = { PATH: place.path, RELAY: place.relay }
  for (const { who, command, printed } of steps) {
    const { stdout, stderr } = await run('sh', ['-c', command], { cwd: place.cwd, env: { ...env, HOME: join(place.homes, who) } })
    // Each user's link is the other user's input.
    if (stdout.startsWith('asfaleia:card/')) env[who.toUpperCase()] = stdout.trim()
    const pattern = printed.map((line) =>
      line
        .split('…')
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*'),
    )
    expect(`${stdout}${stderr}`).toMatch(new RegExp(`^${pattern.join('\n')}\n$`))
  }
}
