/** Reads the files of a profile for another device. */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Files, isPath, PROFILE } from '../../profile/files.ts'
import { readBytes } from '../disk/file.ts'
import { systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** Reads the files of a profile. Skips links, sockets and hidden files. @throws {CliError} */
export async function collect(folder: string): Promise<Files> {
  const files = new Map<string, Uint8Array>()
  let sum = 0
  const visit = async (path: string, depth: number): Promise<void> => {
    for (const name of (await readdir(join(folder, path))).toSorted()) {
      const own = path === '' ? name : `${path}/${name}`
      const stat = await lstat(join(folder, own))
      if (stat.isDirectory() && depth === 0 && own !== 'state' && isPath(`${own}/x`)) await visit(own, 1)
      if (!stat.isFile() || !isPath(own)) continue
      const bytes = stat.size > PROFILE.fileBytes ? undefined : await readBytes(join(folder, own), PROFILE.fileBytes)
      sum += bytes?.length ?? 0
      if (bytes === undefined || sum > PROFILE.bytes || files.size >= PROFILE.files)
        throw new CliError(`${join(folder, own)}: the profile is too large to export`, { hint: 'move files that do not belong there away' })
      files.set(own, bytes)
    }
  }
  try {
    await visit('', 0)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot read ${folder}: ${systemReason(error)}`)
  }
  return files
}
