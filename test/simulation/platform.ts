/**
 * Puts the simulated system in the place of Node's: time, timers, randomness, and process ids. Only a program of its own
 * may do so (main.ts), before it imports any file of src/.
 *
 * Why here and not through a parameter of every function: packages draw random bytes and read clocks, too, and a
 * parameter reaches only our own calls. This place reaches all of them, and each process gets the clock of its own
 * machine. `syncBuiltinESMExports` is the documented way in which a program replaces the functions of a module of Node.
 */
import crypto, { type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import type { Kernel, Task } from './kernel.ts'

let kernel: Kernel | undefined

/** Gives the system that all code of this program sees from now on. */
export function enter(system: Kernel | undefined): void {
  kernel = system
}

function system(): Kernel {
  if (kernel === undefined) throw new Error('no simulation is running')
  return kernel
}

/** A timer as Node returns it. */
class Timer {
  task: Task
  constructor(task: Task) {
    this.task = task
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  hasRef(): boolean {
    return true
  }
  [Symbol.dispose](): void {
    cancel(this)
  }
}

function cancel(timer: unknown): void {
  if (timer instanceof Timer) kernel?.cancel(timer.task)
}

export function install(): void {
  installTime()
  installRandomness()
  installProcess()
  syncBuiltinESMExports()
}

/**
 * How long an interval takes in a process that does nothing else, ms. A busy machine is as late, and a relay that only
 * looks at its deadlines each second would take most of the time of a simulation. Before anything else happens in the
 * process, the interval is called.
 */
function lateOf(milliseconds: number): number {
  return milliseconds <= 1_000 ? 60_000 : 1.8 * milliseconds
}

function installTime(): void {
  const RealDate = Date
  const wall = (): number => kernel?.current?.machine.wall ?? kernel?.now ?? RealDate.now()
  class VirtualDate extends RealDate {
    constructor(...args: [] | [number | string]) {
      if (args.length === 0) super(wall())
      else super(...(args as [number]))
    }
    static override now(): number {
      return wall()
    }
  }
  Object.assign(globalThis, {
    Date: VirtualDate,
    setTimeout: (work: (...args: unknown[]) => void, milliseconds = 0, ...args: unknown[]) =>
      new Timer(system().after(Math.min(milliseconds, 2 ** 31 - 1), () => work(...args))),
    setInterval: (work: (...args: unknown[]) => void, milliseconds = 0, ...args: unknown[]) => {
      const process = system().current!
      let turns = -1
      const again = (): void => {
        const isIdle = process.turns === turns
        turns = process.turns
        system().again(timer.task, isIdle ? lateOf(milliseconds) : milliseconds)
        if (isIdle) process.late.add(goOn)
        work(...args)
      }
      const goOn = (): void => {
        if (timer.task.isCancelled) return
        system().again(timer.task, milliseconds)
        work(...args)
      }
      const timer = new Timer(system().after(milliseconds, again, true))
      return timer
    },
    setImmediate: (work: (...args: unknown[]) => void, ...args: unknown[]) => {
      const { current } = system()
      if (current === undefined) throw new Error('an immediate was set outside every process')
      return new Timer(system().at(system().now, current, () => work(...args)))
    },
    clearTimeout: cancel,
    clearInterval: cancel,
    clearImmediate: cancel,
  })
  const steady = (): number => {
    const current = kernel?.current
    return current === undefined ? 0 : current.machine.steady - current.startedAt
  }
  Object.defineProperty(performance, 'now', { value: steady })
  Object.defineProperty(performance, 'timeOrigin', { get: () => kernel?.current?.startedWall ?? 0 })
  os.uptime = () => (kernel?.current?.machine.uptime ?? 0) / 1_000
}

function installRandomness(): void {
  Math.random = () => system().random.next()
  const fill = <T extends NodeJS.ArrayBufferView>(view: T): T => {
    system().random.drawInto(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    return view
  }
  Object.defineProperty(globalThis.crypto, 'getRandomValues', { value: fill })
  const seeded = {
    randomBytes: (size: number) => fill(Buffer.alloc(size)),
    randomFillSync: (view: NodeJS.ArrayBufferView, offset = 0, size?: number) => {
      const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
      system().random.drawInto(bytes.subarray(offset, size === undefined ? undefined : offset + size))
      return view
    },
    randomInt: (least: number, most: number) => least + Math.floor(system().random.next() * (most - least)),
    generateKeySync: (_kind: string, { length }: { length: number }) => crypto.createSecretKey(fill(Buffer.alloc(length / 8))),
    generateKeyPairSync: (kind: string) => {
      const prefix = PKCS8[kind]
      if (prefix === undefined) throw new Error(`the simulation cannot draw a key of the kind ${kind}`)
      const key = Buffer.concat([prefix, fill(Buffer.alloc(32))])
      const privateKey: KeyObject = crypto.createPrivateKey({ key, format: 'der', type: 'pkcs8' })
      return { privateKey, publicKey: crypto.createPublicKey(privateKey) }
    },
  }
  Object.assign(crypto, seeded)
}

/** The PKCS8 prefixes of raw secrets (RFC 8410, section 7). */
const PKCS8: Readonly<Record<string, Buffer>> = {
  x25519: Buffer.from('302e020100300506032b656e04220420', 'hex'),
  ed25519: Buffer.from('302e020100300506032b657004220420', 'hex'),
}

function installProcess(): void {
  const realPid = process.pid
  const realKill = process.kill.bind(process)
  Object.defineProperty(process, 'pid', { get: () => kernel?.current?.pid ?? realPid })
  process.kill = (pid: number, signal?: string | number): true => {
    if (kernel === undefined) return realKill(pid, signal)
    if (signal !== 0) throw new Error('a simulated process sent a signal')
    if (!kernel.isAlive(pid)) throw Object.assign(new Error('ESRCH'), { code: 'ESRCH' })
    return true
  }
}
