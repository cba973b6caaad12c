/**
 * A folder of text files that people can read, compare and back up. Each file holds one thing (a contact, a group)
 * and is named as the user names it. It begins with the signed text, if there is one; the user's own fields follow. A
 * damaged file is reported and left untouched; the others stay usable.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { didYouMean } from '../../nearest.ts'
import { fold, type Parts, splitParts } from '../../profile/entry.ts'
import { flush, makeFolder, readText, writeWhole } from './file.ts'
import { systemCode, systemHint, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

export interface Named {
  /** The name of the file, which the user chose. */
  readonly name: string
  readonly path: string
}

/** A damaged file. */
export interface Problem {
  readonly name: string
  readonly error: CliError
}

/** Describes the things in a folder. */
export interface Kind {
  /** The word for one of them in errors, such as `contact`. */
  readonly noun: string
  /** The hint if one is not found. */
  readonly hint: string
  /** The largest size of a file. */
  readonly mostBytes: number
}

export abstract class Folder<T extends Named> {
  readonly #path: string
  readonly #kind: Kind
  #things: readonly T[] = []
  #problems: readonly Problem[] = []

  /** @param path it need not exist */
  protected constructor(path: string, kind: Kind) {
    this.#path = path
    this.#kind = kind
  }

  /** @throws {CliError} that names the file */
  protected abstract parse(named: Named, parts: Parts): Promise<T>

  /**
   * Reads the files again: another program, or the user, may have changed them.
   * @throws {CliError} if the folder itself cannot be read
   */
  async refresh(): Promise<void> {
    const names = await listNames(this.#path)
    const read = await Promise.allSettled(names.map((name) => this.#read(name)))
    this.#things = read.flatMap((each) => (each.status === 'fulfilled' && each.value !== undefined ? [each.value] : []))
    this.#problems = read.flatMap((each, index) => {
      if (each.status === 'fulfilled') return []
      if (each.reason instanceof CliError) return [{ name: names[index]!, error: each.reason }]
      throw each.reason
    })
  }

  /** Lists the things by name. */
  list(): readonly T[] {
    return this.#things
  }

  /** The files that could not be read, each with its error. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  /** Finds a thing by its name; an exact match wins over one that differs in case. */
  get(name: string): T | undefined {
    return this.#things.find((each) => each.name === name) ?? this.#things.find((each) => fold(each.name) === fold(name))
  }

  /** Finds a thing by its name. @throws {CliError} that suggests similar names, if there is no such thing */
  need(name: string): T {
    const thing = this.get(name)
    if (thing !== undefined) return thing
    const { noun, hint } = this.#kind
    const names = this.#things.map((each) => each.name)
    throw this.problemOf(name)?.error ?? new CliError(`no ${noun} matches "${name}"${didYouMean(name, names)}`, { hint })
  }

  /** @throws {CliError} if the file cannot be removed */
  async remove({ path }: T): Promise<void> {
    await this.change(path, () => rm(path))
  }

  protected problemOf(name: string): Problem | undefined {
    return this.#problems.find((each) => fold(each.name) === fold(name))
  }

  protected pathOf(name: string): string {
    return join(this.#path, name)
  }

  /**
   * Writes the file of that name atomically and reads it again.
   * @throws {CliError} if it cannot be written, or exists and `replace` is false
   */
  protected async write(name: string, content: string, options: { readonly replace: boolean }): Promise<T> {
    if (!options.replace) await makeFolder(this.#path)
    await writeWhole(this.pathOf(name), content, options)
    await this.refresh()
    return this.need(name)
  }

  /** @throws {CliError} */
  protected async readParts(name: string): Promise<Parts> {
    return splitParts((await readText(this.pathOf(name), this.#kind.mostBytes)) ?? '')
  }

  /**
   * Runs `work`, which changes the folder, and syncs the folder to the disk.
   * @throws {CliError} if the system refuses
   */
  protected async change(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
      await flush(this.#path)
    } catch (error) {
      throw new CliError(`cannot change ${path}: ${systemReason(error)}`, { hint: 'nothing was changed' })
    }
    await this.refresh()
  }

  async #read(name: string): Promise<T | undefined> {
    const path = this.pathOf(name)
    const text = await readText(path, this.#kind.mostBytes)
    // Undefined: removed meanwhile.
    return text === undefined ? undefined : this.parse({ name, path }, splitParts(text))
  }
}

/** Warns on stderr of each damaged file. */
export function warnOf({ problems }: { readonly problems: readonly Problem[] }, io: Pick<Io, 'stderr'>): void {
  for (const { error } of problems) io.stderr.write(`asfaleia: warning: ${sanitizeLine(error.message)}\n`)
}

/** Lists file names by their folded form, without temporary files (`.…`) and editors' copies (`…~`, `#…#`). */
async function listNames(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder)
    return names
      .filter((name) => !name.startsWith('.') && !name.endsWith('~') && !/^#.*#$/.test(name))
      .toSorted((a, b) => (fold(a) < fold(b) ? -1 : 1))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new CliError(`cannot read the folder ${folder}: ${systemReason(error)}`, systemHint(error))
  }
}
