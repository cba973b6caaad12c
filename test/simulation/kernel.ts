/**
 * The simulated operating system: virtual time, machines with their clocks, and processes that can be killed.
 *
 * One event is one turn of one process. The next event begins only when no promise of the turn is left to settle, so
 * `current` names the process whose code runs, and every timer, clock and random byte can belong to it (platform.ts). A
 * killed process gets no event any more, so it stops exactly at the await where it was, as a killed process of a real
 * system does.
 */
import type { Random } from './random.ts'
import { realImmediate } from './real.ts'

/** Turns after which the real event loop goes on, so that signals reach the program. */
const BATCH = 4_096

/**
 * Settles all promises that can settle without the real event loop, as Node does between two callbacks of it:
 * microtasks, the callbacks of `process.nextTick`, and the check for unhandled rejections.
 */
const settle = (process as unknown as { readonly _tickCallback: () => void })._tickCallback

const SPIN_MS = 60_000
const SPINS = 20_000
/** Turns of all processes in a minute that have no end. */
const STORM = 200_000

/** A computer: its clocks may be wrong, and it may be asleep. */
export class Machine {
  readonly name: string
  readonly #kernel: Kernel
  /** By how much its wall clock is ahead of the true time, ms. */
  skew = 0
  /** Until when it is asleep; 0 if it is awake. */
  #asleepUntil = 0
  #asleepSince = 0
  #wokeAt = 0
  /** The sum of all earlier sleeps, ms. */
  #slept = 0

  constructor(kernel: Kernel, name: string) {
    this.#kernel = kernel
    this.name = name
  }

