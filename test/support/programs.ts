/**
 * Other projects' programs that tests need. A test whose programs are missing skips itself with a reason by
 * `ctx.skip(reason)`; with CI=true the reporter counts that as a failure.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** @returns why a test that needs these programs cannot run, or undefined if all are installed */
export function missing(...programs: readonly string[]): string | undefined {
  const absent = programs.filter((program) => findProgram(program) === undefined)
  return absent.length === 0 ? undefined : `not installed here: ${absent.join(', ')}`
}

/** Returns the program's path, or undefined. */
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
