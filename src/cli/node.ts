/**
 * Finds a Node that is new enough. A checkout has its own, from the npm package `node-linux-…`, which npm scripts and
 * npx find first. If a user starts the program by its path on an older Node, this module runs it again on that one.
 * This module must run on older versions of Node, too.
 */
import { TIED } from './program/io.ts'

/** The oldest version that works, as in `engines` of package.json: the first with ML-KEM in node:crypto. */
const OLDEST = [24, 7] as const

/** Returns whether this Node is too old. */
export function isOldNode(): boolean {
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])
}

/**
 * Runs the same command on the checkout's own Node.
 * @returns the exit code, or undefined if the checkout has no Node
 */
export async function runOnOwnNode(stays: boolean): Promise<number | undefined> {
  // No other process needs these modules.
  const { spawn } = await import('node:child_process')
  const { createRequire } = await import('node:module')
  const { constants } = await import('node:os')
  let node: string
  try {
    node = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    return undefined
  }
  const child = spawn(node, process.argv.slice(1), {
    // A relay must end with this process, so it gets a pipe as input. Other commands read the terminal.
    stdio: [stays ? 'pipe' : 'inherit', 'inherit', 'inherit'],
    env: stays ? { ...process.env, [TIED]: '1' } : process.env,
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => {
    child.on('error', () => resolve(undefined))
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}
