/**
 * Runs the load generators as processes on the second core: starts them, tells them when to begin, and awaits
 * their end together with the CPU time that the server used. It knows no figures.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Mailbox } from './login.ts'
import { LOAD_CORE, type Server } from './server.ts'

export type Protocol = 'asf' | 'ws' | 'redis' | 'mqtt' | 'nats'
export type Mode = 'prepare' | 'store' | 'drain' | 'push' | 'rate' | 'idle' | 'flood'

export interface Load {
  readonly messages: number
  readonly seconds: number
  /** CPU time of the server for each message. */
  readonly cpuMicroseconds: number
  /** Mailboxes for up to 9,000 connections, which are divided equally among them. */
  readonly p50?: number
  readonly p99?: number
  readonly p999?: number
}

export interface LoadOptions {
  readonly connections?: number
  readonly mailboxes?: number
  readonly messages?: number
  readonly window?: number
  readonly size?: number
  readonly rate?: number
  readonly seconds?: number
  readonly keep?: number
  readonly spin?: 0 | 1
  readonly by?: 'get' | 'subscribe'
}

export interface Under {
  readonly load: string
  readonly protocol: Protocol
  readonly server: Server
  readonly mailboxes: readonly Mailbox[]
}

/** A generator that is connected and waits. */
export class Generator {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #server: Server
  readonly #exited: Promise<unknown[]>
  #said = ''
  #complained = ''
  #heard = Promise.withResolvers<void>()

  private constructor(command: readonly string[], server: Server, polite: boolean) {
    // Background noise runs only on idle CPU (SCHED_IDLE), so that it does not slow down the measuring process.
    const wrap = polite ? ['-c', LOAD_CORE, 'chrt', '--idle', '0'] : ['-c', LOAD_CORE]
    this.#child = spawn('taskset', [...wrap, ...command])
    this.#server = server
    this.#child.stdin.on('error', () => {})
    this.#child.stdout.setEncoding('latin1').on('data', (text: string) => {
      this.#said += text
      this.#heard.resolve()
    })
    this.#child.stderr.setEncoding('latin1').on('data', (text: string) => (this.#complained += text))
    const kill = (): void => void this.#child.kill('SIGKILL')
    process.once('exit', kill)
    this.#exited = once(this.#child, 'close')
    void this.#exited.then(() => {
      process.off('exit', kill)
      this.#heard.resolve()
    })
  }

  static async start(under: Under, mode: Mode, options: LoadOptions = {}, polite = false): Promise<Generator> {
    const { load, protocol, server, mailboxes } = under
    const port = protocol === 'ws' ? server.httpPort : server.port
    const ours = protocol === 'asf' || protocol === 'ws'
    const all: LoadOptions = { ...options, ...(ours ? { mailboxes: mailboxes.length } : {}) }
    const args = Object.entries(all).map(([key, value]) => `${key}=${value}`)
    const generator = new Generator([load, protocol, mode, `${port}`, ...args], server, polite)
    if (ours) generator.#child.stdin.write(mailboxes.map(({ token, receiver }) => `${token}\t${receiver}\n`).join(''))
    return mode === 'prepare' ? generator : generator.#ready()
  }

  /** Runs a script in place of the program in C: bench/attack.ts, bench/login.ts or bench/xmpp.ts. */
  static async startScript(
    script: 'attack.ts' | 'login.ts' | 'xmpp.ts',
    args: readonly string[],
    server: Server,
    polite = false,
  ): Promise<Generator> {
    return new Generator([process.execPath, join(import.meta.dirname, script), ...args], server, polite).#ready()
  }

  async #ready(): Promise<this> {
    while (!this.#said.startsWith('ready\n')) await this.#more()
    return this
  }

  async #more(): Promise<void> {
    this.#heard = Promise.withResolvers()
    if (this.#child.exitCode !== null) throw new Error(`${this.#server.name}: the load ended: ${this.#complained}`)
    await this.#heard.promise
  }

  /** Starts the load and returns its measurements. @throws Error with the generator's message if it fails */
  async run(): Promise<Load> {
    const before = this.#server.cpuSeconds()
    const result = await this.measure<Omit<Load, 'cpuMicroseconds'>>()
    const used = this.#server.cpuSeconds() - before
    return { ...result, cpuMicroseconds: (used * 1e6) / result.messages }
  }

  /** Does the same for a script with measurements of its own. */
  async measure<Result>(): Promise<Result> {
    this.#child.stdin.write('go\n')
    while (!this.#said.includes('}')) await this.#more()
    await this.#exited
    return JSON.parse(this.#said.replace('ready\n', '')) as Result
  }

  /** Starts the load without waiting. */
  begin(): void {
    this.#child.stdin.write('go\n')
  }

  /** Stops a running load. */
  async end(): Promise<void> {
    this.#child.stdin.end()
    await this.#exited
  }

  /** Waits for a load that ends by itself. */
  async ended(): Promise<void> {
    await this.#exited
    if (this.#child.exitCode !== 0) throw new Error(`${this.#server.name}: the load ended: ${this.#complained}`)
  }
}

export async function runLoad(under: Under, mode: Mode, options: LoadOptions): Promise<Load> {
  const generator = await Generator.start(under, mode, options)
  return generator.run()
}
