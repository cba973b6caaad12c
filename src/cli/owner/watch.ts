/** Notices that another program has changed the profile's files. */
import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Changes within this time are one, ms. */
const SETTLE_MS = 50
/** How often to look, ms: not every file system reports changes. */
const LOOK_MS = 2_000

/** The parts of a profile: its settings, its contacts, its groups, its blocked people, and its rules for conversations. */
const PARTS = ['profile', 'contacts', 'groups', 'blocked', 'rules'] as const

/**
 * Watches the settings, the contacts, the groups and the blocked people of a profile.
 * @returns a function that ends it
 */
export function watchProfile(home: string, onChange: () => void): () => void {
  let settling: NodeJS.Timeout | undefined
  let isOver = false
  let last: string | undefined
  const watchers = new Map<string, FSWatcher>()
  const wake = (): void => {
    settling ??= setTimeout(() => {
      settling = undefined
      void look(true)
    }, SETTLE_MS).unref()
  }
  /** @param isKnown whether the system reported a change */
  const look = async (isKnown: boolean): Promise<void> => {
    const marks = await Promise.all(PARTS.map((part) => mark(join(home, part))))
    if (isOver) return
    // A folder that is new is watched from now on.
    for (const folder of ['', 'contacts', 'groups']) observe(folder)
    const now = marks.join()
    const isNew = last !== undefined && now !== last
    last = now
    if (isKnown || isNew) onChange()
  }
  const observe = (name: string): void => {
    if (watchers.has(name)) return
    try {
      const watcher = watch(join(home, name), { persistent: false }, (_event, file) => {
        if (name !== '' || file === null || (PARTS as readonly string[]).includes(file)) wake()
      })
      const stop = (): void => {
        watcher.close()
        watchers.delete(name)
      }
      watchers.set(name, watcher)
      watcher.on('error', stop)
    } catch {
      // There is no such folder yet, or the system has no watchers left: the next look finds changes.
    }
  }
  const timer = setInterval(() => void look(false), LOOK_MS).unref()
  void look(false)
  return () => {
    isOver = true
    clearInterval(timer)
    clearTimeout(settling)
    for (const watcher of watchers.values()) watcher.close()
  }
}

/** A file is replaced, and a folder is changed, with each write. */
async function mark(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs, ctimeMs } = await stat(path)
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`
  } catch {
    return '-'
  }
}