  /** Its wall clock, ms since 1970. */
  get wall(): number {
    return Math.floor(this.#kernel.now + this.skew)
  }

  /** Its monotonic clock, ms. It stands still while the machine sleeps. */
  get steady(): number {
    this.#wake()
    return (this.#asleepUntil === 0 ? this.#kernel.now : this.#asleepSince) - this.#slept - EPOCH
  }

  /** Milliseconds since it started, sleeps included. */
  get uptime(): number {
    return this.#kernel.now - EPOCH
  }

  /** Sleeps from now on. */
  sleep(milliseconds: number): void {
    if (this.isAsleep) return
    this.#asleepSince = this.#kernel.now
    this.#asleepUntil = this.#kernel.now + milliseconds
  }

  get isAsleep(): boolean {
    this.#wake()
    return this.#asleepUntil !== 0
  }

  /** When it last woke up. */
  get awakeSince(): number {
    this.#wake()
    return this.#wokeAt
  }

  get asleepUntil(): number {
    return this.#asleepUntil
  }

  #wake(): void {
    if (this.#asleepUntil === 0 || this.#kernel.now < this.#asleepUntil) return
    this.#slept += this.#asleepUntil - this.#asleepSince
    this.#wokeAt = this.#asleepUntil
    this.#asleepUntil = 0
  }
}

/** When every simulation begins, ms since 1970: 2026-12-01T00:00:00Z. */
export const EPOCH = 1_796_083_200_000

/** A running program. */
export class Process {
  readonly pid: number
  readonly name: string
  readonly machine: Machine
  /** The machine's monotonic clock and wall clock when it started. */
  readonly startedAt: number
  readonly startedWall: number
  isAlive = true
  /** Timers that are set. */
  timers = 0
  /** Turns that did more than to look at the time. */
  turns = 0
  /** Intervals that are late because nothing happens; each is called, and goes on as usual, when something does. */
  readonly late = new Set<() => void>()
  /** Timers that ran since then. */
  ran = 0
  ranSince = 0
  readonly #onDeath: (() => void)[] = []

  constructor(pid: number, name: string, machine: Machine) {
    this.pid = pid
    this.name = name
    this.machine = machine
    this.startedAt = machine.steady
    this.startedWall = machine.wall
  }

  /** Calls `work` when it is killed or ends. */
  onDeath(work: () => void): void {
    this.#onDeath.push(work)
  }

  /** Ends it at once, wherever it is. */
  kill(): void {
    if (!this.isAlive) return
    this.isAlive = false
    for (const work of this.#onDeath.splice(0)) work()
  }
}

export interface Task {
  at: number
  seq: number
  readonly process: Process | undefined
  readonly run: () => void
  /** For a timer: when it is due by the monotonic clock of its machine. */
  due: number | undefined
  readonly isTick: boolean
  isCancelled: boolean
  /** Its index in the heap; -1 while it is not there. */
  place: number
}

export class Kernel {
  readonly random: Random
  /** True time, ms since 1970. */
  now = EPOCH
  /** The process whose turn it is. */
  current: Process | undefined
  /** Turns so far. */
  steps = 0
  /** Called for a process that runs {@link SPINS} timers in a minute. */
  onSpin: ((process: Process) => void) | undefined
  /** Whether turns wait for the real event loop, which runs the real cryptography. */
  waits = false
  /** Called after each turn with nothing left to settle. */
  onTurn: (() => void) | undefined
  #stormSince = 0
  #seq = 0
  #pid = 1_000
  readonly #heap: Task[] = []
  /** Turns of the present moment, in order. All others of this time were planned before, so they come first. */
  #next: Task[] = []
  #nextAt = 0
  readonly #processes = new Map<number, Process>()
  #fault: { readonly error: unknown } | undefined

  constructor(random: Random) {
    this.random = random
  }

  /** Starts a process with `main` as its first turn. */
  spawn(name: string, machine: Machine, main: () => void): Process {
    const process = new Process(++this.#pid, name, machine)
    this.#processes.set(process.pid, process)
    process.onDeath(() => this.#processes.delete(process.pid))
    this.at(this.now, process, main)
    return process
  }

  isAlive(pid: number): boolean {
    return this.#processes.has(pid)
  }

  /** Plans a turn of a process, or of the world if there is none. */
  at(time: number, process: Process | undefined, run: () => void): Task {
    const at = Math.max(time, this.now)
    const task: Task = { at, seq: ++this.#seq, process, run, due: undefined, isTick: false, isCancelled: false, place: -1 }
    if (time <= this.now) this.#next.push(task)
    else this.#push(task)
    return task
  }

  /** Sets a timer of the current process. @param isTick whether it only looks at the time, so that the process may be idle */
  after(milliseconds: number, run: () => void, isTick = false): Task {
    const process = this.current
    if (process === undefined) throw new Error('a timer was set outside every process')
    const task: Task = { at: 0, seq: 0, process, run, due: 0, isTick, isCancelled: true, place: -1 }
    this.again(task, milliseconds)
    return task
  }

  /** Sets a timer again, whether it has run or not. */
  again(task: Task, milliseconds: number): void {
    const process = task.process!
    const delay = Math.max(1, milliseconds)
    if (task.isCancelled) process.timers++
    task.isCancelled = false
    task.seq = ++this.#seq
    task.due = process.machine.steady + delay
    this.#remove(task)
    task.at = this.now + delay
    this.#push(task)
  }

  /** Notices a program that runs timer after timer without an end. */
  #watch(process: Process): void {
    if (this.now - process.ranSince >= SPIN_MS) {
      process.ran = 0
      process.ranSince = this.now
    }
    if (++process.ran === SPINS) this.onSpin?.(process)
  }

  cancel(task: Task): void {
    if (task.isCancelled) return
    task.isCancelled = true
    this.#remove(task)
    if (task.due !== undefined && task.process !== undefined) task.process.timers--
  }

  /** Ends the simulation with an error, after this turn. */
  fail(error: unknown): void {
    this.#fault ??= { error }
  }

  /**
   * Runs all turns until then.
   * @throws the first error that a turn threw, or that {@link fail} got
   */
  run(until: number): Promise<void> {
    const onError = (error: unknown): void => this.fail(error)
    process.on('unhandledRejection', onError)
    process.on('uncaughtException', onError)
    return new Promise<void>((resolve, reject) => {
      const batch = (): void => {
        const most = this.waits ? 1 : BATCH
        for (let i = 0; i < most; i++) {
          // Nothing of the turn before is left to settle.
          this.onTurn?.()
          this.current = undefined
          if (this.#fault !== undefined) return reject(this.#fault.error)
          if (!this.#step(until)) {
            this.now = Math.max(this.now, until)
            return resolve()
          }
          try {
            settle()
          } catch (error) {
            this.fail(error)
          }
        }
        realImmediate(batch)
      }
      realImmediate(batch)
    }).finally(() => {
      this.current = undefined
      process.off('unhandledRejection', onError)
      process.off('uncaughtException', onError)
    })
  }

  /** Runs one turn. @returns false if there is none until then */
  #step(until: number): boolean {
    for (;;) {
      const task = this.#take(until)
      if (task === undefined) return false
      if (task.isCancelled) continue
      const { process } = task
      this.now = Math.max(this.now, task.at)
      if (process !== undefined) {
        if (!process.isAlive) continue
        const { machine } = process
        if (machine.isAsleep) {
          task.at = machine.asleepUntil
          this.#push(task)
          continue
        }
        if (task.due !== undefined && machine.steady < task.due - 0.01) {
          task.at = this.now + task.due - machine.steady
          this.#push(task)
          continue
        }
      }
      this.steps++
      if (this.steps % STORM === 0) {
        if (this.now - this.#stormSince < SPIN_MS) this.fail(new Error(`${STORM} turns within a minute, the last by ${process?.name}`))
        this.#stormSince = this.now
      }
      this.current = process
      task.isCancelled = true
      try {
        if (process !== undefined && !task.isTick) {
          process.turns++
          if (process.late.size > 0) {
            const late = [...process.late]
            process.late.clear()
            for (const goOn of late) goOn()
          }
        }
        if (task.due !== undefined && process !== undefined) {
          process.timers--
          this.#watch(process)
        }
        task.run()
      } catch (error) {
        this.fail(error)
      }
      return true
    }
  }

  /** Takes the next task off its queue. @returns undefined if there is none until then */
  #take(until: number): Task | undefined {
    const first = this.#heap[0]
    const next = this.#next[this.#nextAt]
    if (next !== undefined && (first === undefined || first.at > this.now || first.seq > next.seq)) {
      if (++this.#nextAt === this.#next.length) {
        this.#next = []
        this.#nextAt = 0
      }
      return next
    }
    if (first === undefined || first.at > until) return undefined
    this.#remove(first)
    return first
  }

  #push(task: Task): void {
    this.#rise(task, this.#heap.push(task) - 1)
  }

  /** Takes a task out of the heap, if it is there. */
  #remove(task: Task): void {
    const { place } = task
    if (place === -1) return
    task.place = -1
    const heap = this.#heap
    const last = heap.pop()!
    if (last === task) return
    if (place > 0 && isBefore(last, heap[(place - 1) >> 1]!)) this.#rise(last, place)
    else this.#sink(last, place)
  }

  /** Puts a task at an index of the heap, or above it. */
  #rise(task: Task, from: number): void {
    const heap = this.#heap
    let at = from
    while (at > 0) {
      const above = heap[(at - 1) >> 1]!
      if (isBefore(above, task)) break
      heap[at] = above
      above.place = at
      at = (at - 1) >> 1
    }
    heap[at] = task
    task.place = at
  }

  /** Puts a task at an index of the heap, or below it. */
  #sink(task: Task, from: number): void {
    const heap = this.#heap
    let at = from
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++
      const lower = heap[below]!
      if (isBefore(task, lower)) break
      heap[at] = lower
      lower.place = at
      at = below
    }
    heap[at] = task
    task.place = at
  }
}

function isBefore(one: Task, other: Task): boolean {
  return one.at < other.at || (one.at === other.at && one.seq < other.seq)
}
