/**
 * Finds other projects' programs that a measurement needs, and compiles our own ones in C if there is a
 * compiler.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
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

/**
 * Compiles bench/NAME.c into the folder and returns the program's path. @throws Error with the compiler's
 * output
 */
export function compile(name: 'floor' | 'load', folder: string): string {
  const program = join(folder, name)
  const { status, stderr } = spawnSync('cc', ['-O2', '-o', program, join(import.meta.dirname, `${name}.c`)], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`cc could not build bench/${name}.c:\n${stderr}`)
  return program
}
