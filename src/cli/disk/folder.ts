/**
 * A folder of text files that people can read, compare and back up: one for each thing that its owner calls by a name,
 * which is the file's. In front stands what somebody signed, if anybody did, and after it lines of ours. A file that cannot
 * be read is a problem that is told, and no reason to do without the others; none is put right by itself.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Fields } from './fields.ts'
import { flush, makeFolder, readText, writeWhole } from './file.ts'
import { systemCode, systemReason } from './system.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'

/** What a file holds. */
export interface Parts {
  /** '' where nobody signed anything. */
  readonly signed: string
  readonly fields: Fields
}

export interface Named {
  /** What its owner calls it: the name of the file. */
  readonly name: string
  readonly path: string
}

/** A file that cannot be taken for what it should be. */
export interface Problem {
  readonly name: string
  readonly error: CliError
}

const NAME_BYTES = 200
const LAST_LINE = '-----END SSH SIGNATURE-----\n'
// What a file system, a shell, a terminal or listNames would take for something else.
const UNFIT = /^[.\-]|^\s|[\s~]$|[\/\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/v

/** Why nothing can be called so; undefined if it can. */
export function refuseName(name: string): string | undefined {
  if (name === '' || [...name].length > 64 || Buffer.byteLength(name) > NAME_BYTES) return 'a name has 1 to 64 characters'
  if (UNFIT.test(name)) return 'a name does not begin with . or -, end with ~, nor hold / or what cannot be seen'
  return undefined
}

/** Names that differ in case, or in how their letters are composed, would be one file on some disks, and one word to a person. */
export const fold = (name: string): string => name.normalize('NFKC').toLowerCase()

/** What a folder is of. */
export interface Kind {
  readonly what: string
  /** What helps where one is not found. */
  readonly hint: string
  /** Of one file. */
  readonly mostBytes: number
}

export abstract class Folder<T extends Named> {
  readonly #path: string
  readonly #kind: Kind
  #things: readonly T[] = []
  #problems: readonly Problem[] = []

  /** @param path it need not be there */
  protected constructor(path: string, kind: Kind) {
    this.#path = path
    this.#kind = kind
  }

  /** @throws {CliError} that names the file */
  protected abstract parse(named: Named, parts: Parts): Promise<T>

  /** Reads the files again, which another program, or a person, may have changed. @throws {CliError} where the folder itself cannot be read */
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

  /** By name. */
  list(): readonly T[] {
    return this.#things
  }

  /** What is wrong with the files that could not be read. */
  get problems(): readonly Problem[] {
    return this.#problems
  }

  /** What its owner calls so; the case does not matter. */
  get(name: string): T | undefined {
    return this.#things.find((each) => each.name === name) ?? this.#things.find((each) => fold(each.name) === fold(name))
  }

  /** @throws {CliError} that says which there are */
  need(name: string): T {
    const thing = this.get(name)
    if (thing !== undefined) return thing
    throw this.problemOf(name)?.error ?? new CliError(`there is no ${this.#kind.what} of that name`, { hint: this.#kind.hint })
  }

  /** @throws {CliError} where the disk refuses */
  async remove({ path }: T): Promise<void> {
    await this.change(path, () => rm(path))
  }

  protected problemOf(name: string): Problem | undefined {
    return this.#problems.find((each) => fold(each.name) === fold(name))
  }

  protected pathOf(name: string): string {
    return join(this.#path, name)
  }

  /** @returns as it is read again @throws {CliError} where the disk refuses, or one is there already that is not to be replaced */
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

  /** What `work` does to the folder is on the disk when this resolves. @throws {CliError} where the disk refuses */
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
    // Removed meanwhile.
    return text === undefined ? undefined : this.parse({ name, path }, splitParts(text))
  }
}

/** Says which files are not as they should be; the others do without them. */
export function warnOf({ problems }: { readonly problems: readonly Problem[] }, io: Pick<Io, 'stderr'>): void {
  for (const { error } of problems) io.stderr.write(`asfaleia: warning: ${sanitizeLine(error.message)}\n`)
}

function splitParts(text: string): Parts {
  const plain = text.replaceAll('\r\n', '\n')
  const end = plain.lastIndexOf(LAST_LINE)
  const at = end === -1 ? 0 : end + LAST_LINE.length
  return { signed: plain.slice(0, at), fields: new Fields(plain.slice(at)) }
}

/** Names of files; ours that are being written, and what other programs leave, begin with a dot. */
async function listNames(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder)
    return names.filter((name) => !name.startsWith('.') && !name.endsWith('~')).toSorted((a, b) => (fold(a) < fold(b) ? -1 : 1))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw new CliError(`cannot read the folder ${folder}: ${systemReason(error)}`)
  }
}
