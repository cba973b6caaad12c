/**
 * The programs of other projects that a test needs. A test whose programs are missing says so by
 * `ctx.skip(reason)`; with CI=true the reporter makes a failure of it.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @returns why a test that needs these cannot run, or undefined if they are all there. */
export function missing(...programs: readonly string[]): string | undefined {
  const absent = programs.filter((program) => findProgram(program) === undefined)
  return absent.length === 0 ? undefined : `not installed here: ${absent.join(', ')}`
}

/** Its path, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
