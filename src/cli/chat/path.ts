/** Lists paths of this machine, to complete them with Tab. */
import { readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { showLine } from './text.ts'

/** Lists the paths that begin with `prefix`, in which `~` is the user's home. Folders end with a slash. At most 100. */
export async function listPaths(prefix: string): Promise<string[]> {
  const full = prefix.startsWith('~/') ? join(homedir(), prefix.slice(2)) : prefix
  const isFolder = prefix === '' || prefix.endsWith('/')
  const folder = isFolder ? full || '.' : dirname(full)
  const start = isFolder ? '' : basename(full)
  const head = prefix.slice(0, prefix.length - start.length)
  const entries = await readdir(resolve(folder), { withFileTypes: true }).catch(() => [])
  return (
    entries
      // A name that needs escaping could not be shown and typed as it is.
      .filter(({ name }) => name.startsWith(start) && (start.startsWith('.') || !name.startsWith('.')) && showLine(name) === name)
      .map((entry) => `${head}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .toSorted()
      .slice(0, 100)
  )
}
