/** Paths of this machine, as Tab completes them: `~` is the home of who types it. */
import { readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { showLine } from './text.ts'

/** What is there for a path that begins so, folders with a slash; at most a screenful. */
export async function listPaths(prefix: string): Promise<string[]> {
  const full = prefix.startsWith('~/') ? join(homedir(), prefix.slice(2)) : prefix
  const isFolder = prefix === '' || prefix.endsWith('/')
  const folder = isFolder ? full || '.' : dirname(full)
  const start = isFolder ? '' : basename(full)
  const head = prefix.slice(0, prefix.length - start.length)
  const entries = await readdir(resolve(folder), { withFileTypes: true }).catch(() => [])
  return (
    entries
      // What cannot be shown as it is would move the terminal as it is.
      .filter(({ name }) => name.startsWith(start) && (start.startsWith('.') || !name.startsWith('.')) && showLine(name) === name)
      .map((entry) => `${head}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .toSorted()
      .slice(0, 100)
  )
}
