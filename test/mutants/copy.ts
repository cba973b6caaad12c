/** A copy of the tree in a temporary folder. Defects are written to the copy only. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { ROOT } from './defect.ts'

export class Copy {
  /** A short path: tests make Unix sockets below it. */
  readonly folder = mkdtempSync(join(tmpdir(), 'mutants-'))
  /** The folder of temporary files for the tests of the copy. */
  readonly temporary = join(this.folder, 't')

  constructor() {
    // Some tests run programs of the tree as another user.
    chmodSync(this.folder, 0o755)
    for (const name of readdirSync(ROOT)) {
      if (['.git', 'node_modules', 'src', 'test'].includes(name)) continue
      symlinkSync(join(ROOT, name), join(this.folder, name))
    }
    // A folder of its own for the packages: vitest keeps its cache in it.
    mkdirSync(join(this.folder, 'node_modules'))
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (!name.startsWith('.vite')) symlinkSync(join(ROOT, 'node_modules', name), join(this.folder, 'node_modules', name))
    }
    for (const name of ['src', 'test']) {
      cpSync(join(ROOT, name), join(this.folder, name), {
        recursive: true,
        filter: (path) => basename(path) !== 'node_modules',
      })
    }
    mkdirSync(this.temporary)
  }

  /** Replaces the sources of files, calls `work`, and puts the files back. */
  async with<T>(sources: readonly { readonly file: string; readonly source: string }[], work: () => Promise<T>): Promise<T> {
    // The copy's own: the tree may have changed since.
    const before = sources.map(({ file }) => [join(this.folder, file), readFileSync(join(this.folder, file))] as const)
    for (const { file, source } of sources) writeFileSync(join(this.folder, file), source)
    try {
      return await work()
    } finally {
      for (const [path, bytes] of before) writeFileSync(path, bytes)
      rmSync(this.temporary, { recursive: true, force: true })
      mkdirSync(this.temporary)
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
