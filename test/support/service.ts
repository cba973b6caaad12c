/** Onion service folders for tests, in tor's own form. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { onTestFinished } from 'vitest'
import { createService, type ServiceFiles } from '../../src/onion/service.ts'

/** Made by tor 0.4.9 for this test only. */
export const TORS: ServiceFiles = new Map([
  ['hostname', Buffer.from('d6d5iaoxegv6q2ku3rsog2yybgdn74deulgwkrqlsyzb25ovulh6gzad.onion\n')],
  [
    'hs_ed25519_public_key',
    Buffer.from(
      '3d3d206564323535313976312d7075626c69633a207479706530203d3d0000001f87d401d721abe86954dc64e36b180986dff064a2cd65460b96321d75d5a2cf',
      'hex',
    ),
  ],
  [
    'hs_ed25519_secret_key',
    Buffer.from(
      '3d3d206564323535313976312d7365637265743a207479706530203d3d000000a8413790776a3d506c67b16bfd90ceeb9d3899ae61a6c0c81850c475877e7d7a2fb3cf00a74fcc387d83e8f3e6e81cf0d57879585ce463e2e430c60b71eca8b1',
      'hex',
    ),
  ],
])

export const CLIENT = Buffer.from(`descriptor:x25519:${'A'.repeat(51)}B\n`)

/** Makes a folder that is removed when the test ends. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes a service's folder into `around` and returns it with its address. */
export function writeService(around: string, name = 'onion', files: ServiceFiles = createService()): { folder: string; address: string } {
  const folder = join(around, name)
  writeFolder(folder, files)
  return { folder, address: Buffer.from(files.get('hostname')!).toString().trim() }
}

/** Writes a folder as tor does. */
export function writeFolder(folder: string, files: ServiceFiles): void {
  mkdirSync(folder, { mode: 0o700 })
  mkdirSync(join(folder, 'authorized_clients'), { mode: 0o700 })
  for (const [path, bytes] of files) writeFileSync(join(folder, path), bytes, { mode: 0o600 })
}

/** Lists every file and folder below with its mode, and a file's bytes in hex. */
export function list(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(
    paths.toSorted().map((path) => {
      const found = statSync(path)
      const mode = (found.mode & 0o777).toString(8)
      return [relative(folder, path), found.isFile() ? `${mode} ${readFileSync(path, 'hex')}`.trim() : mode]
    }),
  )
}
