/**
 * A machine's disk in memory, behind the functions of `node:fs/promises` that the client's state files use. Each call
 * takes a turn of its own, so a crash can come between any two. A process that is killed leaves what it wrote; a machine
 * that loses its power leaves what was synced: a file's content by `sync` of the file, its name by `sync` of the folder.
 */
import fs, { promises } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname } from 'node:path'
import type { Kernel, Process } from './kernel.ts'

export type DiskFault = 'full' | 'read-only' | 'failing'

/**
 * Paths of simulated disks: `/sim/MACHINE/run-NUMBER/…`. Each process of all simulations sees its disk at a path of its
 * own, because a module of src/ may remember paths for the life of its process. No path enters the record.
 */
const ROOT = '/sim/'

class File {
  bytes: Buffer = Buffer.alloc(0)
  synced: Buffer = Buffer.alloc(0)
  modified = 0
}

export class Disk {
  readonly #kernel: Kernel
  #names = new Map<string, File>()
  #durable = new Map<string, File>()
  readonly #folders = new Set<string>(['/'])
  fault: DiskFault | undefined
  /** Called after each change. */
  onWrite: ((path: string, bytes: Uint8Array) => void) | undefined

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Bytes of all files, and their names. */
  get bytes(): number {
    let bytes = 0
    for (const file of this.#names.values()) bytes += file.bytes.length
    return bytes
  }

  get names(): string[] {
    return [...this.#names.keys()]
  }

  /** Returns the path of a file with this text, also of one that only comes back if the power fails. */
  whereIs(text: string): string | undefined {
    for (const [path, { bytes, synced }] of this.#names) if (bytes.includes(text) || synced.includes(text)) return path
    for (const [path, { synced }] of this.#durable) if (synced.includes(text)) return `${path} after a power failure`
    return undefined
  }

  /** The machine loses its power: everything that was not synced is gone. */
  losePower(): void {
    this.#names = new Map(this.#durable)
    for (const file of this.#names.values()) file.bytes = file.synced
  }

  turn(): Promise<void> {
    const { current, now, random } = this.#kernel
    return new Promise<void>((resolve) => this.#kernel.at(now + random.next(), current, resolve))
  }

  find(path: string): File | undefined {
    return this.#names.get(path)
  }

  isFolder(path: string): boolean {
    return this.#folders.has(path)
  }

  makeFolder(path: string): void {
    for (let each = path; !this.#folders.has(each); each = dirname(each)) this.#folders.add(each)
  }

  list(folder: string): string[] {
    return [...this.#names.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path))
  }

  checkWritable(): void {
    if (this.fault === 'read-only') throw systemError('EROFS')
  }

  create(path: string): File {
    this.checkWritable()
    if (this.fault === 'full') throw systemError('ENOSPC')
    const file = new File()
    file.modified = this.#kernel.current!.machine.wall
    this.#names.set(path, file)
    return file
  }

  write(path: string, file: File, bytes: Uint8Array): void {
    this.checkWritable()
    const { random } = this.#kernel
    // A full disk takes a part, and then no more.
    const taken = this.fault === undefined ? bytes.length : this.fault === 'full' ? random.between(0, bytes.length - 1) : 0
    file.bytes = Buffer.concat([file.bytes, bytes.subarray(0, taken)])
    this.onWrite?.(path, bytes.subarray(0, taken))
    if (taken < bytes.length) throw systemError(this.fault === 'full' ? 'ENOSPC' : 'EIO')
  }

  sync(file: File): void {
    if (this.fault === 'failing') throw systemError('EIO')
    // No code writes into these bytes: each change makes new ones.
    file.synced = file.bytes
  }

  syncFolder(folder: string): void {
    if (this.fault === 'failing') throw systemError('EIO')
    for (const path of this.#durable.keys()) if (dirname(path) === folder && !this.#names.has(path)) this.#durable.delete(path)
    for (const [path, file] of this.#names) if (dirname(path) === folder) this.#durable.set(path, file)
  }

  rename(from: string, to: string): void {
    this.checkWritable()
    const file = this.#must(from)
    this.#names.delete(from)
    this.#names.set(to, file)
    this.onWrite?.(to, Buffer.from(`renamed from ${from}`))
  }

  link(from: string, to: string): void {
    this.checkWritable()
    if (this.#names.has(to)) throw systemError('EEXIST')
    this.#names.set(to, this.#must(from))
  }

  remove(path: string, force: boolean): void {
    if (!this.#names.has(path)) {
      if (force) return
      throw systemError('ENOENT')
    }
    this.checkWritable()
    this.#names.delete(path)
    this.onWrite?.(path, Buffer.from('removed'))
  }

  #must(path: string): File {
    const file = this.#names.get(path)
    if (file === undefined) throw systemError('ENOENT')
    return file
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}

const disks = new Map<string, Disk>()
let kernel: Kernel | undefined

/** Gives the disks of a simulation, by the names of the machines. */
export function mount(system: Kernel | undefined): Map<string, Disk> {
  kernel = system
  disks.clear()
  return disks
}

let homes = 0

/** Returns a folder under which a new process finds the disk of its machine. */
export function makeHome(process: Process): string {
  return `${ROOT}${process.machine.name}/run-${++homes}`
}

function place(path: string): Promise<{ disk: Disk; at: string }> {
  const name = path.indexOf('/', ROOT.length)
  const disk = path.startsWith(ROOT) ? disks.get(path.slice(ROOT.length, name)) : undefined
  if (disk === undefined || kernel === undefined) return Promise.reject(systemError('ENOENT'))
  const rest = path.indexOf('/', name + 1)
  const at = rest === -1 ? '/' : path.slice(rest)
  return disk.turn().then(() => ({ disk, at }))
}

const isSimulated = (path: unknown): path is string => kernel !== undefined && typeof path === 'string'

class Handle implements AsyncDisposable {
  readonly #disk: Disk
  readonly #path: string
  readonly #file: File | undefined

  constructor(disk: Disk, path: string, file: File | undefined) {
    this.#disk = disk
    this.#path = path
    this.#file = file
  }

  async stat(): Promise<object> {
    await this.#disk.turn()
    return statOf(this.#file)
  }

  async read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    await this.#disk.turn()
    if (this.#disk.fault === 'failing') throw systemError('EIO')
    const part = this.#file!.bytes.subarray(position, position + length)
    bytes.set(part, offset)
    return { bytesRead: part.length }
  }

  async writeFile(content: string | Uint8Array): Promise<void> {
    await this.#disk.turn()
    this.#disk.write(this.#path, this.#file!, typeof content === 'string' ? Buffer.from(content) : content)
  }

  async appendFile(content: string | Uint8Array): Promise<void> {
    await this.writeFile(content)
  }

  async truncate(size: number): Promise<void> {
    await this.#disk.turn()
    this.#disk.checkWritable()
    this.#file!.bytes = this.#file!.bytes.subarray(0, size)
  }

  async sync(): Promise<void> {
    await this.#disk.turn()
    if (this.#file === undefined) this.#disk.syncFolder(this.#path)
    else this.#disk.sync(this.#file)
  }

  async datasync(): Promise<void> {
    await this.sync()
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

function statOf(file: File | undefined): object {
  return {
    size: file?.bytes.length ?? 0,
    mode: 0o600,
    uid: 0,
    gid: 0,
    mtimeMs: file?.modified ?? 0,
    isFile: () => file !== undefined,
    isDirectory: () => file === undefined,
    isSymbolicLink: () => false,
  }
}

const WRITES = fs.constants.O_WRONLY | fs.constants.O_RDWR

/** The simulated functions, by the names that they have in Node. */
const FUNCTIONS = {
  async open(path: string, flags: string | number = 'r'): Promise<Handle> {
    const { disk, at } = await place(path)
    if (flags === 'wx') {
      if (disk.find(at) !== undefined) throw systemError('EEXIST')
      return new Handle(disk, at, disk.create(at))
    }
    if (typeof flags === 'number' && (flags & WRITES) !== 0) disk.checkWritable()
    const file = disk.find(at)
    if (file === undefined && !disk.isFolder(at)) throw systemError('ENOENT')
    return new Handle(disk, at, file)
  },
  async stat(path: string): Promise<object> {
    const { disk, at } = await place(path)
    const file = disk.find(at)
    if (file === undefined && !disk.isFolder(at)) throw systemError('ENOENT')
    return statOf(file)
  },
  lstat: (path: string): Promise<object> => FUNCTIONS.stat(path),
  async mkdir(path: string): Promise<void> {
    const { disk, at } = await place(path)
    if (disk.isFolder(at)) return
    disk.checkWritable()
    disk.makeFolder(at)
  },
  async readdir(path: string): Promise<string[]> {
    const { disk, at } = await place(path)
    return disk.list(at)
  },
  async rename(from: string, to: string): Promise<void> {
    const { disk, at } = await place(from)
    disk.rename(at, (await place(to)).at)
  },
  async link(from: string, to: string): Promise<void> {
    const { disk, at } = await place(from)
    disk.link(at, (await place(to)).at)
  },
  async rm(path: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    const { disk, at } = await place(path)
    disk.remove(at, force)
  },
  realpath: async (path: string): Promise<string> => path,
  async chmod(): Promise<void> {},
  async chown(): Promise<void> {},
  async readFile(path: string): Promise<Buffer> {
    const { disk, at } = await place(path)
    const file = disk.find(at)
    if (file === undefined) throw systemError('ENOENT')
    return Buffer.from(file.bytes)
  },
} as const

export function installDisks(): void {
  for (const [name, simulated] of Object.entries(FUNCTIONS)) {
    const real = promises[name as 'open'] as (...args: unknown[]) => unknown
    const chosen = (...args: unknown[]): unknown =>
      isSimulated(args[0]) ? (simulated as (...args: unknown[]) => unknown)(...args) : real(...args)
    Object.assign(promises, { [name]: chosen })
  }
  syncBuiltinESMExports()
}
