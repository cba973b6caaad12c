/**
 * The Node that we run on. A checkout has one of its own, from the npm package `node-linux-…`, which npm scripts
 * and npx find first; who starts the program by its path on an older Node is brought there. It must do without
 * what an older Node does not have.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { TIED } from './program/io.ts'

/** package.json, `engines`. */
const OLDEST = 24

export function isOldNode(): boolean {
  return Number(process.versions.node.split('.')[0]) < OLDEST
}

/** Runs the same command on the checkout's own Node. @returns its exit code, or undefined where there is no such Node */
export async function runOnOwnNode(stays: boolean): Promise<number | undefined> {
  let node: string
  try {
    node = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    return undefined
  }
  const child = spawn(node, process.argv.slice(1), {
    // What stays must not outlive this process, however that is ended; the others may read what is typed.
    stdio: [stays ? 'pipe' : 'inherit', 'inherit', 'inherit'],
    env: stays ? { ...process.env, [TIED]: '1' } : process.env,
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => {
    child.on('error', () => resolve(undefined))
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}
